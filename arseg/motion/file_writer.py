"""Write motion files, whose layout `arseg.motion.file` reads."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import deflate
import h5py
import numpy as np
from numpy.typing import NDArray

from arseg.codec.picture import BLOCK_SIZE, NO_REFERENCE, UNKNOWN_REFERENCE, DecodedPicture, PredictionMode
from arseg.files import atomic_path
from arseg.hdf5 import NewFile, create_file, write_attributes
from arseg.motion.compose import MAX_REF_BACK
from arseg.motion.file import MotionAttributes

AXES = {
    "poc": "picture; order count in the stream, which may begin anew at a keyframe",
    "kind": "picture; I, P or B",
    "is_keyframe": "picture; true where decoding can start",
    "keyframe_index": "picture; place of the latest keyframe up to this picture, -1 if there is none",
    "mode": "picture, row of blocks, column of blocks",
    "motion_qpel": "picture, list (0, 1), row of blocks, column of blocks, component (x right, y down); unit: "
    "quarter pixel; the block is predicted from its place plus the vector",
    "ref_poc": "picture, list (0, 1), row of blocks, column of blocks; order count of the picture that the "
    f"vector points into, {NO_REFERENCE} where the list is unused, {UNKNOWN_REFERENCE} where it is not known",
    "ref_back": "picture, row of blocks, column of blocks; pictures back to the one that the vector of list 0 "
    f"points into; 0 where a block counts as still: intra, or from more than {MAX_REF_BACK} pictures back",
}
"""Axis order and unit of each dataset, stored as its attribute ``axes``."""

DEFLATE_LEVEL = 4
"""Of libdeflate: less time and fewer bytes than HDF5's own zlib at the same level. Sorting bytes by significance first
makes vectors of blocks larger."""

ROWS_PER_CHUNK = 1024
"""Pictures in a chunk of the datasets that have one number per picture, and by which all datasets grow."""

MODES = h5py.enum_dtype({mode.name: mode.value for mode in PredictionMode}, basetype="u1")


class MotionFileWriter:
    """Fills one motion file in display order; `create_motion_file` makes it."""

    def __init__(self, file: NewFile, attributes: MotionAttributes) -> None:
        self._file = file
        self._keyframe_index = -1
        self._num_pictures = 0
        self._datasets: dict[str, h5py.Dataset] = {}
        write_attributes(file, asdict(attributes))
        self._step = attributes.block_size // BLOCK_SIZE
        blocks = tuple(-(-size // attributes.block_size) for size in (attributes.height, attributes.width))
        self._numbers: dict[str, list[Any]] = {}
        for name, dtype in {"poc": np.int32, "kind": "S1", "is_keyframe": np.bool_, "keyframe_index": np.int64}.items():
            self._create(name, (), dtype, chunk=(ROWS_PER_CHUNK,))
            self._numbers[name] = []
        # What a picture does not have is not written: HDF5 gives the fill value there, and keeps nothing on disk.
        self._create("mode", blocks, MODES, chunk=(1, *blocks), fill=PredictionMode.INTRA)
        self._create("motion_qpel", (2, *blocks, 2), np.int16, chunk=(1, 1, *blocks, 2))
        self._create("ref_poc", (2, *blocks), np.int32, chunk=(1, 1, *blocks), fill=NO_REFERENCE)
        if attributes.composed:
            self._create("ref_back", blocks, np.uint8, chunk=(1, *blocks))

    def leave_out_composed(self, reason: str) -> None:
        """Drop what motion to the keyframes is composed of, for the whole video; its room is used for what comes."""
        del self._file["ref_back"], self._datasets["ref_back"]
        write_attributes(self._file, {"composed": False, "composed_reason": reason})

    def append(self, picture: DecodedPicture, ref_back: NDArray[np.uint8] | None) -> None:
        """Write the next picture; with its references as `arseg.codec.clip.BackReferences` has them, if composing."""
        index = self._num_pictures
        if index % ROWS_PER_CHUNK == 0:
            self._write_numbers()
            self._resize(index + ROWS_PER_CHUNK)
        self._num_pictures += 1
        if picture.is_keyframe:
            self._keyframe_index = index
        row = picture.poc, picture.kind, picture.is_keyframe, self._keyframe_index
        for numbers, value in zip(self._numbers.values(), row, strict=True):
            numbers.append(value)
        if picture.kind != "I":
            self._write_picture("mode", (index,), picture.mode)
        for list_index in range("IPB".index(picture.kind)):  # an I-picture has no list, a B-picture two
            self._write_picture("motion_qpel", (index, list_index), picture.motion_qpel[list_index])
            self._write_picture("ref_poc", (index, list_index), picture.ref_poc[list_index])
        if ref_back is not None and not picture.is_keyframe:
            self._write_picture("ref_back", (index,), np.where(ref_back > MAX_REF_BACK, 0, ref_back))
        self._file.raise_failure()

    def finish(self) -> None:
        """Write what is left, and mark the file as complete."""
        self._write_numbers()
        self._resize(self._num_pictures)
        self._file.attrs["complete"] = True

    def _write_numbers(self) -> None:
        for name, numbers in self._numbers.items():
            if numbers:
                self._datasets[name][self._num_pictures - len(numbers) : self._num_pictures] = numbers
                numbers.clear()

    def _write_picture(self, name: str, place: tuple[int, ...], array: NDArray[Any]) -> None:
        """Write the chunk of a picture's 4x4 blocks, shape (Hb, Wb, ...), compressed here as HDF5's filter would."""
        content = np.ascontiguousarray(array[:: self._step, :: self._step])
        offset = (*place, *[0] * array.ndim)
        self._datasets[name].id.write_direct_chunk(offset, deflate.zlib_compress(content, DEFLATE_LEVEL))

    def _resize(self, length: int) -> None:
        for dataset in self._datasets.values():
            dataset.resize(length, axis=0)

    def _create(
        self, name: str, shape: tuple[int, ...], dtype: Any, *, chunk: tuple[int, ...], fill: int | None = None
    ) -> None:
        dataset = self._file.create_dataset(
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
    """Write a motion file, which appears when it is complete, and never after a failure.

    Parameters
    ----------
    path : Path
        Where to write it.
    attributes : MotionAttributes
        What it will hold.

    Yields
    ------
    writer : MotionFileWriter
        Takes the pictures.
    """
    with atomic_path(path) as temporary, create_file(temporary) as file:
        writer = MotionFileWriter(file, attributes)
        yield writer
        writer.finish()
