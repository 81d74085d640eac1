"""Names of the files in the folder trees that the authors' own programs write.

See docs/method.md, 'Files of the authors'.
A tree holds the decoded annotated frames, decoded keyframes and motion of one data set, bitrate and GOP. Whether all of
them are there is checked in `arseg.data.authors_samples`; `arseg.data.authors_import` turns a tree into clip stores.

One defect of existing trees can neither be found nor fixed (docs/method.md, 'Fixed'): clips of all distances wrote
their keyframes to one folder. Where clips of different lengths start at one frame, the keyframe is that of the clip
that was written last, and its pixels are not quite those that the other clips' motion was made with.
"""

import re
from abc import ABC, abstractmethod
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, Literal

from arseg.datasets.camvid.manifest import PUBLISHED_GOP, decoded_frame
from arseg.errors import DataError
from arseg.spec import ClipTail, Encoding, Rate

AuthorsDataset = Literal["camvid", "cityscapes"]

TREE_NAME_PATTERN = re.compile(r"(?P<megabits>\d+(\.\d+)?)M-GOP(?P<gop>\d+)")

CITYSCAPES_NAME_PATTERN = re.compile(r"(?P<name>(?P<sequence>.+_\d{6})_(?P<index>\d{6}))(_gtFine)?_leftImg8bit")

CAMVID_LABELS = "_labels_with_ignored"
"""What follows a split's name in the folder of its label maps."""


class AuthorsTree(ABC):
    """Names and places of the files of one tree.

    Parameters
    ----------
    root : path
        The folder that is named for bitrate and GOP, for example ``camvid-sequence/3M-GOP12``.

    Raises
    ------
    DataError
        If there is no such folder, or its name tells no bitrate and GOP.
    """

    dataset: ClassVar[AuthorsDataset]
    """Name of the data set."""
    collections: ClassVar[tuple[str, ...]]
    """Names that the folder of this data set's trees may have."""
    fps: ClassVar[int]
    """Frames per second of the videos."""
    tail: ClassVar[ClipTail]
    """Where the authors' clips of this data set end."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise DataError(f"{root}: no such folder. Give the authors' folder that is named like 3M-GOP12.")
        name = TREE_NAME_PATTERN.fullmatch(self.root.resolve().name)
        if not name:
            raise DataError(
                f"{root}: expected a folder named for its bitrate and GOP, like 3M-GOP12, with decoded_GOP12_dist_0 "
                "and others in it. Give that folder, under the name that the authors' programs gave it."
            )
        self.gop = int(name["gop"])
        """Frames L of a group of pictures."""
        self.rate = Rate.from_mbps(float(name["megabits"]))
        """Average bitrate."""

    @property
    def encoding(self) -> Encoding:
        """How the authors' programs compressed the clips (docs/method.md, 'Re-encoding')."""
        return Encoding(codec="hevc", rate=self.rate, gop=self.gop, fps=Fraction(self.fps), tail=self.tail)

    def decoded(self, distance: int) -> Path:
        """Folder of what was decoded at a distance."""
        return self.root / f"decoded_GOP{self.gop}_dist_{distance}"

    def motion_folder(self, distance: int) -> Path:
        """Folder of the motion at a distance."""
        return self.root / f"MVmap_GOP{self.gop}_dist_{distance}"

    @abstractmethod
    def split_folder(self, split: str, distance: int) -> Path:
        """Folder of a split's decoded annotated frames."""

    @abstractmethod
    def pictures(self, split: str, distance: int) -> dict[str, Path]:
        """Find the decoded annotated frames of a split, by the frame's name."""

    @abstractmethod
    def locate(self, name: str) -> tuple[str, int]:
        """Video of a frame, and the frame's number in the decoded video.

        Raises
        ------
        DataError
            If the name is none of the data set's.
        """

    @abstractmethod
    def labels(self, name: str, split: str, distance: int) -> tuple[Path, ...]:
        """Where the label map of a frame may lie."""

    @abstractmethod
    def keyframe(self, split: str, sequence: str, index: int) -> Path:
        """Path of the decoded keyframe with a number."""

    @abstractmethod
    def motion(self, name: str, split: str, sequence: str, distance: int) -> Path:
        """Motion of a frame at a distance."""

    def has_room(self, index: int) -> bool:
        """Whether the published programs make clips for the frame with a number, other than at d = 0."""
        return True


