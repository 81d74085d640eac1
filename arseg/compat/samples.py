"""The samples of a tree of the published programs, checked to be complete before anything is read.

Looks at names only, and opens no file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from arseg.compat.tree import CAMVID_LABELS, PublishedTree
from arseg.errors import ConfigError, DataError

COPY_AGAIN = "Copy it again, or run the published program for this frame"


@dataclass(frozen=True)
class DistanceFiles:
    """The files of one annotated frame at one distance."""

    frame: Path
    """The decoded annotated frame."""
    keyframe: Path | None = None
    """Its decoded keyframe; None at d = 0, where the frame is its own."""
    motion: Path | None = None
    """Its motion: raw int16 quarter pixels [row, column, (x, y)]; None at d = 0."""


@dataclass(frozen=True)
class PublishedSample:
    """One annotated frame of a tree."""

    name: str
    """Name of the frame in the tree, without what tells frames, labels and motion apart."""
    sequence: str
    """Name of the video."""
    frame_index: int
    """Number of the frame in the decoded video."""
    image: Path
    """The decoded frame at the tree's smallest distance: d = 0 wherever the tree is complete."""
    label: Path
    """Its label map at that distance, as it lies in the tree."""
    max_distance: int | None
    """0 for a frame that the video begins too late for, otherwise None."""
    files: Mapping[int, DistanceFiles]
    """Its files by distance: those distances that were asked for, up to `max_distance`."""


def list_samples(tree: PublishedTree, split: str, distances: Sequence[int]) -> list[PublishedSample]:
    """List the samples of a split, and check that their files are there.

    Parameters
    ----------
    tree : PublishedTree
        The tree.
    split : str
        Name of the split's folders.
    distances : sequence of int
        Distances at which files are wanted, each in 0 ... L - 1.

    Returns
    -------
    samples : list of PublishedSample
        Sorted by video and number. A frame for d = 0 only is left out if the tree lacks that distance.

    Raises
    ------
    ConfigError
        If a distance is out of range.
    DataError
        If a folder or file is missing, the split is empty, or a frame has a name that is none of the data set's.
    """
    if wrong := [distance for distance in distances if not 0 <= distance < tree.gop]:
        raise ConfigError(f"distances {wrong}: {tree.root} has distances 0 to {tree.gop - 1}")
    smallest = _smallest_distance(tree, split)
    frames = {distance: _frames(tree, split, distance) for distance in sorted({smallest, *distances})}
    samples = []
    for name in sorted(set().union(*frames.values())):
        example = next(found[name] for found in frames.values() if name in found)
        try:
            sequence, index = tree.layout.locate(name)
        except DataError as error:
            raise DataError(f"{example}: {error}. Remove it, or give it its name back.") from error
        max_distance = 0 if index < tree.layout.first_index else None
        if max_distance is not None and max_distance < smallest:
            continue
        used = [d for d in frames if max_distance is None or d <= max_distance]
        if lacking := [distance for distance in used if name not in frames[distance]]:
            raise DataError(
                f"{tree.split_folder(split, lacking[0])}: lacks the decoded frame of {name}, which is there at "
                f"another distance: {example}. {COPY_AGAIN}."
            )
        labels = [tree.path(place, split=split, distance=smallest, name=name) for place in tree.layout.labels]
        sample = PublishedSample(
            name=name,
            sequence=sequence,
            frame_index=index,
            image=frames[smallest][name],
            label=_existing(labels, f"label map. {COPY_AGAIN}."),
            max_distance=max_distance,
            files={
                distance: _files(tree, split, distance, frames[distance][name], name)
                for distance in used
                if distance in distances
            },
        )
        samples.append(sample)
    return sorted(samples, key=lambda sample: (sample.sequence, sample.frame_index))


def _smallest_distance(tree: PublishedTree, split: str) -> int:
    """Return the smallest distance at which the tree has a split."""
    folders = [tree.split_folder(split, distance) for distance in range(tree.gop)]
    for distance, folder in enumerate(folders):
        if folder.is_dir():
            return distance
    names = {path.name for folder in folders if folder.parent.is_dir() for path in folder.parent.iterdir()}
    splits = ", ".join(sorted(name for name in names if not name.endswith(CAMVID_LABELS)))
    raise DataError(
        f"{folders[0]}: no such folder, nor at another distance; the splits there: "
        f"{splits or 'none'}. Choose one of them with --split, or check --dataset and the folder."
    )


def _frames(tree: PublishedTree, split: str, distance: int) -> dict[str, Path]:
    folder = tree.split_folder(split, distance)
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder. Run the published program for distance {distance}, or import other distances "
            "only: arseg import --distances ..."
        )
    frames = tree.frames(split, distance)
    if not frames:
        raise DataError(f"{folder}: holds no decoded frames (.png). Copy the folder again.")
    return frames


def _files(tree: PublishedTree, split: str, distance: int, frame: Path, name: str) -> DistanceFiles:
    if distance == 0:
        return DistanceFiles(frame)
    sequence, index = tree.layout.locate(name)
    names = {"split": split, "name": name, "sequence": sequence}
    keyframe = tree.path(tree.layout.keyframe, index=index - distance, **names)
    motion = tree.path(tree.layout.motion, distance=distance, **names)
    for what, path in (("keyframe", keyframe), ("motion", motion)):
        _existing([path], f"{what}; {frame} needs it. {COPY_AGAIN}.")
    return DistanceFiles(frame, keyframe, motion)


def _existing(places: Sequence[Path], problem: str) -> Path:
    for path in places:
        if path.is_file():
            return path
    raise DataError(f"{' or '.join(map(str, places))}: no such {problem}")
