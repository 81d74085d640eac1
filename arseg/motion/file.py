"""The motion file: an HDF5 file with the motion vectors of one video, picture by picture.

Only this module and `arseg.motion.file_writer` know the layout; ``docs/motion.md`` describes it for readers in other
languages. A file is written once, under a temporary name, and never changed afterwards.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from arseg import __version__
from arseg.codec.picture import BLOCK_SIZE, num_blocks
from arseg.hdf5 import entry, open_finished, read_attributes, translate_read_errors
from arseg.motion.compose import MAX_REF_BACK, MotionComposer

FORMAT_VERSION = 3
"""Raised when the layout changes so that older programs cannot read it."""

READABLE_VERSIONS = (FORMAT_VERSION, 2, 1)
"""Before version 3, all blocks had 4x4 pixels, and motion to the keyframes was stored pixel by pixel, as
``composed_qpel``. In version 1, strings had variable length, and the file's structure no checksums."""

HINT = "Delete the file and run again: arseg motion VIDEO -o FILE"


@dataclass(frozen=True)
class MotionAttributes:
    """What a motion file holds and what made it; the root attributes of the file."""

    source: str
    """File name of the video; ``-`` if it came from the standard input."""
    codec: str
    """FFmpeg's name of the coding standard."""
    width: int
    """Columns of a picture."""
    height: int
    """Rows of a picture."""
    frames_per_second: float
    """Average rate of pictures; 0 where the stream does not say it."""
    decoder: str
    """Name and version of what decoded the video."""
    composed: bool = False
    """Whether motion to the keyframes can be read."""
    composed_reason: str = ""
    """Why not."""
    subpixel: bool = False
    """Whether it is composed without rounding vectors to whole pixels."""
    block_size: int = BLOCK_SIZE
    """Side in pixels of the blocks that are stored, the smallest that the decoder distinguishes."""
    format_version: int = FORMAT_VERSION
    """Version of this layout."""
    arseg_version: str = __version__
    """Version of the package that made the file."""


@dataclass(frozen=True, eq=False)
class MotionPicture:
    """Motion of one picture; Hb = ceil(H / 4), Wb = ceil(W / 4)."""

    poc: int
    """Picture order count."""
    kind: str
    """I, P or B."""
    is_keyframe: bool
    """Whether decoding can start here."""
    keyframe_index: int
    """Place of the latest keyframe in display order; -1 if there is none yet."""
    mode: NDArray[np.uint8]
    """`arseg.codec.picture.PredictionMode` of each block, shape (Hb, Wb)."""
    motion_qpel: NDArray[np.int16]
    """Vectors (x, y) of lists 0 and 1 in quarter pixels, shape (2, Hb, Wb, 2)."""
    ref_poc: NDArray[np.int32]
    """Order counts that they refer to, shape (2, Hb, Wb), or one of the two marks in `arseg.codec.picture`."""
    composed_qpel: NDArray[np.int16] | None
    """Displacement (x, y) in quarter pixels to the keyframe, shape (H, W, 2), if the file has it."""


class MotionFile:
    """A finished motion file, open for reading until its ``with`` block ends.

    Parameters
    ----------
    path : path
        The HDF5 file.

    Raises
    ------
    StoreError
        If the file is missing, truncated, unfinished, of another format version, or no motion file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = open_finished(
            self.path,
            "motion file",
            format_versions=READABLE_VERSIONS,
            attributes={"composed_reason"},
            command=f"arseg motion VIDEO -o {path}",
            hint=HINT,
        )
        self._datasets: dict[str, h5py.Dataset] = {}  # looking one up takes as long as reading from it
        self._composer: MotionComposer | None = None
        self._composed_index = -1

    def __enter__(self) -> "MotionFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        with translate_read_errors(self.path, "the list of pictures is damaged", HINT):
            return len(entry(self._file, "poc"))

    @cached_property
    def attributes(self) -> MotionAttributes:
        """What the file holds and what made it."""
        names = {field.name for field in fields(MotionAttributes)}
        if read_attributes(self._file, ["format_version"], HINT)["format_version"] < FORMAT_VERSION:
            names.remove("block_size")
        return MotionAttributes(**read_attributes(self._file, names, HINT))

    def read(self, index: int) -> MotionPicture:
        """Read one picture's motion, by its place in display order.

        Motion to the keyframe is composed here: of one picture if the one before it was read last, otherwise of all
        since the keyframe.

        Raises
        ------
        IndexError
            If there is no such picture.
        StoreError
            If what the file has of it is damaged.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path}: picture {index} of {len(self)}")
        return MotionPicture(
            poc=int(self._read("poc", index)),
            kind=self._read("kind", index).decode(),
            is_keyframe=bool(self._read("is_keyframe", index)),
            keyframe_index=int(self._read("keyframe_index", index)),
            mode=self._as_4x4(self._read("mode", index), axis=0),
            motion_qpel=self._as_4x4(self._read("motion_qpel", index), axis=1),
            ref_poc=self._as_4x4(self._read("ref_poc", index), axis=1),
            composed_qpel=self._compose(index) if self.attributes.composed else None,
        )

    def _compose(self, index: int) -> NDArray[np.int16]:
        attributes = self.attributes
        if attributes.format_version < FORMAT_VERSION:
            return self._read("composed_qpel", index)
        if self._composer is None:
            self._composer = MotionComposer(
                attributes.height, attributes.width, subpixel=attributes.subpixel, max_ref_back=MAX_REF_BACK
            )
        keyframe_index = int(self._read("keyframe_index", index))
        goes_on = keyframe_index <= self._composed_index <= index
        for following in range(self._composed_index + 1 if goes_on else keyframe_index, index + 1):
            motion_qpel, ref_back = self._read("motion_qpel", (following, 0)), self._read("ref_back", following)
            if following == keyframe_index:
                self._composer.restart()
            self._composer.push(self._as_4x4(motion_qpel, axis=0), self._as_4x4(ref_back, axis=0))
            self._composed_index = following
        return self._composer.compose()

    def _as_4x4(self, blocks: NDArray[Any], axis: int) -> NDArray[Any]:
        """Repeat what is stored for larger blocks; `axis` counts their rows, the next one their columns."""
        attributes = self.attributes
        for side in (axis, axis + 1):
            blocks = blocks.repeat(attributes.block_size // BLOCK_SIZE, axis=side)
        shown = slice(num_blocks(attributes.height)), slice(num_blocks(attributes.width))
        return blocks[(*[slice(None)] * axis, *shown)]

    def _read(self, name: str, index: int | tuple[int, int]) -> Any:
        picture = index[0] if isinstance(index, tuple) else index
        with translate_read_errors(self.path, f"{name} of picture {picture} is damaged", HINT):
            if name not in self._datasets:
                self._datasets[name] = entry(self._file, name)
            return self._datasets[name][index]
