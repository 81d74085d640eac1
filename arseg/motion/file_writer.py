"""Write a motion file, frame by frame; `arseg.motion.file` reads it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import deflate
import h5py
import numpy as np
from numpy.typing import NDArray

from arseg.codec.damage import Damage
from arseg.codec.frame import BLOCK_SIZE, NO_REFERENCE, UNKNOWN_REFERENCE, FrameMotion, PredictionMode
from arseg.codecs import MAX_REFERENCES
from arseg.files import atomic_path
from arseg.hdf5 import NewFile, create_file, write_attributes
from arseg.motion.file import MotionAttributes

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

ROWS_PER_CHUNK = 1024
"""Frames in a chunk of the datasets that have one number per frame, and by which all datasets grow."""

MODES = h5py.enum_dtype({mode.name: mode.value for mode in PredictionMode}, basetype="u1")


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