class CamVidTree(AuthorsTree):
    """CamVid: folders by split or by video, numbers of annotated frames and of decoded ones."""

    dataset = "camvid"
    collections = ("camvid-sequence",)
    fps = 30
    tail = "gop"

    def split_folder(self, split: str, distance: int) -> Path:
        """Folder of the split in ``decoded_*``."""
        return self.decoded(distance) / split

    def pictures(self, split: str, distance: int) -> dict[str, Path]:
        """Find the pictures of a split; each is called like its annotated frame."""
        return {path.stem: path for path in sorted(self.split_folder(split, distance).glob("*.png"))}

    def locate(self, name: str) -> tuple[str, int]:
        """Convert the number of an annotated frame (docs/method.md, 'CamVid')."""
        return decoded_frame(name)

    def labels(self, name: str, split: str, distance: int) -> tuple[Path, ...]:
        """``{split}_labels_with_ignored`` holds them, under the name of the frame or CamVid's own."""
        folder = self.decoded(distance) / f"{split}{CAMVID_LABELS}"
        return folder / f"{name}.png", folder / f"{name}_L.png"

    def keyframe(self, split: str, sequence: str, index: int) -> Path:
        """``frames`` holds them by video."""
        return self.root / "frames" / sequence / f"{sequence}_{index:06d}.png"

    def motion(self, name: str, split: str, sequence: str, distance: int) -> Path:
        """``MVmap_*`` holds it by video."""
        return self.motion_folder(distance) / sequence / f"{name}.bin"

    def has_room(self, index: int) -> bool:
        """Tell whether the keyframe of a published GOP exists at all distances; the first frame is number 1."""
        return index >= PUBLISHED_GOP


class CityscapesTree(AuthorsTree):
    """Cityscapes: folders by split and city, snippets of video that are long enough for every clip."""

    dataset = "cityscapes"
    collections = ("leftImg8bit_sequence", "cityscapes-sequence")
    fps = 17
    tail = "annotated"

    def split_folder(self, split: str, distance: int) -> Path:
        """Folder of the split in ``decoded_*/leftImg8bit``."""
        return self.decoded(distance) / "leftImg8bit" / split

    def pictures(self, split: str, distance: int) -> dict[str, Path]:
        """Find the pictures of a split, in folders by city; some trees have ``_gtFine`` in their names."""
        paths = sorted(self.split_folder(split, distance).glob("*/*.png"))
        return {name["name"] if (name := CITYSCAPES_NAME_PATTERN.fullmatch(p.stem)) else p.stem: p for p in paths}

    def locate(self, name: str) -> tuple[str, int]:
        """Read video and number off the name."""
        match = CITYSCAPES_NAME_PATTERN.fullmatch(f"{name}_leftImg8bit")
        if not match:
            raise DataError(f"{name!r} is no name of Cityscapes; expected CITY_000000_000019_leftImg8bit.png")
        return match["sequence"], int(match["index"])

    def labels(self, name: str, split: str, distance: int) -> tuple[Path, ...]:
        """``decoded_*/gtFine`` holds label ids."""
        return (self.decoded(distance) / "gtFine" / split / _city(name) / f"{name}_gtFine_labelIds.png",)

    def keyframe(self, split: str, sequence: str, index: int) -> Path:
        """``frames`` holds them by split and city."""
        return self.root / "frames" / split / _city(sequence) / f"{sequence}_{index:06d}_leftImg8bit.png"

    def motion(self, name: str, split: str, sequence: str, distance: int) -> Path:
        """``MVmap_*`` holds it by split and city."""
        return self.motion_folder(distance) / split / _city(name) / f"{name}_gtFine_leftImg8bit.bin"


TREES: dict[AuthorsDataset, type[AuthorsTree]] = {tree.dataset: tree for tree in (CamVidTree, CityscapesTree)}


def find_tree(data_root: Path, dataset: AuthorsDataset, megabits: float, gop: int) -> AuthorsTree:
    """Find a tree below the folder that the authors call data root.

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
    tree : AuthorsTree

    Raises
    ------
    DataError
        If it is not there.
    """
    roots = [Path(data_root) / collection / f"{megabits:g}M-GOP{gop}" for collection in TREES[dataset].collections]
    for root in roots:
        if root.is_dir():
            return TREES[dataset](root)
    raise DataError(
        f"{' or '.join(map(str, roots))}: no such folder. Give the folder above it as --data-root, or the bitrate and "
        "GOP of the data that you have: --bitrate, --gop."
    )


def _city(name: str) -> str:
    return name.partition("_")[0]
