"""The motion file: an HDF5 file with the motion vectors of one video, frame by frame.

Only this module knows the layout; ``docs/motion.md`` describes it for readers in other languages. A file is written
once, under a temporary name, and never changed afterwards.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import deflate
import h5py
import numpy as np
from numpy.typing import NDArray

from arseg import __version__
from arseg.codec.damage import Damage
from arseg.codec.frame import (
    BLOCK_SIZE,
    NO_REFERENCE,
    UNKNOWN_REFERENCE,
    FrameMotion,
    PredictionMode,
    num_blocks,
)
from arseg.codecs import MAX_REFERENCES
from arseg.files import atomic_path
from arseg.hdf5 import (
    NewFile,
    create_file,
    entry,
    open_finished,
    read_attributes,
    translate_read_errors,
    write_attributes,
)
from arseg.motion.compose import MotionComposer

FORMAT_VERSION = 3
"""Raised when the layout changes so that older programs cannot read it."""

READABLE_VERSIONS = (FORMAT_VERSION, 2, 1)
"""Before version 3, all blocks had 4x4 pixels, and motion to the keyframes was stored pixel by pixel, as
``composed_qpel``. In version 1, strings had variable length, and the file's structure no checksums."""

HINT = "Delete the file and run again: arseg motion VIDEO -o FILE"

AXES = {
    "poc": "frame; order count in the stream, which may begin anew at a keyframe",
    "kind": "frame; I, P or B",
    "is_keyframe": "frame; true where decoding can start",
    "keyframe_index": "frame; place of the latest keyframe up to this frame, -1 without one and for damaged frames",
    "is_damaged": "frame; true where it may be wrong: parts are missing and guessed, or it depends on such a frame",
    "mode": "frame, row of blocks, column of blocks",
    "motion_qpel": "frame, list (0, 1), row of blocks, column of blocks, component (x right, y down); unit: "
    "quarter pixel; the block is predicted from its place plus the vector",
    "ref_poc": "frame, list (0, 1), row of blocks, column of blocks; order count of the frame that the "
    f"vector points into, {NO_REFERENCE} where the list is unused, {UNKNOWN_REFERENCE} where it is not known",
    "ref_back": "frame, row of blocks, column of blocks; frames back to the one that the vector of list 0 "
    f"points into; 0 where a block counts as still: intra, or from more than {MAX_REFERENCES} frames back",
}
"""Axis order and unit of each dataset, stored as its attribute ``axes``."""

DEFLATE_LEVEL = 4
"""Of libdeflate: less time and fewer bytes than HDF5's own zlib at the same level. Sorting bytes by significance first
makes vectors of blocks larger."""

LATER_ATTRIBUTES = {"frames_lost", "frames_damaged", "ended_early", "parts"}
"""Of files with the dataset ``is_damaged``; versions of arseg before refused damaged videos, and changes of size."""

ROWS_PER_CHUNK = 1024
"""Frames in a chunk of the datasets that have one number per frame, and by which all datasets grow."""

MODES = h5py.enum_dtype({mode.name: mode.value for mode in PredictionMode}, basetype="u1")


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
        if read_attributes(self._file, ["format_version"], HINT)["format_version"] < FORMAT_VERSION:
            names.remove("block_size")
        if not self._marks_damage:
            names -= LATER_ATTRIBUTES
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


