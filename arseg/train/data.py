"""From files to batches: stills for phase 1, pairs with motion for phase 2, in an order that can be gone on with.

Both read the *uncompressed* frames; of a compressed clip only the motion is used (docs/method.md, 'Training'). What a
sample looks like depends on the experiment's seed, the epoch and its place in the split alone: not on the number of
loader processes, nor on how the clips were divided into shards.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from arseg.config import TrainConfig
from arseg.data.augmentation import draw_augmentation
from arseg.data.edges import label_edges
from arseg.data.images import read_image, read_label
from arseg.data.manifest import ManifestRow
from arseg.data.pidnet_augmentation import augment_as_pidnet
from arseg.data.transforms import PairSample, apply
from arseg.errors import ArsegError, ConfigError, DataError
from arseg.models.processes import process_index
from arseg.spec import Encoding
from arseg.split import SplitStores, StoredSample
from arseg.store import ClipStore
from arseg.workers import loader_options

Item = dict[str, Tensor] | ArsegError
"""A sample; or an error that the user can fix, handed on because a loader would bury its message in a traceback."""


class Draw(NamedTuple):
    """Which sample to make, and the seed of its augmentation."""

    sample: int
    seed: str


class TrainingFrames(Dataset[Item], ABC):
    """Samples of one split for a phase of training; if they are not augmented, whole, unchanged frames.

    Items have ``image``, uint8 (H, W, 3), RGB, and ``labels``, uint8 (H, W): 0 ... K - 1 or 255; if they are augmented
    and `edges` is asked for, also ``edges``, uint8 (H, W), where classes meet (`arseg.data.edges`). Bytes for the time
    being: the device makes of them what networks and losses take, quicker than any loader. `images` are the paths of
    the annotated frames.
    """

    encoding: Encoding | None = None
    """Of the clips whose motion is read."""

    def __init__(
        self,
        split: str,
        images: Sequence[str],
        num_classes: int,
        config: TrainConfig,
        *,
        augmented: bool,
        edges: bool,
    ) -> None:
        self.split = split
        self._images = images
        self._num_classes = num_classes
        self._config = config
        self._augmented = augmented
        self._edges = edges

    def __len__(self) -> int:
        return len(self._images)

    @property
    def frame_size(self) -> tuple[int, int]:
        """Width and height of the first frame, before it is scaled and cropped."""
        height, width, _ = read_image(self._images[0]).shape
        return width, height

    def __getitem__(self, draw: Draw) -> Item:
        try:
            sample = self._read(draw)
            height, width = sample.image.shape[:2]
            if sample.labels.shape != (height, width):
                raise DataError(
                    f"{self._images[draw.sample]}: the frame has {width}x{height} pixels, its label map "
                    f"{sample.labels.shape[1]}x{sample.labels.shape[0]}. Bring both to one size."
                )
            if self._augmented:
                sample = self._augment(sample, random.Random(draw.seed))
        except ArsegError as error:
            return error
        return {name: torch.from_numpy(array) for name, array in vars(sample).items() if array is not None}

    def _augment(self, sample: PairSample, rng: random.Random) -> PairSample:
        if self._edges:
            sample = replace(sample, edges=label_edges(sample.labels, self._config.edge_margin))
        if self._config.augmentation == "pidnet":
            return augment_as_pidnet(sample, rng, self._config)
        height, width = sample.image.shape[:2]
        return apply(draw_augmentation((width, height), rng, self._config), sample)

    @abstractmethod
    def _read(self, draw: Draw) -> PairSample:
        """Read the files of a sample."""


class StillDataset(TrainingFrames):
    """Annotated frames without video around them, for phase 1: rows of one split, each with a label."""

    def __init__(
        self,
        rows: Sequence[ManifestRow],
        num_classes: int,
        config: TrainConfig,
        *,
        augmented: bool,
        edges: bool = False,
    ) -> None:
        unlabelled = next((row for row in rows if not row.label), None)
        if unlabelled:
            raise DataError(
                f"{unlabelled.image}: split {unlabelled.split!r} needs labels for training, and it has none"
            )
        super().__init__(
            rows[0].split, [row.image for row in rows], num_classes, config, augmented=augmented, edges=edges
        )
        self._rows = rows

    def _read(self, draw: Draw) -> PairSample:
        row = self._rows[draw.sample]
        return PairSample(read_image(row.image), None, read_label(row.label, self._num_classes), None)


class PairDataset(TrainingFrames):
    """Annotated frames with their keyframe and the motion between them, for phase 2.

    Of the distances in the stores, each sample draws one from 1 on: at 0 the frame is its own keyframe. Items also have
    ``keyframe``, uint8 (H, W, 3), RGB, and ``motion_qpel``, (H, W, 2), (x, y) in quarter pixels, float32 if augmented
    (a random scale leaves no whole ones), else int16; `with_evidence` also ``evidence``, uint8 (H, W, 3) if augmented,
    else of 4x4 blocks (a StoreError says that a store has none).
    """

    def __init__(
        self,
        stores: SplitStores,
        num_classes: int,
        config: TrainConfig,
        *,
        augmented: bool,
        edges: bool = False,
        with_evidence: bool = False,
    ) -> None:
        if with_evidence:
            stores.require_evidence()
        if not stores.samples:
            raise DataError(f"{', '.join(map(str, stores.paths))}: the clip stores hold no sample. Is the split empty?")
        clips: dict[str, list[StoredSample]] = {}
        for stored in stores.samples:
            if stored.distance > 0:
                clips.setdefault(stored.identity.image, []).append(stored)
        super().__init__(stores.attributes.split, [*clips], num_classes, config, augmented=augmented, edges=edges)
        self.encoding = stores.attributes.encoding
        self._with_evidence = with_evidence
        self._clips = [*clips.values()]
        self._stores = [ClipStore(path) for path in stores.paths]

    def _read(self, draw: Draw) -> PairSample:
        stored = random.Random(f"{draw.seed}/distance").choice(self._clips[draw.sample])
        store = self._stores[stored.store_index]
        return PairSample(
            read_image(stored.identity.image),
            read_image(stored.identity.keyframe_image),
            read_label(stored.identity.label, self._num_classes),
            store.read_motion(stored.index),
            evidence=store.read_evidence(stored.index) if self._with_evidence else None,
        )


class SeededSampler(Sampler[Draw]):
    """Go through a data set in an order, and with augmentations, that follow from seed and epoch.

    Of the processes that train together, each draws its share of every batch; `batch_size` is that of all of them, and
    `process` is this one unless it is given.
    """

    def __init__(
        self,
        num_samples: int,
        seed: int,
        *,
        shuffle: bool,
        batch_size: int = 1,
        drop_last: bool = False,
        process: int | None = None,
        processes: int = 1,
    ) -> None:
        self.num_samples = num_samples
        self._seed = seed
        self._shuffle = shuffle
        self._batch_size = batch_size
        self._drop_last = drop_last
        share = batch_size // processes
        process = process_index() if process is None else process
        self._share = slice(process * share, (process + 1) * share)
        self._epoch = self._first_batch = 0

    def begin_epoch(self, epoch: int, first_batch: int) -> None:
        """Choose what the next pass goes through: the batches of an epoch, from a number on."""
        self._epoch, self._first_batch = epoch, first_batch

    def __len__(self) -> int:
        return sum(map(len, self._shares(range(self.num_samples))))

    def __iter__(self) -> Iterator[Draw]:
        order = list(range(self.num_samples))
        if self._shuffle:
            random.Random(f"{self._seed}/{self._epoch}").shuffle(order)
        for share in self._shares(order)[self._first_batch :]:
            for index in share:
                yield Draw(index, f"{self._seed}/{self._epoch}/{index}")

    def _shares(self, order: Sequence[int]) -> list[Sequence[int]]:
        """Cut an order into batches, and this process's share out of each."""
        batches = [order[start : start + self._batch_size] for start in range(0, len(order), self._batch_size)]
        if self._drop_last and batches and len(batches[-1]) < self._batch_size:
            batches.pop()
        return [batch[self._share] for batch in batches]


