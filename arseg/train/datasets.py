"""Training samples as PyTorch data sets: stills for phase 1, pairs with motion for phase 2.

Both read the *uncompressed* frames; of a compressed clip only the motion is used (spec section 6). What a sample
looks like depends on the experiment's seed, the epoch and its place in the split alone: not on the number of
loader processes, nor on how the clips were divided into shards.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from arseg.config import TrainConfig
from arseg.data.augmentation import draw_augmentation
from arseg.data.images import read_image, read_label
from arseg.data.manifest import ManifestRow
from arseg.data.transforms import PairSample, apply
from arseg.errors import ArsegError, DataError
from arseg.evaluate.samples import SplitStores
from arseg.store import ClipStore

Item = dict[str, Tensor] | ArsegError
"""A sample; or an error that the user can mend, handed on because a loader would bury its message in a traceback."""


class Draw(NamedTuple):
    """Which sample to make, and the seed of its augmentation."""

    sample: int
    seed: str


class StillDataset(Dataset[Item]):
    """Annotated frames without video around them, for phase 1.

    Items are ``image``, uint8 (H, W, 3), RGB, and ``labels``, uint8 (H, W).

    Parameters
    ----------
    rows : sequence of ManifestRow
        Rows of one split.
    num_classes : int
        Number of classes K; labels hold 0 ... K-1 or 255.
    config : TrainConfig
        Crop and augmentation.
    augmented : bool
        Training samples if true; the whole, unchanged frames otherwise.

    Raises
    ------
    DataError
        If a row has no label.
    """

    def __init__(self, rows: Sequence[ManifestRow], num_classes: int, config: TrainConfig, *, augmented: bool) -> None:
        unlabelled = next((row for row in rows if not row.label), None)
        if unlabelled:
            raise DataError(
                f"{unlabelled.image}: split {unlabelled.split!r} needs labels for training, and it has none"
            )
        self._rows = tuple(rows)
        self._num_classes = num_classes
        self._config = config
        self._augmented = augmented

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, draw: Draw) -> Item:
        row = self._rows[draw.sample]
        try:
            sample = PairSample(read_image(row.image), None, read_label(row.label, self._num_classes), None)
            return _finish(sample, row.image, draw, self._config, augmented=self._augmented)
        except ArsegError as error:
            return error


class PairDataset(Dataset[Item]):
    """Annotated frames with their keyframe and the motion between them, for phase 2.

    Items are ``image`` and ``keyframe``, uint8 (H, W, 3), RGB; ``motion_qpel``, (H, W, 2), (x, y) in quarter pixels,
    float32 if augmented (a random scale leaves no whole ones), else int16; ``labels``, uint8 (H, W).

    Parameters
    ----------
    stores : SplitStores
        Clip stores of one split at one distance, all shards.
    num_classes, config, augmented
        As for `StillDataset`.

    Raises
    ------
    DataError
        If the stores hold no sample.
    """

    def __init__(self, stores: SplitStores, num_classes: int, config: TrainConfig, *, augmented: bool) -> None:
        if not stores.samples:
            raise DataError(f"{', '.join(map(str, stores.paths))}: the clip stores hold no sample. Is the split empty?")
        self._samples = stores.samples
        self._stores = [ClipStore(path) for path in stores.paths]
        self._num_classes = num_classes
        self._config = config
        self._augmented = augmented

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, draw: Draw) -> Item:
        stored = self._samples[draw.sample]
        identity = stored.identity
        try:
            sample = PairSample(
                read_image(identity.image),
                read_image(identity.keyframe_image),
                read_label(identity.label, self._num_classes),
                self._stores[stored.store_index].read_motion(stored.index),
            )
            return _finish(sample, identity.image, draw, self._config, augmented=self._augmented)
        except ArsegError as error:
            return error


def _finish(sample: PairSample, image_path: str, draw: Draw, config: TrainConfig, *, augmented: bool) -> Item:
    height, width = sample.image.shape[:2]
    if sample.labels.shape != (height, width):
        raise DataError(
            f"{image_path}: the frame has {width}x{height} pixels, its label map "
            f"{sample.labels.shape[1]}x{sample.labels.shape[0]}. Bring both to one size."
        )
    if augmented:
        sample = apply(draw_augmentation((width, height), random.Random(draw.seed), config), sample)
    # Bytes for the time being: the device makes of them what networks and losses take, quicker than any loader.
    return {name: torch.from_numpy(array) for name, array in vars(sample).items() if array is not None}
