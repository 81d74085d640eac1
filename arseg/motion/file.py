"""The motion file: an HDF5 file with the motion vectors of one video, frame by frame.

Only this module and `arseg.motion.file_writer` know the layout; ``docs/motion.md`` describes it for readers in other
languages. A file is written once, under a temporary name, and never changed afterwards.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from arseg import __version__
from arseg.codec.frame import BLOCK_SIZE, FrameMotion, num_blocks
from arseg.codecs import MAX_REFERENCES
from arseg.hdf5 import entry, open_finished, read_attributes, translate_read_errors
from arseg.motion.compose import MotionComposer

FORMAT_VERSION = 3
"""Raised when the layout changes so that older programs cannot read it."""

READABLE_VERSIONS = (FORMAT_VERSION, 2, 1)
"""Before version 3, all blocks had 4x4 pixels, and motion to the keyframes was stored pixel by pixel, as
``composed_qpel``. In version 1, strings had variable length, and the file's structure no checksums."""

HINT = "Delete the file and run again: arseg motion VIDEO -o FILE"

LATER_ATTRIBUTES = {"frames_lost", "frames_damaged", "ended_early", "parts"}
LATER_ATTRIBUTES |= {"rotation", "mirrored", "sample_aspect_ratio", "block_size"}
"""That files of earlier versions of arseg lack."""


@dataclass(frozen=True)
class MotionAttributes:
    """What a motion file holds and what made it; the root attributes of the file."""

    source: str
    """File name of the video; ``-`` if it came from the standard input."""
    codec: str
    """FFmpeg's name of the coding standard."""
    width: int
    """Columns of a frame."""
    height: int
    """Rows of a frame."""
    frames_per_second: float
    """On average; 0 where the stream does not say it."""
    decoder: str
    """Name and version of what decoded the video."""
    composed: bool = False
    """Whether motion to the keyframes can be read."""
    composed_reason: str = ""
    """Why not."""
    subpixel: bool = False
    """Whether it is composed without rounding vectors to whole pixels."""
    frames_lost: int = 0
    """Frames that the decoder does not show, because they, or what they refer to, cannot be decoded."""
    frames_damaged: int = 0
    """Frames that are marked as damaged."""
    ended_early: str = ""
    """Why the video could not be read any further, if so."""
    parts: int = 1
    """Runs of frames of one size; `width` and `height` are those of the first."""
    rotation: int = 0
    """Degrees clockwise by which the first frame is turned to be shown. Motion is that of coded frames."""
    mirrored: bool = False
    """Whether left and right are exchanged after that."""
    sample_aspect_ratio: str = "1/1"
    """Width of a coded pixel through its height, before that."""
    block_size: int = BLOCK_SIZE
    """Side in pixels of the blocks that are stored, the smallest that the decoder distinguishes."""
    format_version: int = FORMAT_VERSION
    """Version of this layout."""
    arseg_version: str = __version__
    """Version of the package that made the file."""


@dataclass(frozen=True, eq=False, kw_only=True)
class RecordedMotion(FrameMotion):
    """Motion of one frame of a file."""

    keyframe_index: int
    """Place of the latest keyframe in display order; -1 if there is none yet, or the frame is damaged."""
    motion_qpel: NDArray[np.int16] | None
    """Displacement (x, y) in quarter pixels to the keyframe, shape (H, W, 2), if the file has it; None for damaged
    frames."""


class _Part(NamedTuple):
    """Frames of one size."""

    prefix: str
    first: int
    end: int
    height: int
    width: int


