"""Write clip stores, whose layout `arseg.store` reads."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, fields, replace
from pathlib import Path
from typing import Any

import deflate
import numpy as np
from numpy.typing import NDArray

from arseg.errors import StoreError
from arseg.files import atomic_path
from arseg.hdf5 import NewFile, create_file, write_attributes, write_column
from arseg.store import ClipIdentity, StoreAttributes

AXES = {
    "keyframe": "sample, row, column, channel (R, G, B)",
    "frame": "sample, row, column, channel (R, G, B)",
    "motion_qpel": "sample, row, column, component (x right, y down); unit: quarter pixel; "
    "pixel (row, column) of frame comes from (row + y/4, column + x/4) of keyframe",
    "intra": "sample, row of 4x4 blocks, column of 4x4 blocks; true where frame is intra-coded",
    "evidence": "sample, row of 4x4 blocks, column of 4x4 blocks, count (steps to the keyframe; of these: without a "
    "vector, from outside of the frame)",
}
"""Axis order and unit of each dataset, stored as its attribute ``axes``."""

DEFLATE_LEVEL = 6
"""Of libdeflate, which takes less time for fewer bytes than HDF5's own zlib (docs/clip-store.md)."""


class ClipStoreWriter:
    """Fills one store with samples in any order, each once; `create_stores` makes it."""

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
        evidence: NDArray[np.uint8] | None = None,
    ) -> None:
        """Write one sample; arrays as in `ClipSample`. Either all samples have ``intra`` or none; so with ``evidence``.

        At distance 0 the frame is all there is to write: it is its own keyframe, without motion and intra-coded. A
        StoreError says that the frame has another size than those before.
        """
        if "frame" not in self._file:
            self._create_arrays(frame.shape[:2], {"intra": intra, "evidence": evidence})
        expected = self._file["frame"].shape[1:]
        if frame.shape != expected:
            raise StoreError(
                f"{self._identities[index].image}: the frame has {frame.shape[1]}x{frame.shape[0]} pixels, those "
                f"before it {expected[1]}x{expected[0]}. The frames of a split must have one size: resize them, or "
                "make a data set of each size"
            )
        self._write_array("frame", index, frame)
        if not self._keyframe_is_frame:
            self._write_array("keyframe", index, keyframe)
            self._write_array("motion_qpel", index, motion_qpel)
            for name, array in (("intra", intra), ("evidence", evidence)):
                if array is not None:
                    self._write_array(name, index, array)
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

    def _create_arrays(self, size: tuple[int, int], of_blocks: Mapping[str, NDArray[Any] | None]) -> None:
        # Samples are read one by one in random order, so a chunk holds no more than one. Of motion it holds one
        # component, which compresses better alone. Shuffle sorts the bytes of int16 by significance; on the
        # interleaved bytes of a picture it would do nothing.
        layout: dict[str, tuple[tuple[int, ...], type, tuple[int, ...]]] = {
            "frame": ((*size, 3), np.uint8, (*size, 3)),
            "keyframe": ((*size, 3), np.uint8, (*size, 3)),
            "motion_qpel": ((*size, 2), np.int16, (*size, 1)),
        } | {
            name: (array.shape, array.dtype.type, array.shape) for name, array in of_blocks.items() if array is not None
        }
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


@contextmanager
def create_stores(
    contents: Mapping[Path, tuple[StoreAttributes, Sequence[ClipIdentity]]],
) -> Iterator[dict[Path, ClipStoreWriter]]:
    """Write several stores side by side; all appear when all are complete, none after a failure.

    `contents` says for each output file what it holds, and its samples in order (there may be none). Yields a writer
    for each; every sample must have been written when the block ends.
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
