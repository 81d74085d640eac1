"""From data sets to batches: order, shares of several processes, and the place to go on from within an epoch."""

import random
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import DataLoader, Sampler, default_collate

from arseg.config import TrainConfig
from arseg.errors import ArsegError, ConfigError, DataError
from arseg.models.processes import process_index
from arseg.train.datasets import Draw, Item, PairDataset, StillDataset
from arseg.workers import loader_options


class SeededSampler(Sampler[Draw]):
    """Go through a data set in an order, and with augmentations, that follow from seed and epoch.

    Parameters
    ----------
    num_samples : int
        Size of the data set.
    seed : int
        The experiment's seed.
    shuffle : bool
        Whether each epoch has an order of its own.
    batch_size : int
        Samples of a batch, over all processes that train together.
    drop_last : bool
        Whether an incomplete last batch is dropped.
    process, processes : int
        Number of this process, and how many there are: each draws its share of every batch.
    """

    def __init__(
        self,
        num_samples: int,
        seed: int,
        *,
        shuffle: bool,
        batch_size: int = 1,
        drop_last: bool = False,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        self.num_samples = num_samples
        self._seed = seed
        self._shuffle = shuffle
        self._batch_size = batch_size
        self._drop_last = drop_last
        share = batch_size // processes
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
    dataset: StillDataset | PairDataset, config: TrainConfig, seed: int, workers: int, processes: int = 1
) -> DataLoader[Item]:
    """Batches of augmented samples, or this process's share of them; an incomplete last batch is dropped.

    Raises
    ------
    DataError
        If the split does not fill a single batch.
    ConfigError
        If the batch cannot be divided evenly among the processes.
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
        len(dataset),
        seed,
        shuffle=True,
        batch_size=config.batch_size,
        drop_last=True,
        process=process_index(),
        processes=processes,
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


def validation_loader(dataset: StillDataset | PairDataset, workers: int, processes: int = 1) -> DataLoader[Item]:
    """Whole frames one by one (spec section 7: batch 1), so that they may differ in size; or this process's share."""
    return DataLoader(
        dataset,
        batch_size=1,
        sampler=SeededSampler(
            len(dataset), 0, shuffle=False, batch_size=processes, process=process_index(), processes=processes
        ),
        collate_fn=_collate,
        **loader_options(workers, len(dataset), __name__),
    )
