"""The folder trees that the published programs write: their names, and what is in them (docs/method.md).

A tree holds the decoded annotated frames, decoded keyframes and motion of one data set, bitrate and GOP. Names are
looked at only; `arseg.compat.clips` reads the files.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from arseg.compat.naming import Dataset
from arseg.data.manifest import ManifestRow
from arseg.datasets.camvid.manifest import PUBLISHED_GOP, camvid_classes, decoded_frame
from arseg.datasets.cityscapes.manifest import cityscapes_classes
from arseg.errors import ConfigError, DataError
from arseg.spec import ClipTail, Encoding, Rate, SegmentationClass

TREE_NAME = re.compile(r"(?P<megabits>\d+(\.\d+)?)M-GOP(?P<gop>\d+)")
CITYSCAPES_NAME = re.compile(r"(?P<name>(?P<sequence>.+_\d{6})_(?P<index>\d{6}))(_gtFine)?_leftImg8bit")
CAMVID_LABELS = "_labels_with_ignored"
"""What follows a split's name in the folder of its label maps."""

COPY_AGAIN = "Copy it again, or run the published program for this frame"


def _locate_in_cityscapes(name: str) -> tuple[str, int]:
    match = CITYSCAPES_NAME.fullmatch(f"{name}_leftImg8bit")
    if not match:
        raise DataError(f"{name!r} is not a name of Cityscapes; expected CITY_000000_000019_leftImg8bit.png")
    return match["sequence"], int(match["index"])


@dataclass(frozen=True)
class Layout:
    """Where the files of a data set lie in its trees, and how they were made.

    Places are format strings of ``gop``, ``distance``, ``split``, ``name`` (of the annotated frame), ``city``,
    ``sequence`` (the video) and ``index`` (number of the decoded keyframe).
    """

    collections: tuple[str, ...]
    """Names that the folder above the trees may have."""
    fps: int
    tail: ClipTail
    classes: Callable[[], tuple[SegmentationClass, ...]]
    locate: Callable[[str], tuple[str, int]]
    """Returns the video of a frame, and its number in the decoded video; raises DataError for unknown names."""
    first_index: int
    """Least number of a frame that has clips, and not only a place at d = 0."""
    split: str
    """Folder of a split's decoded annotated frames, for which `frames` is a pattern."""
    frames: str
    labels: tuple[str, ...]
    """Where the label map of a frame may lie."""
    keyframe: str
    motion: str


LAYOUTS: dict[Dataset, Layout] = {
    "camvid": Layout(
        collections=("camvid-sequence",),
        fps=30,
        tail="gop",
        classes=camvid_classes,
        locate=decoded_frame,
        first_index=PUBLISHED_GOP,  # the keyframe exists at all distances; the first frame is number 1
        split="decoded_GOP{gop}_dist_{distance}/{split}",
        frames="*.png",
        labels=(
            f"decoded_GOP{{gop}}_dist_{{distance}}/{{split}}{CAMVID_LABELS}/{{name}}.png",
            f"decoded_GOP{{gop}}_dist_{{distance}}/{{split}}{CAMVID_LABELS}/{{name}}_L.png",
        ),
        keyframe="frames/{sequence}/{sequence}_{index:06d}.png",
        motion="MVmap_GOP{gop}_dist_{distance}/{sequence}/{name}.bin",
    ),
    "cityscapes": Layout(
        collections=("leftImg8bit_sequence", "cityscapes-sequence"),
        fps=17,
        tail="annotated",
        classes=cityscapes_classes,
        locate=_locate_in_cityscapes,
        first_index=0,
        split="decoded_GOP{gop}_dist_{distance}/leftImg8bit/{split}",
        frames="*/*.png",
        labels=("decoded_GOP{gop}_dist_{distance}/gtFine/{split}/{city}/{name}_gtFine_labelIds.png",),
        keyframe="frames/{split}/{city}/{sequence}_{index:06d}_leftImg8bit.png",
        motion="MVmap_GOP{gop}_dist_{distance}/{split}/{city}/{name}_gtFine_leftImg8bit.bin",
    ),
}


class SampleFiles(NamedTuple):
    """The files of one annotated frame at one distance: decoded frame and keyframe, and motion.

    Motion is raw int16 quarter pixels [row, column, (x, y)]. At d = 0 the frame is its own keyframe, and there is none.
    """

    frame: Path
    keyframe: Path | None = None
    motion: Path | None = None


class PublishedSample(NamedTuple):
    """One annotated frame of a tree, and its files at those distances that were asked for, and that it has.

    The row is a still, whose image and label map are those of the tree's smallest distance. A frame that the video
    begins too late for has ``max_distance`` 0.
    """

    row: ManifestRow
    files: Mapping[int, SampleFiles]