class MotionFile:
    """A finished motion file, open for reading until its ``with`` block ends.

    Raises StoreError if it is missing, truncated, unfinished, of another format version, or no motion file.
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
        self._composed_part: _Part | None = None
        self._composed_index = -1

    def __enter__(self) -> "MotionFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._parts[-1].end

    @cached_property
    def _marks_damage(self) -> bool:
        with translate_read_errors(self.path, "the list of datasets is damaged", HINT):
            return "is_damaged" in self._file

    @cached_property
    def _parts(self) -> list[_Part]:
        parts: list[_Part] = []
        for number in range(self.attributes.parts):
            prefix = f"part{number}/" if number else ""
            with translate_read_errors(self.path, "the list of frames is damaged", HINT):
                group = entry(self._file, prefix) if prefix else self._file
                height, width = (int(group.attrs[name]) for name in ("height", "width"))
                first = parts[-1].end if parts else 0
                parts.append(_Part(prefix, first, first + len(entry(group, "poc")), height, width))
        return parts

    @cached_property
    def attributes(self) -> MotionAttributes:
        """What the file holds and what made it."""
        names = {field.name for field in fields(MotionAttributes)}
        with translate_read_errors(self.path, "the list of attributes is damaged", HINT):
            names -= LATER_ATTRIBUTES - set(self._file.attrs)
        return MotionAttributes(**read_attributes(self._file, names, HINT))

    def read(self, index: int) -> RecordedMotion:
        """Return one frame's motion, by its place in display order.

        Motion to the keyframe is composed here: of one frame if the one before it was read last, otherwise of all since
        the keyframe. Raises IndexError if there is no such frame, StoreError if what the file has of it is damaged.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path}: frame {index} of {len(self)}")
        part = next(part for part in self._parts if index < part.end)
        keyframe_index = int(self._read(part, "keyframe_index", index))
        return RecordedMotion(
            height=part.height,
            width=part.width,
            poc=int(self._read(part, "poc", index)),
            kind=self._read(part, "kind", index).decode(),
            is_keyframe=bool(self._read(part, "is_keyframe", index)),
            is_damaged=self._marks_damage and bool(self._read(part, "is_damaged", index)),
            keyframe_index=keyframe_index,
            mode=self._as_4x4(part, self._read(part, "mode", index), axis=0),
            vectors_qpel=self._as_4x4(part, self._read(part, "motion_qpel", index), axis=1),
            ref_poc=self._as_4x4(part, self._read(part, "ref_poc", index), axis=1),
            motion_qpel=self._compose(part, keyframe_index, index) if self.attributes.composed else None,
        )

    def _compose(self, part: _Part, keyframe_index: int, index: int) -> NDArray[np.int16] | None:
        attributes = self.attributes
        if attributes.format_version < FORMAT_VERSION:
            return self._read(part, "composed_qpel", index)
        if keyframe_index < 0:
            return None
        goes_on = keyframe_index <= self._composed_index <= index
        if self._composer is None or (not goes_on and self._composed_part is not part):
            self._composed_part = part
            self._composer = MotionComposer(
                part.height, part.width, subpixel=attributes.subpixel, max_ref_back=MAX_REFERENCES
            )
        for following in range(self._composed_index + 1 if goes_on else keyframe_index, index + 1):
            vectors_qpel = self._read(part, "motion_qpel", following, 0)
            ref_back = self._read(part, "ref_back", following)
            if following == keyframe_index:
                self._composer.restart()
            self._composer.push(self._as_4x4(part, vectors_qpel, axis=0), self._as_4x4(part, ref_back, axis=0))
            self._composed_index = following
        return self._composer.compose()

    def _as_4x4(self, part: _Part, blocks: NDArray[Any], axis: int) -> NDArray[Any]:
        """Repeat what is stored for larger blocks; `axis` counts their rows, the next one their columns."""
        for side in (axis, axis + 1):
            blocks = blocks.repeat(self.attributes.block_size // BLOCK_SIZE, axis=side)
        shown = slice(num_blocks(part.height)), slice(num_blocks(part.width))
        return blocks[(*[slice(None)] * axis, *shown)]

    def _read(self, part: _Part, name: str, index: int, *place: int) -> Any:
        with translate_read_errors(self.path, f"{name} of frame {index} is damaged", HINT):
            path = part.prefix + name
            if path not in self._datasets:
                self._datasets[path] = entry(self._file, path)
            return self._datasets[path][(index - part.first, *place)]
