"""The samples of a tree of the authors' processed data, checked to be complete before anything is read.

Looks at names only, and opens no file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from arseg.data.authors_tree import CAMVID_LABELS, AuthorsTree
from arseg.errors import ConfigError, DataError

COPY_AGAIN = "Copy it again, or run the authors' program for this frame"


@dataclass(frozen=True)
class DistanceFiles:
    """The files of one annotated frame at one distance."""

    picture: Path
    """The decoded annotated frame."""
    keyframe: Path | None
    """Its decoded keyframe; None at d = 0, where the frame is its own."""
    motion: Path | None
    """Its motion: raw int16 quarter pixels [row, column, (x, y)]; None at d = 0."""


@dataclass(frozen=True)
class AuthorsSample:
    """One annotated frame of a tree."""

    name: str
    """Name of the frame in the tree, without what tells pictures, labels and motion apart."""
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


def list_samples(tree: AuthorsTree, split: str, distances: Sequence[int]) -> list[AuthorsSample]:
    """List the samples of a split, and check that their files are there.

    Parameters
    ----------
    tree : AuthorsTree
        The tree.
    split : str
        Name of the split's folders.
    distances : sequence of int
        Distances at which files are wanted, each in 0 ... L - 1.

    Returns
    -------
    samples : list of AuthorsSample
        Sorted by video and number. A frame for d = 0 only is left out if the tree lacks that distance.

    Raises
    ------
    ConfigError
        If a distance is out of range.
    DataError
        If a folder or file is missing, the split is empty, or a picture has a name that is none of the data set's.
    """
    if wrong := [distance for distance in distances if not 0 <= distance < tree.gop]:
        raise ConfigError(f"distances {wrong}: {tree.root} has distances 0 to {tree.gop - 1}")
    smallest = _smallest_distance(tree, split)
    pictures = {distance: _pictures(tree, split, distance) for distance in sorted({smallest, *distances})}
    samples = []
    for name in sorted(set().union(*pictures.values())):
        example = next(found[name] for found in pictures.values() if name in found)
        try:
            sequence, index = tree.locate(name)
        except DataError as error:
            raise DataError(f"{example}: {error}. Remove it, or give it its name back.") from error
        max_distance = None if tree.has_room(index) else 0
        if max_distance is not None and max_distance < smallest:
            continue
        used = [d for d in pictures if max_distance is None or d <= max_distance]
        for distance in used:
            if name not in pictures[distance]:
                raise DataError(
                    f"{tree.split_folder(split, distance)}: lacks the decoded frame of {name}, which is there at "
                    f"another distance: {example}. {COPY_AGAIN}."
                )
        samples.append(
            AuthorsSample(
                name=name,
                sequence=sequence,
                frame_index=index,
                image=pictures[smallest][name],
                label=_existing_label(tree, name, split, smallest),
                max_distance=max_distance,
                files={
                    distance: _files(tree, split, distance, pictures[distance][name], name, sequence, index)
                    for distance in used
                    if distance in distances
                },
            )
        )
    return sorted(samples, key=lambda sample: (sample.sequence, sample.frame_index))


def _smallest_distance(tree: AuthorsTree, split: str) -> int:
    """Smallest distance at which the tree has a split."""
    for distance in range(tree.gop):
        if tree.split_folder(split, distance).is_dir():
            return distance
    parents = [tree.split_folder(split, distance).parent for distance in range(tree.gop)]
    names = {folder.name for parent in parents if parent.is_dir() for folder in parent.iterdir()}
    splits = ", ".join(sorted(name for name in names if not name.endswith(CAMVID_LABELS)))
    raise DataError(
        f"{tree.split_folder(split, 0)}: no such folder, nor at another distance; the splits there: "
        f"{splits or 'none'}. Choose one of them with --split, or check --dataset and the folder."
    )


def _pictures(tree: AuthorsTree, split: str, distance: int) -> dict[str, Path]:
    folder = tree.split_folder(split, distance)
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder. Run the authors' program for distance {distance}, or import other distances "
            "only: arseg import --distances ..."
        )
    pictures = tree.pictures(split, distance)
    if not pictures:
        raise DataError(f"{folder}: holds no decoded frames (.png). Copy the folder again.")
    return pictures


def _files(
    tree: AuthorsTree, split: str, distance: int, picture: Path, name: str, sequence: str, index: int
) -> DistanceFiles:
    if distance == 0:
        return DistanceFiles(picture, None, None)
    keyframe = tree.keyframe(split, sequence, index - distance)
    motion = tree.motion(name, split, sequence, distance)
    for what, path in (("keyframe", keyframe), ("motion", motion)):
        if not path.is_file():
            raise DataError(f"{path}: no such {what}; {picture} needs it. {COPY_AGAIN}.")
    return DistanceFiles(picture, keyframe, motion)


def _existing_label(tree: AuthorsTree, name: str, split: str, distance: int) -> Path:
    places = tree.labels(name, split, distance)
    for path in places:
        if path.is_file():
            return path
    raise DataError(f"{' or '.join(map(str, places))}: no such label map. {COPY_AGAIN}.")
