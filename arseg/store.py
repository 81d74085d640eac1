"""The clip store: an HDF5 file with one sample per annotated frame of one split, codec setting and distance.

Only this module and `arseg.store_writer` know the layout; ``docs/clip-store.md`` describes it for readers in other
languages. A store is written once, under a temporary name, and never changed afterwards, so any number of processes may
read it.
"""

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import deflate
import h5py
import numpy as np
from numpy.typing import NDArray

from arseg import __version__
from arseg.errors import StoreError
from arseg.hdf5 import all_attributes, entry, open_finished, read_attributes, translate_read_errors
from arseg.spec import Encoding
from arseg.stages import STAGES

FORMAT_VERSION = 5
"""Raised when the layout changes so that older programs cannot read it, or new ones what is old."""

READABLE_VERSIONS = (FORMAT_VERSION, 4, 3, 2)
"""Version 4 had no evidence. Version 3 had an attribute for each setting of the encoding. In version 2, strings had
variable length, and file structure and identities no checksums."""

HINT = "Delete the file and run again"

IMPORTED_ENCODER = "the authors' processed data"
"""Encoder of clips that were imported, whose version is not known."""


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
    evidence: NDArray[np.uint8] | None = None
    """How far the motion can be trusted: the counts `arseg.spec.EVIDENCE` of 4x4 blocks, shape (ceil(H / 4),
    ceil(W / 4), 3); None in a store that was imported, or written before format version 5."""


class ClipStore:
    """A finished clip store, open for reading.

    The file is opened when something is first read, and once more in each process that a store travels to,
    whether by pickling or by a fork: HDF5 handles must not be shared by DataLoader workers. All methods raise a
    StoreError if the file is missing, truncated, unfinished, of another format version, or no clip store.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: h5py.File | None = None
        self._process = -1
        self._identities: list[ClipIdentity] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None, "_process": -1}

    def __enter__(self) -> "ClipStore":
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.identities())

    def close(self) -> None:
        """Close the file; a later read opens it again."""
        if self._file is not None and self._process == os.getpid():
            self._file.close()
        self._file = None

    @property
    def attributes(self) -> StoreAttributes:
        """What the store holds and how it was made."""
        file = self._open()
        names = [field.name for field in fields(StoreAttributes)]
        if all_attributes(file, HINT)["format_version"] < 4:  # which had an attribute for each setting
            settings = read_attributes(file, [field.name for field in fields(Encoding)], HINT)
        else:
            settings = json.loads(read_attributes(file, ["encoding"], HINT)["encoding"])
        return StoreAttributes(**read_attributes(file, names, HINT) | {"encoding": Encoding.from_dict(settings)})

    def identities(self) -> list[ClipIdentity]:
        """Return the identities of all samples, in order, without reading a pixel."""
        if self._identities is None:
            file = self._open()
            with translate_read_errors(self.path, "the list of samples is damaged", HINT):
                group = entry(file, "identity")
                columns = [
                    dataset.asstr()[:] if field.type is str else dataset[:].tolist()
                    for field in fields(ClipIdentity)
                    for dataset in [entry(group, field.name)]
                ]
                self._identities = [ClipIdentity(*values) for values in zip(*columns, strict=True)]
        return self._identities

    def read(self, index: int) -> ClipSample:
        """Read one sample."""
        datasets = self._datasets()
        return ClipSample(
            keyframe=self._read_array("keyframe", index),
            frame=self._read_array("frame", index),
            motion_qpel=self.read_motion(index),
            intra=self._read_array("intra", index) if "intra" in datasets else None,
            identity=self.identities()[index],
            evidence=self.read_evidence(index) if "evidence" in datasets else None,
        )

    def read_motion(self, index: int) -> NDArray[np.int16]:
        """Read the motion of one sample, int16 quarter pixels (x, y), shape (H, W, 2)."""
        return self._read_array("motion_qpel", index)

    def read_evidence(self, index: int) -> NDArray[np.uint8]:
        """Read the evidence of one sample, as `ClipSample.evidence`; `require_evidence` says whether there is any."""
        return self._read_array("evidence", index)

    def require_evidence(self) -> None:
        """Raise a StoreError if the store has samples, and not the evidence that a fusion needs."""
        if "frame" in (datasets := self._datasets()) and "evidence" not in datasets:
            raise StoreError(
                f"{self.path}: holds no evidence of the codec, which the fusion of this LR branch uses. {HINT}; clips "
                "that are imported instead of made from frames have none"
            )

    def _datasets(self) -> list[str]:
        file = self._open()
        with translate_read_errors(self.path, "the list of datasets is damaged", HINT):
            return list(file)  # which raises if it cannot be read, where `in file` would say no

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
