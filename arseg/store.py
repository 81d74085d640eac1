"""The clip store: an HDF5 file with one sample per annotated frame of one split, codec setting and distance.

Only this module knows the layout; ``docs/clip-store.md`` describes it for readers in other languages. A store
is written once, under a temporary name, and never changed afterwards, so any number of processes may read it.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

import deflate
import h5py
import numpy as np
from numpy.typing import NDArray

from arseg import __version__
from arseg.errors import StoreError
from arseg.files import atomic_path
from arseg.hdf5 import (
    NewFile,
    all_attributes,
    create_file,
    entry,
    open_finished,
    read_attributes,
    translate_read_errors,
    write_attributes,
    write_column,
)
from arseg.spec import Encoding
from arseg.stages import STAGES

FORMAT_VERSION = 4
"""Raised when the layout changes so that older programs cannot read it, or new ones what is old."""

READABLE_VERSIONS = (FORMAT_VERSION, 3, 2)
"""Version 3 had an attribute for each setting of the encoding. In version 2, strings had variable length, and file
structure and identities no checksums."""

HINT = "Delete the file and run again"

IMPORTED_ENCODER = "the authors' processed data"
"""Encoder of clips that were imported, whose version is not known."""

AXES = {
    "keyframe": "sample, row, column, channel (R, G, B)",
    "frame": "sample, row, column, channel (R, G, B)",
    "motion_qpel": "sample, row, column, component (x right, y down); unit: quarter pixel; "
    "pixel (row, column) of frame comes from (row + y/4, column + x/4) of keyframe",
    "intra": "sample, row of 4x4 blocks, column of 4x4 blocks; true where frame is intra-coded",
}
"""Axis order and unit of each dataset, stored as its attribute ``axes``."""

DEFLATE_LEVEL = 6
"""Of libdeflate, which takes less time for fewer bytes than HDF5's own zlib (docs/clip-store.md)."""


@dataclass(frozen=True)
class StoreAttributes:
    """What a store holds and how it was made; the root attributes of the file."""

    dataset: str
    """Name of the data set."""
    split: str
    """Split of the manifest."""
    manifest_digest: str
    """SHA-256 of the manifest that lists the frames."""
    encoding: Encoding
    """How the clips were compressed, and their motion composed."""
    distance: int
    """Frames from the keyframe to the annotated frame."""
    shard: int
    """Index of this part of the split, from 0."""
    num_shards: int
    """Number of parts of the split."""
    encoder: str = ""
    """Name and version of encoder and FFmpeg; empty in a store without samples."""
    encoder_parameters: str = ""
    """The encoder's complete effective settings for the first clip; empty in a store without samples."""
    format_version: int = FORMAT_VERSION
    """Version of this layout."""
    stage: int = STAGES["clips"]
    """Version of the stage that made the store."""
    arseg_version: str = __version__
    """Version of the package that made the store."""


@dataclass(frozen=True)
class ClipIdentity:
    """Which frame a sample is, and where its uncompressed files lie."""

    sequence: str
    """Name of the video."""
    frame_index: int
    """Number of the annotated frame."""
    keyframe_index: int
    """Number of its keyframe."""
    image: str
    """Path of the annotated frame before compression."""
    keyframe_image: str
    """Path of the keyframe before compression."""
    label: str
    """Path of the label map; empty if there is none."""


@dataclass(frozen=True)
class ClipSample:
    """One sample: an annotated frame, its keyframe and the motion between them."""

    keyframe: NDArray[np.uint8]
    """Decoded keyframe, RGB, shape (H, W, 3)."""
    frame: NDArray[np.uint8]
    """Decoded annotated frame, RGB, shape (H, W, 3)."""
    motion_qpel: NDArray[np.int16]
    """Displacement (x, y) in quarter pixels from each pixel of the frame to its source in the keyframe, shape
    (H, W, 2)."""
    intra: NDArray[np.bool_] | None
    """Which 4x4 blocks of the frame are intra-coded, shape (ceil(H / 4), ceil(W / 4)); None in a store that was
    imported from data without this."""
    identity: ClipIdentity
    """Which frame it is."""