class MotionFileWriter:
    """Fills one motion file in display order; `create_motion_file` makes it."""

    def __init__(self, file: NewFile, attributes: MotionAttributes) -> None:
        self._file = file
        self._keyframe_index = -1
        self._num_frames = self._num_before = 0
        write_attributes(file, asdict(attributes))
        self._block_size, self._composed, self._num_parts = attributes.block_size, attributes.composed, 0
        self._begin_part(file, attributes.height, attributes.width)

    def _begin_part(self, group: h5py.Group, height: int, width: int) -> None:
        """Make the datasets of a run of frames of one size, in the group of it: the root for the first one."""
        self._num_parts += 1
        self._group, self._size = group, (height, width)
        self._datasets: dict[str, h5py.Dataset] = {}
        self._numbers: dict[str, list[Any]] = {}
        self._num_before, self._num_frames = self._num_before + self._num_frames, 0
        blocks = tuple(-(-size // self._block_size) for size in self._size)
        kinds = {"poc": np.int32, "kind": "S1", "is_keyframe": np.bool_, "keyframe_index": np.int64}
        for name, dtype in (kinds | {"is_damaged": np.bool_}).items():
            self._create(name, (), dtype, chunk=(ROWS_PER_CHUNK,))
            self._numbers[name] = []
        # What a frame does not have is not written: HDF5 gives the fill value there, and keeps nothing on disk.
        self._create("mode", blocks, MODES, chunk=(1, *blocks), fill=PredictionMode.INTRA)
        self._create("motion_qpel", (2, *blocks, 2), np.int16, chunk=(1, 1, *blocks, 2))
        self._create("ref_poc", (2, *blocks), np.int32, chunk=(1, 1, *blocks), fill=NO_REFERENCE)
        if self._composed:
            self._create("ref_back", blocks, np.uint8, chunk=(1, *blocks))

    def leave_out_composed(self, reason: str) -> None:
        """Drop what motion to the keyframes is composed of, for the whole video; its room is used for what comes."""
        for number in range(self._num_parts):
            del self._file[f"part{number}/ref_back" if number else "ref_back"]
        del self._datasets["ref_back"]
        self._composed = False
        write_attributes(self._file, {"composed": False, "composed_reason": reason})

    def append(self, frame: FrameMotion, ref_back: NDArray[np.uint8] | None) -> None:
        """Write the next frame; with its references as `arseg.codec.frame.BackReferences` has them, if composing."""
        if (frame.height, frame.width) != self._size:
            self._end_part()
            group = self._file.create_group(f"part{self._num_parts}")
            write_attributes(group, {"height": frame.height, "width": frame.width})
            self._begin_part(group, frame.height, frame.width)
            self._keyframe_index = -1
        index = self._num_frames
        if index % ROWS_PER_CHUNK == 0:
            self._write_numbers()
            self._resize(index + ROWS_PER_CHUNK)
        self._num_frames += 1
        if frame.is_damaged:
            self._keyframe_index = -1
        elif frame.is_keyframe:
            self._keyframe_index = self._num_before + index
        row = frame.poc, frame.kind, frame.is_keyframe, self._keyframe_index, frame.is_damaged
        for numbers, value in zip(self._numbers.values(), row, strict=True):
            numbers.append(value)
        if frame.kind != "I":
            self._write_frame("mode", (index,), frame.mode)
        for list_index in range("IPB".index(frame.kind)):  # an I-frame has no list, a B-frame two
            self._write_frame("motion_qpel", (index, list_index), frame.vectors_qpel[list_index])
            self._write_frame("ref_poc", (index, list_index), frame.ref_poc[list_index])
        if ref_back is not None and not frame.is_keyframe:
            self._write_frame("ref_back", (index,), np.where(ref_back > MAX_REFERENCES, 0, ref_back))
        self._file.raise_failure()

    def describe_damage(self, damage: Damage) -> None:
        """Write what was damaged, or could not be read."""
        values = {"frames_lost": damage.num_lost, "frames_damaged": damage.num_damaged}
        write_attributes(self._file, values | {"ended_early": damage.ended_early})

    def finish(self) -> None:
        """Write what is left, and mark the file as complete."""
        self._end_part()
        self._file.attrs["parts"] = self._num_parts
        self._file.attrs["complete"] = True

    def _end_part(self) -> None:
        self._write_numbers()
        self._resize(self._num_frames)

    def _write_numbers(self) -> None:
        for name, numbers in self._numbers.items():
            if numbers:
                self._datasets[name][self._num_frames - len(numbers) : self._num_frames] = numbers
                numbers.clear()

    def _write_frame(self, name: str, place: tuple[int, ...], array: NDArray[Any]) -> None:
        """Write the chunk of a frame's 4x4 blocks, shape (Hb, Wb, ...), compressed here as HDF5's filter would."""
        step = self._block_size // BLOCK_SIZE
        content = np.ascontiguousarray(array[::step, ::step])
        offset = (*place, *[0] * array.ndim)
        self._datasets[name].id.write_direct_chunk(offset, deflate.zlib_compress(content, DEFLATE_LEVEL))

    def _resize(self, length: int) -> None:
        for dataset in self._datasets.values():
            dataset.resize(length, axis=0)

    def _create(
        self, name: str, shape: tuple[int, ...], dtype: Any, *, chunk: tuple[int, ...], fill: int | None = None
    ) -> None:
        dataset = self._group.create_dataset(
            name,
            shape=(0, *shape),
            maxshape=(None, *shape),
            dtype=dtype,
            chunks=chunk,
            compression="gzip",
            compression_opts=DEFLATE_LEVEL,
            # HDF5 does not compress what that would enlarge, and then it has no checksum of zlib's.
            fletcher32=not shape,
            fillvalue=fill,
        )
        write_attributes(dataset, {"axes": AXES[name]})
        self._datasets[name] = dataset


@contextmanager
def create_motion_file(path: Path, attributes: MotionAttributes) -> Iterator[MotionFileWriter]:
    """Yield a writer of a motion file, which appears when it is complete, and never after a failure."""
    with atomic_path(path) as temporary, create_file(temporary) as file:
        writer = MotionFileWriter(file, attributes)
        yield writer
        writer.finish()