def _collate(items: list[Item]) -> Item:
    error = next((item for item in items if isinstance(item, ArsegError)), None)
    return error or default_collate(items)


def training_loader(
    dataset: TrainingFrames, config: TrainConfig, seed: int, workers: int, processes: int = 1
) -> DataLoader[Item]:
    """Return batches of augmented samples, or this process's share of them; an incomplete last batch is dropped.

    A DataError says that the split does not fill a single batch, a ConfigError that processes cannot share one evenly.
    """
    if len(dataset) < config.batch_size:
        raise DataError(
            f"the training split has {len(dataset)} samples, fewer than one batch of {config.batch_size}: "
            "set training.batch_size to at most that, or choose a larger split"
        )
    if config.batch_size % processes:
        raise ConfigError(
            f"training.batch_size is {config.batch_size}, which {processes} devices cannot share evenly. "
            "Take another number of devices, or another batch size"
        )
    sampler = SeededSampler(
        len(dataset), seed, shuffle=True, batch_size=config.batch_size, drop_last=True, processes=processes
    )
    options = loader_options(workers, len(sampler) * config.epochs, __name__)
    return DataLoader(
        dataset,
        batch_size=config.batch_size // processes,
        sampler=sampler,
        collate_fn=_collate,
        persistent_workers=options["num_workers"] > 0,
        pin_memory=torch.cuda.is_available(),
        **options,
    )


def validation_loader(dataset: TrainingFrames, workers: int, processes: int = 1) -> DataLoader[Item]:
    """Return this process's share of the frames, one by one (docs/method.md, 'Training'): they may differ in size."""
    sampler = SeededSampler(len(dataset), 0, shuffle=False, batch_size=processes, processes=processes)
    options = loader_options(workers, len(dataset), __name__)
    return DataLoader(dataset, batch_size=1, sampler=sampler, collate_fn=_collate, **options)
