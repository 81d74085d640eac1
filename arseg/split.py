"""The frames that an evaluation reads: the stores of one split at all distances, checked and put in order."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from arseg.data.images import read_label
from arseg.data.manifest import Manifest
from arseg.errors import ArsegError, DataError, StoreError
from arseg.store import ClipIdentity, ClipSample, ClipStore, StoreAttributes

VARYING_ATTRIBUTES = {"distance", "shard", "encoder", "encoder_parameters", "arseg_version"}
"""What may differ between the stores of one split: the last three are empty or older in some shards."""


@dataclass(frozen=True)
class StoredSample:
    """Where a sample lies."""

    store_index: int
    """Which of the stores."""
    index: int
    """Which sample of it."""
    distance: int
    """Frames from the keyframe to the annotated frame."""
    identity: ClipIdentity
    """Which frame it is."""


@dataclass(frozen=True)
class SplitStores:
    """The stores of one split, or of some of its shards, at all distances."""

    paths: tuple[Path, ...]
    """The files."""
    attributes: StoreAttributes
    """What all of them have in common; `VARYING_ATTRIBUTES` are those of the first."""
    places: tuple[tuple[int, int], ...]
    """Shard and distance of each of them."""
    encoders: tuple[str, ...]
    """Names and versions of the encoders, sorted."""
    samples: tuple[StoredSample, ...]
    """All samples; those that share a keyframe follow one another."""

    @property
    def shards(self) -> tuple[int, ...]:
        """Shards present, sorted."""
        return tuple(sorted({shard for shard, _ in self.places}))

    def require_evidence(self) -> None:
        """Raise a StoreError if a store lacks the evidence that a fusion needs."""
        for path in self.paths:
            with ClipStore(path) as store:
                store.require_evidence()


def open_stores(paths: Sequence[str | Path], manifest: Manifest) -> SplitStores:
    """Check that clip stores of any shards and distances belong to one split and one encoding; list their samples.

    Raises
    ------
    StoreError
        If a store was not made from `manifest`, or two stores do not belong together.
    DataError
        If a sample has no label map.
    """
    files = tuple(Path(path) for path in paths)
    if not files:
        raise StoreError("no clip store given; make some: arseg clips ...")
    attributes, samples = [], []
    for store_index, path in enumerate(files):
        with ClipStore(path) as store:
            attributes.append(store.attributes)
            distance = attributes[-1].distance
            samples += [
                StoredSample(store_index, index, distance, identity)
                for index, identity in enumerate(store.identities())
            ]
    for path, found in zip(files, attributes, strict=True):
        _check_belongs(path, found, files[0], attributes[0], manifest)
    for sample in samples:
        if not sample.identity.label:
            raise DataError(
                f"{files[sample.store_index]}: {sample.identity.image} has no label map, so it cannot be "
                "scored. Make clips of an annotated split."
            )
    samples.sort(key=lambda sample: (sample.identity.sequence, sample.identity.keyframe_index, sample.distance))
    return SplitStores(
        paths=files,
        attributes=attributes[0],
        places=tuple((found.shard, found.distance) for found in attributes),
        encoders=tuple(sorted({found.encoder for found in attributes if found.encoder})),
        samples=tuple(samples),
    )


def open_split(paths: Sequence[str | Path], manifest: Manifest) -> SplitStores:
    """Check that stores are, for each of some shards, one per distance 0 ... L - 1, in any order; see `open_stores`.

    A distance that is missing or occurs twice is a StoreError, too.
    """
    split = open_stores(paths, manifest)
    attributes, gop = split.attributes, split.attributes.encoding.gop
    place = f"{attributes.dataset} {attributes.split}, {attributes.encoding.name}"
    found = Counter(split.places)
    for shard in split.shards:
        for distance in range(gop):
            if found[shard, distance] != 1:
                raise StoreError(
                    f"{place}: {found[shard, distance] or 'no'} store(s) of shard {shard} at distance {distance}, "
                    f"expected one at each distance from 0 to {gop - 1} (gop {gop}). "
                    "Make what is missing: arseg clips ..."
                )
    if strays := [distance for _, distance in split.places if not 0 <= distance < gop]:
        raise StoreError(f"{place}: a store at distance {strays[0]}, expected 0 to {gop - 1}")
    return split


def open_training_stores(
    paths: Sequence[str | Path], manifest: Manifest, *, every_distance: bool = False
) -> SplitStores:
    """Check that stores are all shards of a split at the largest distance, or at every one, for phase 2.

    See docs/method.md, 'Clips', and `open_stores`. A shard that is missing, or at another distance, is a StoreError,
    too.
    """
    split = open_stores(paths, manifest)
    last = split.attributes.encoding.gop - 1
    distances = range(last + 1) if every_distance else [last]
    expected = [(shard, distance) for shard in range(split.attributes.num_shards) for distance in distances]
    if sorted(split.places) != expected:
        what, flag = (
            ("every distance", "--all-distances") if every_distance else (f"distance {last}", f"--distances {last}")
        )
        raise StoreError(
            f"{', '.join(map(str, split.paths))}: hold (shard, distance) {sorted(split.places)}, and phase 2 needs "
            f"{expected}: each shard once, at {what}. Make what is missing: arseg clips {flag} ..."
        )
    return split


class Frame(NamedTuple):
    """One sample as networks take it, without the batch axis."""

    distance: int
    """Frames from the keyframe to this frame."""
    image: Tensor
    """Decoded frame, RGB, uint8, shape (H, W, 3): a network normalises it on its own device."""
    label: Tensor
    """Class indices, uint8, shape (H, W); 255 = ignored."""
    keyframe: Tensor | None
    """Decoded keyframe, RGB, uint8, shape (H, W, 3); None at d = 0 and where it is not needed."""
    motion_qpel: Tensor | None
    """Motion to the keyframe, int16, shape (H, W, 2), (x, y) in quarter pixels; None as above."""
    evidence: Tensor | None
    """Evidence of the codec, uint8, shape (H / 4, W / 4, 3), rounded up; None as above, or where the store has none."""


class SplitFrames(Dataset[Frame | ArsegError]):
    """The samples of a split for a `DataLoader`, whose workers each open the stores for themselves.

    Keyframe and motion are read `with_keyframes` only (mode AR). An error that a user can fix is returned, not raised:
    a loader would bury its message in a worker's traceback.
    """

    def __init__(self, stores: SplitStores, num_classes: int, with_keyframes: bool) -> None:
        self._samples = stores.samples
        self._stores = [ClipStore(path) for path in stores.paths]
        self._num_classes = num_classes
        self._with_keyframes = with_keyframes

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Frame | ArsegError:
        try:
            return self._read(self._samples[index])
        except ArsegError as error:
            return error

    def close(self) -> None:
        """Close the stores that this process has opened."""
        for store in self._stores:
            store.close()

    def _read(self, sample: StoredSample) -> Frame:
        clip = self._stores[sample.store_index].read(sample.index)
        label = read_clip_label(clip, self._num_classes)
        fused = self._with_keyframes and sample.distance > 0
        return Frame(
            distance=sample.distance,
            image=torch.from_numpy(clip.frame),
            label=torch.from_numpy(label),
            keyframe=torch.from_numpy(clip.keyframe) if fused else None,
            motion_qpel=torch.from_numpy(clip.motion_qpel) if fused else None,
            evidence=torch.from_numpy(clip.evidence) if fused and clip.evidence is not None else None,
        )


def read_clip_label(clip: ClipSample, num_classes: int) -> NDArray[np.uint8]:
    """Read the label map of a stored frame: class indices, uint8, shape (H, W); 255 = ignored.

    A DataError says that it cannot be read, or has another size than the decoded frame.
    """
    path = clip.identity.label
    label = read_label(path, num_classes)
    if label.shape != clip.frame.shape[:2]:
        raise DataError(
            f"{path}: the label map has {label.shape[1]}x{label.shape[0]} pixels, the decoded frame "
            f"{clip.frame.shape[1]}x{clip.frame.shape[0]}. Resize it (nearest neighbour), or make the "
            "clips again."
        )
    return label


def _check_belongs(
    path: Path, found: StoreAttributes, first_path: Path, first: StoreAttributes, manifest: Manifest
) -> None:
    if found.manifest_digest != manifest.digest:
        raise StoreError(
            f"{path}: made from a manifest with digest {found.manifest_digest[:12]}…, the given one has "
            f"{manifest.digest[:12]}…. Give the manifest that the clips were made from, or make the "
            "clips again: arseg clips ..."
        )
    for name in (field.name for field in fields(StoreAttributes)):
        if name in VARYING_ATTRIBUTES or getattr(found, name) == getattr(first, name):
            continue
        if name == "encoding":
            difference = f"differs in its encoding from {first_path}: {found.encoding.difference(first.encoding)}"
        else:
            difference = f"{name} is {getattr(found, name)!r}, but {getattr(first, name)!r} in {first_path}"
        raise StoreError(f"{path}: {difference}. Give stores of one split and one encoding only.")
