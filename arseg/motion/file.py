"""The motion file: an HDF5 file with the motion vectors of one video, picture by picture.

Only this module knows the layout; ``docs/motion.md`` describes it for readers in other languages. A file is
written once, under a temporary name, and never changed afterwards.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import deflate
import h5py
import numpy as np
from numpy.typing import NDArray

from arseg import __version__
from arseg.codec.picture import BLOCK_SIZE, NO_REFERENCE, UNKNOWN_REFERENCE, DecodedPicture, PredictionMode, num_blocks
from arseg.files import atomic_path
from arseg.hdf5 import NewFile, as_builtin, create_file, open_finished, refusing_damage, write_attributes
from arseg.motion.compose import MAX_REF_BACK, MotionComposer

FORMAT_VERSION = 3
"""Raised when the layout changes so that older programs cannot read it."""

READABLE_VERSIONS = (FORMAT_VERSION, 2, 1)
"""Before version 3, all blocks had 4x4 pixels, and motion to the keyframes was stored pixel by pixel, as
``composed_qpel``. In version 1, strings had variable length, and the file's structure no checksums."""

MEND = "Delete the file and run again: arseg motion VIDEO -o FILE"

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
    """Side in pixels of the blocks that are stored, the smallest that the decoder tells apart."""
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
            mend=MEND,
        )
        self._composer: MotionComposer | None = None
        self._composed_index = -1

    def __enter__(self) -> "MotionFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        with refusing_damage(self.path, "the list of pictures", MEND):
            return len(self._file["poc"])

    @cached_property
    def attributes(self) -> MotionAttributes:
        """What the file holds and what made it."""
        stored = self._file.attrs
        with refusing_damage(self.path, "the list of attributes", MEND):
            names = {field.name for field in fields(MotionAttributes)}
            if stored["format_version"] < FORMAT_VERSION:
                names.remove("block_size")
            return MotionAttributes(**{name: as_builtin(stored[name]) for name in names})

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
        with refusing_damage(self.path, f"{name} of picture {picture}", MEND):
            return self._file[name][index]


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
        dataset = self._datasets[name]
        array = array[:: self._step, :: self._step]
        assert array.shape == dataset.shape[len(place) :], (name, array.shape)
        content = deflate.zlib_compress(np.ascontiguousarray(array, dataset.dtype), DEFLATE_LEVEL)
        dataset.id.write_direct_chunk((*place, *[0] * array.ndim), content)

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
        Where it shall be.
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