class PublishedTree:
    """The folder that is named for its bitrate and GOP, for example ``camvid-sequence/3M-GOP12``.

    `encoding` says how the published programs compressed the clips (docs/method.md, 'Re-encoding'). A DataError says
    that there is no such folder, or its name does not say bitrate and GOP.
    """

    def __init__(self, root: str | Path, dataset: Dataset) -> None:
        self.root, self.dataset, self.layout = Path(root), dataset, LAYOUTS[dataset]
        if not self.root.is_dir():
            raise DataError(f"{root}: no such folder. Give the published folder that is named like 3M-GOP12.")
        name = TREE_NAME.fullmatch(self.root.resolve().name)
        if not name:
            raise DataError(
                f"{root}: expected a folder named for its bitrate and GOP, like 3M-GOP12, with decoded_GOP12_dist_0 "
                "and others in it. Give that folder, under the name that the published programs gave it."
            )
        self.gop = int(name["gop"])
        self.encoding = Encoding(
            codec="hevc",
            rate=Rate.from_mbps(float(name["megabits"])),
            gop=self.gop,
            fps=Fraction(self.layout.fps),
            tail=self.layout.tail,
        )

    def samples(self, split: str, distances: Sequence[int]) -> list[PublishedSample]:
        """Return the samples of a split, sorted by video and number, after checking that their files are there.

        A frame for d = 0 only is left out if the tree lacks that distance. A ConfigError says that a distance is out of
        range, a DataError that a folder or file is missing, the split empty, or a name none of the data set's.
        """
        if wrong := [distance for distance in distances if not 0 <= distance < self.gop]:
            raise ConfigError(f"distances {wrong}: {self.root} has distances 0 to {self.gop - 1}")
        smallest = self._smallest_distance(split)
        frames = {distance: self._frames(split, distance) for distance in sorted({smallest, *distances})}
        samples = []
        for name in sorted(set().union(*frames.values())):
            example = next(found[name] for found in frames.values() if name in found)
            try:
                sequence, index = self.layout.locate(name)
            except DataError as error:
                raise DataError(f"{example}: {error}. Remove it, or give it its name back.") from error
            has_room = index >= self.layout.first_index
            used = [distance for distance in frames if distance == 0 or has_room]
            if not used:
                continue
            if lacking := [distance for distance in used if name not in frames[distance]]:
                raise DataError(
                    f"{self._split_folder(split, lacking[0])}: lacks the decoded frame of {name}, which is there at "
                    f"another distance: {example}. {COPY_AGAIN}."
                )
            labels = [self._path(place, split=split, distance=smallest, name=name) for place in self.layout.labels]
            row = ManifestRow(
                dataset=self.dataset,
                split=split,
                sequence=sequence,
                frame_index=index,
                image=str(frames[smallest][name]),
                label=str(_existing(labels, f"label map. {COPY_AGAIN}.")),
                frame_pattern="",
                frame_step=0,
                max_distance=None if has_room else 0,
            )
            files = {d: self._files(row, d, frames[d][name], name) for d in used if d in distances}
            samples.append(PublishedSample(row, files))
        return sorted(samples, key=lambda sample: (sample.row.sequence, sample.row.frame_index))

    def _path(self, place: str, **names: str | int) -> Path:
        """Return the path of a place of the layout; ``city`` is the first part of ``name``."""
        city = str(names.get("name", "")).partition("_")[0]
        return self.root / place.format(gop=self.gop, city=city, **names)

    def _split_folder(self, split: str, distance: int) -> Path:
        return self._path(self.layout.split, split=split, distance=distance)

    def _smallest_distance(self, split: str) -> int:
        """Return the smallest distance at which the tree has a split."""
        folders = [self._split_folder(split, distance) for distance in range(self.gop)]
        for distance, folder in enumerate(folders):
            if folder.is_dir():
                return distance
        names = {path.name for folder in folders if folder.parent.is_dir() for path in folder.parent.iterdir()}
        splits = ", ".join(sorted(name for name in names if not name.endswith(CAMVID_LABELS)))
        raise DataError(
            f"{folders[0]}: no such folder, nor at another distance; the splits there: "
            f"{splits or 'none'}. Choose one of them with --split, or check --dataset and the folder."
        )

    def _frames(self, split: str, distance: int) -> dict[str, Path]:
        """Return the decoded annotated frames of a split by the frame's name, without what else files are called."""
        folder = self._split_folder(split, distance)
        if not folder.is_dir():
            raise DataError(
                f"{folder}: no such folder. Run the published program for distance {distance}, or import other "
                "distances only: arseg import --distances ..."
            )
        paths = sorted(folder.glob(self.layout.frames))
        if not paths:
            raise DataError(f"{folder}: holds no decoded frames (.png). Copy the folder again.")
        return {name["name"] if (name := CITYSCAPES_NAME.fullmatch(p.stem)) else p.stem: p for p in paths}

    def _files(self, row: ManifestRow, distance: int, frame: Path, name: str) -> SampleFiles:
        if distance == 0:
            return SampleFiles(frame)
        names = {"split": row.split, "name": name, "sequence": row.sequence}
        keyframe = self._path(self.layout.keyframe, index=row.frame_index - distance, **names)
        motion = self._path(self.layout.motion, distance=distance, **names)
        for what, path in (("keyframe", keyframe), ("motion", motion)):
            _existing([path], f"{what}; {frame} needs it. {COPY_AGAIN}.")
        return SampleFiles(frame, keyframe, motion)


def find_tree(data_root: Path, dataset: Dataset, megabits: float, gop: int) -> PublishedTree:
    """Return a tree in the folder that the published programs call data root, by its bitrate in Mb/s and its GOP."""
    roots = [Path(data_root) / name / f"{megabits:g}M-GOP{gop}" for name in LAYOUTS[dataset].collections]
    for root in roots:
        if root.is_dir():
            return PublishedTree(root, dataset)
    raise DataError(
        f"{' or '.join(map(str, roots))}: no such folder. Give the folder above it as --data-root, or the bitrate and "
        "GOP of the data that you have: --bitrate, --gop."
    )


def _existing(places: Sequence[Path], problem: str) -> Path:
    for path in places:
        if path.is_file():
            return path
    raise DataError(f"{' or '.join(map(str, places))}: no such {problem}")
