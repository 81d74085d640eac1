"""Names of the files in the folder trees that the published programs write (docs/method.md, 'Published files').

A tree holds the decoded annotated frames, decoded keyframes and motion of one data set, bitrate and GOP.
`arseg.compat.samples` checks that all of them are there; `arseg.compat.clips` turns a tree into clip stores.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from arseg.compat.naming import Dataset
from arseg.datasets.camvid.manifest import PUBLISHED_GOP, camvid_classes, decoded_frame
from arseg.datasets.cityscapes.manifest import cityscapes_classes
from arseg.errors import DataError
from arseg.spec import ClipTail, Encoding, Rate, SegmentationClass

TREE_NAME = re.compile(r"(?P<megabits>\d+(\.\d+)?)M-GOP(?P<gop>\d+)")
CITYSCAPES_NAME = re.compile(r"(?P<name>(?P<sequence>.+_\d{6})_(?P<index>\d{6}))(_gtFine)?_leftImg8bit")
CAMVID_LABELS = "_labels_with_ignored"
"""What follows a split's name in the folder of its label maps."""


def _locate_in_cityscapes(name: str) -> tuple[str, int]:
    match = CITYSCAPES_NAME.fullmatch(f"{name}_leftImg8bit")
    if not match:
        raise DataError(f"{name!r} is not a name of Cityscapes; expected CITY_000000_000019_leftImg8bit.png")
    return match["sequence"], int(match["index"])


@dataclass(frozen=True)
class Layout:
    """Where the files of a data set lie in its trees.

    Places are format strings of ``gop``, ``distance``, ``split``, ``name`` (of the annotated frame), ``city``,
    ``sequence`` (the video) and ``index`` (number of the decoded keyframe).
    """

    collections: tuple[str, ...]
    """Names that the folder above the trees may have."""
    fps: int
    """Frames per second of the videos."""
    tail: ClipTail
    """Where the published clips of this data set end."""
    classes: Callable[[], tuple[SegmentationClass, ...]]
    """Classes of the data set."""
    locate: Callable[[str], tuple[str, int]]
    """Returns the video of a frame, and its number in the decoded video; raises DataError for unknown names."""
    first_index: int
    """Least number of a frame that has clips, and not only a place at d = 0."""
    split: str
    """Folder of a split's decoded annotated frames."""
    frames: str
    """Pattern of decoded annotated frames in it."""
    labels: tuple[str, ...]
    """Where the label map of a frame may lie."""
    keyframe: str
    """A decoded keyframe."""
    motion: str
    """Motion of a frame at a distance."""


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


class PublishedTree:
    """One tree.

    Parameters
    ----------
    root : path
        The folder that is named for bitrate and GOP, for example ``camvid-sequence/3M-GOP12``.
    dataset : {"camvid", "cityscapes"}
        Data set.

    Raises
    ------
    DataError
        If there is no such folder, or its name does not say bitrate and GOP.
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
        self.encoding = Encoding(
            codec="hevc",
            rate=Rate.from_mbps(float(name["megabits"])),
            gop=int(name["gop"]),
            fps=Fraction(self.layout.fps),
            tail=self.layout.tail,
        )
        """How the published programs compressed the clips (docs/method.md, 'Re-encoding')."""

    @property
    def gop(self) -> int:
        """Frames L of a group of pictures."""
        return self.encoding.gop

    def path(self, place: str, **names: str | int) -> Path:
        """Return the path of a place of the layout; ``city`` is the first part of ``name``."""
        city = str(names.get("name", "")).partition("_")[0]
        return self.root / place.format(gop=self.gop, city=city, **names)

    def split_folder(self, split: str, distance: int) -> Path:
        """Return the folder of a split's decoded annotated frames."""
        return self.path(self.layout.split, split=split, distance=distance)

    def frames(self, split: str, distance: int) -> dict[str, Path]:
        """Return the decoded annotated frames of a split by the frame's name, without what else files are called."""
        paths = sorted(self.split_folder(split, distance).glob(self.layout.frames))
        return {name["name"] if (name := CITYSCAPES_NAME.fullmatch(p.stem)) else p.stem: p for p in paths}


def find_tree(data_root: Path, dataset: Dataset, megabits: float, gop: int) -> PublishedTree:
    """Find a tree in the folder that the published programs call data root.

    Parameters
    ----------
    data_root : Path
        The folder with ``camvid-sequence`` or ``leftImg8bit_sequence`` in it.
    dataset : {"camvid", "cityscapes"}
        Data set.
    megabits : float
        Bitrate in Mb/s.
    gop : int
        Frames L of a group of pictures.

    Returns
    -------
    tree : PublishedTree

    Raises
    ------
    DataError
        If it is not there.
    """
    roots = [Path(data_root) / name / f"{megabits:g}M-GOP{gop}" for name in LAYOUTS[dataset].collections]
    for root in roots:
        if root.is_dir():
            return PublishedTree(root, dataset)
    raise DataError(
        f"{' or '.join(map(str, roots))}: no such folder. Give the folder above it as --data-root, or the bitrate and "
        "GOP of the data that you have: --bitrate, --gop."
    )
