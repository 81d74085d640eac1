"""The samples of a tree of the published programs, checked to be complete before anything is read.

Looks at names only, and opens no file.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from arseg.compat.tree import CAMVID_LABELS, PublishedTree
from arseg.data.manifest import ManifestRow
from arseg.errors import ConfigError, DataError

COPY_AGAIN = "Copy it again, or run the published program for this frame"


class SampleFiles(NamedTuple):
    """The files of one annotated frame at one distance."""

    frame: Path
    """The decoded annotated frame."""
    keyframe: Path | None = None
    """Its decoded keyframe; None at d = 0, where the frame is its own."""
    motion: Path | None = None
    """Its motion: raw int16 quarter pixels [row, column, (x, y)]; None at d = 0."""


class PublishedSample(NamedTuple):
    """One annotated frame of a tree."""

    row: ManifestRow
    """Its row in a manifest: a still, whose image and label map are those of the tree's smallest distance. A frame that
    the video begins too late for has ``max_distance`` 0."""
    files: Mapping[int, SampleFiles]
    """Its files by distance: those distances that were asked for, and that it has."""


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
        used = [distance for distance in frames if distance == 0 or index >= tree.layout.first_index]
        if not used:
            continue
        if lacking := [distance for distance in used if name not in frames[distance]]:
            raise DataError(
                f"{tree.split_folder(split, lacking[0])}: lacks the decoded frame of {name}, which is there at "
                f"another distance: {example}. {COPY_AGAIN}."
            )
        labels = [tree.path(place, split=split, distance=smallest, name=name) for place in tree.layout.labels]
        row = ManifestRow(
            dataset=tree.dataset,
            split=split,
            sequence=sequence,
            frame_index=index,
            image=str(frames[smallest][name]),
            label=str(_existing(labels, f"label map. {COPY_AGAIN}.")),
            frame_pattern="",
            frame_step=0,
            max_distance=None if index >= tree.layout.first_index else 0,
        )
        files = {d: _files(tree, row, d, frames[d][name], name) for d in used if d in distances}
        samples.append(PublishedSample(row, files))
    return sorted(samples, key=lambda sample: (sample.row.sequence, sample.row.frame_index))


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


def _files(tree: PublishedTree, row: ManifestRow, distance: int, frame: Path, name: str) -> SampleFiles:
    if distance == 0:
        return SampleFiles(frame)
    names = {"split": row.split, "name": name, "sequence": row.sequence}
    keyframe = tree.path(tree.layout.keyframe, index=row.frame_index - distance, **names)
    motion = tree.path(tree.layout.motion, distance=distance, **names)
    for what, path in (("keyframe", keyframe), ("motion", motion)):
        _existing([path], f"{what}; {frame} needs it. {COPY_AGAIN}.")
    return SampleFiles(frame, keyframe, motion)


def _existing(places: Sequence[Path], problem: str) -> Path:
    for path in places:
        if path.is_file():
            return path
    raise DataError(f"{' or '.join(map(str, places))}: no such {problem}")