class ClipStore:
    """A finished clip store, open for reading.

    The file is opened when something is first read, and once more in each process that a store travels to,
    whether by pickling or by a fork: HDF5 handles must not be shared by DataLoader workers.

    Parameters
    ----------
    path : path
        The HDF5 file.

    Raises
    ------
    StoreError
        By all methods, if the file is missing, truncated, unfinished, of another format version, or no clip
        store.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: h5py.File | None = None
        self._process = -1
        self._identities: tuple[ClipIdentity, ...] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None, "_process": -1}

    def __enter__(self) -> "ClipStore":
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._read_identities())

    def close(self) -> None:
        """Close the file; a later read opens it again."""
        if self._file is not None and self._process == os.getpid():
            self._file.close()
        self._file = None

    @property
    def attributes(self) -> StoreAttributes:
        """What the store holds and how it was made."""
        file = self._open()
        found = all_attributes(file, HINT)
        names = [field.name for field in fields(StoreAttributes)]
        if found["format_version"] < FORMAT_VERSION:  # which had an attribute for each setting
            settings = read_attributes(file, [field.name for field in fields(Encoding)], HINT)
        else:
            settings = json.loads(read_attributes(file, ["encoding"], HINT)["encoding"])
        return StoreAttributes(**read_attributes(file, names, HINT) | {"encoding": Encoding.from_dict(settings)})

    def identities(self) -> list[ClipIdentity]:
        """Identities of all samples, in order, without reading a pixel."""
        return list(self._read_identities())

    def read(self, index: int) -> ClipSample:
        """Read one sample."""
        return ClipSample(
            keyframe=self._read_array("keyframe", index),
            frame=self._read_array("frame", index),
            motion_qpel=self.read_motion(index),
            intra=self._read_array("intra", index) if self._has_intra() else None,
            identity=self._read_identities()[index],
        )

    def read_motion(self, index: int) -> NDArray[np.int16]:
        """Read the motion of one sample, int16 quarter pixels (x, y), shape (H, W, 2)."""
        return self._read_array("motion_qpel", index)

    def _read_identities(self) -> tuple[ClipIdentity, ...]:
        if self._identities is None:
            file = self._open()
            with translate_read_errors(self.path, "the list of samples is damaged", HINT):
                group = entry(file, "identity")
                columns = [
                    dataset.asstr()[:] if field.type is str else dataset[:].tolist()
                    for field in fields(ClipIdentity)
                    for dataset in [entry(group, field.name)]
                ]
                self._identities = tuple(ClipIdentity(*values) for values in zip(*columns, strict=True))
        return self._identities

    def _has_intra(self) -> bool:
        file = self._open()
        with translate_read_errors(self.path, "the list of datasets is damaged", HINT):
            return "intra" in list(file)  # a list that cannot be read raises; `in file` would say no

    def _read_array(self, name: str, index: int) -> NDArray[Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path}: sample {index} of {len(self)}")
        file = self._open()
        with translate_read_errors(self.path, f"{name} of sample {index} is damaged", HINT):
            return _read_sample(entry(file, name), index)

    def _open(self) -> h5py.File:
        if self._file is None or self._process != os.getpid():
            self._file = open_finished(
                self.path,
                "clip store",
                format_versions=READABLE_VERSIONS,
                attributes={"manifest_digest"},
                command="arseg clips ...",
                hint=HINT,
            )
            self._process = os.getpid()
        return self._file


class ClipStoreWriter:
    """Fills one store; `create_stores` makes it.

    Samples may be written in any order, each once.
    """

    def __init__(self, file: NewFile, attributes: StoreAttributes, identities: Sequence[ClipIdentity]) -> None:
        self._file = file
        self._identities = identities
        self._keyframe_is_frame = attributes.distance == 0
        self._pending = set(range(len(identities)))
        self._attributes = attributes
        group = file.create_group("identity")
        columns = zip(*map(astuple, identities), strict=True) if identities else [()] * len(fields(ClipIdentity))
        for field, column in zip(fields(ClipIdentity), columns, strict=True):
            write_column(group, field.name, column, str if field.type is str else int)

    def write(
        self,
        index: int,
        *,
        keyframe: NDArray[np.uint8],
        frame: NDArray[np.uint8],
        motion_qpel: NDArray[np.int16],
        intra: NDArray[np.bool_] | None,
    ) -> None:
        """Write one sample; arrays as in `ClipSample`. Either all samples have ``intra`` or none.

        At distance 0 the frame is all there is to write: it is its own keyframe, without motion and intra-coded.

        Raises
        ------
        StoreError
            If the frame has another size than those before.
        """
        if "frame" not in self._file:
            self._create_arrays(frame.shape[0], frame.shape[1], None if intra is None else intra.shape)
        expected = self._file["frame"].shape[1:]
        if frame.shape != expected:
            raise StoreError(
                f"{self._identities[index].image}: the frame has {frame.shape[1]}x{frame.shape[0]} pixels, "
                f"those before it {expected[1]}x{expected[0]}. The frames of a split must have one size: "
                "resize them, or make a data set of each size"
            )
        self._write_array("frame", index, frame)
        if not self._keyframe_is_frame:
            self._write_array("keyframe", index, keyframe)
            self._write_array("motion_qpel", index, motion_qpel)
            if intra is not None:
                self._write_array("intra", index, intra)
        self._file.raise_failure()
        self._pending.remove(index)

    def record_encoder(self, encoder: str, parameters: str) -> None:
        """Record what made the clips, which is known only after the first of them."""
        self._attributes = replace(self._attributes, encoder=encoder, encoder_parameters=parameters)

    def finish(self) -> None:
        """Mark the store as complete."""
        assert not self._pending, f"samples {sorted(self._pending)} were never written"
        encoding = json.dumps(self._attributes.encoding.to_dict())
        write_attributes(self._file, vars(self._attributes) | {"encoding": encoding, "complete": True})

    def _create_arrays(self, height: int, width: int, blocks: tuple[int, ...] | None) -> None:
        # Samples are read one by one in random order, so a chunk holds no more than one. Of motion it holds one
        # component, which compresses better alone. Shuffle sorts the bytes of int16 by significance; on the
        # interleaved bytes of a picture it would do nothing.
        layout: dict[str, tuple[tuple[int, ...], type, tuple[int, ...]]] = {
            "frame": ((height, width, 3), np.uint8, (height, width, 3)),
            "keyframe": ((height, width, 3), np.uint8, (height, width, 3)),
            "motion_qpel": ((height, width, 2), np.int16, (height, width, 1)),
        }
        if blocks is not None:
            layout["intra"] = (blocks, np.bool_, blocks)
        for name, (shape, dtype, chunk) in layout.items():
            if name == "keyframe" and self._keyframe_is_frame:
                self._file[name] = self._file["frame"]  # a hard link: two names, one set of pixels
                continue
            dataset = self._file.create_dataset(
                name,
                shape=(len(self._identities), *shape),
                dtype=dtype,
                chunks=(1, *chunk),
                compression="gzip",
                compression_opts=DEFLATE_LEVEL,
                shuffle=dtype is np.int16,
                fillvalue=dtype is np.bool_,  # what a keyframe has: no motion, and intra-coded blocks only
            )
            write_attributes(dataset, {"axes": AXES[name]})

    def _write_array(self, name: str, index: int, array: NDArray[Any]) -> None:
        """Write one sample of a dataset, chunk by chunk, compressed here as HDF5's filters would."""
        dataset = self._file[name]
        assert array.shape == dataset.shape[1:], (name, array.shape)
        for component, chunk in enumerate(np.split(array, array.shape[-1] // dataset.chunks[-1], axis=-1)):
            content = np.ascontiguousarray(chunk, dtype=dataset.dtype).reshape(-1)
            if dataset.shuffle:
                content = np.ascontiguousarray(content.view(np.uint8).reshape(content.size, -1).T).reshape(-1)
            offset = (index, *[0] * (array.ndim - 1), component * dataset.chunks[-1])
            dataset.id.write_direct_chunk(offset, deflate.zlib_compress(content.view(np.uint8), DEFLATE_LEVEL))


def _read_sample(dataset: h5py.Dataset, index: int) -> NDArray[Any]:
    """Read one sample, chunk by chunk, decompressed here: HDF5's filters take ten times as long for motion."""
    if not dataset.id.get_num_chunks():  # at distance 0 there is no motion, only what stands for it
        return dataset[index]
    array = np.empty(dataset.shape[1:], dataset.dtype)
    num_bytes = array.itemsize if dataset.shuffle else 1
    for first in range(0, array.shape[-1], dataset.chunks[-1]):
        part = array[..., first : first + dataset.chunks[-1]]
        skipped_filters, content = dataset.id.read_direct_chunk((index, *[0] * (array.ndim - 1), first))
        if skipped_filters:  # by another program
            return dataset[index]
        planes = np.frombuffer(deflate.zlib_decompress(content, part.nbytes), np.uint8).reshape(num_bytes, *part.shape)
        for place, plane in enumerate(planes):
            part.view(np.uint8)[..., place::num_bytes] = plane
    return array


@contextmanager
def create_stores(
    contents: Mapping[Path, tuple[StoreAttributes, Sequence[ClipIdentity]]],
) -> Iterator[dict[Path, ClipStoreWriter]]:
    """Write several stores side by side; all appear when all are complete, none after a failure.

    Parameters
    ----------
    contents : mapping of Path to (StoreAttributes, sequence of ClipIdentity)
        For each output file what it holds, and its samples in order (there may be none).

    Yields
    ------
    writers : dict of Path to ClipStoreWriter
        A writer for each output file. Every sample must have been written when the block ends.
    """
    with ExitStack() as renames:
        temporaries = {path: renames.enter_context(atomic_path(path)) for path in contents}
        with ExitStack() as files:
            writers = {
                path: ClipStoreWriter(files.enter_context(create_file(temporary)), *contents[path])
                for path, temporary in temporaries.items()
            }
            yield writers
            for writer in writers.values():
                writer.finish()
