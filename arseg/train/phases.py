"""What the two phases of training do differently: the loss of a batch, and the prediction of a validation frame.

The arithmetic of a step lives in `arseg.train.step`, as pure functions; the loop around it in `arseg.train.fit`.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from arseg.ar import AlteringResolution, ConstantResolution
from arseg.config import TrainConfig
from arseg.errors import ConfigError
from arseg.models.network import SegmentationNetwork
from arseg.models.registry import Architecture
from arseg.train.step import phase1_loss, phase2_loss

Batch = Mapping[str, Tensor]
"""``image`` and, in phase 2, ``keyframe``, normalised float32 (N, 3, H, W); ``labels`` (N, H, W); in phase 2
``motion_qpel`` (N, H, W, 2); ``edges`` (N, H, W) where the loss takes them."""


class Phase(ABC):
    """What both phases share.

    Parameters
    ----------
    network : SegmentationNetwork
        The network that learns.
    architecture : Architecture
        Its entry in the registry, which knows its loss.
    config : TrainConfig
        Constants of the run.
    scale_percent : int
        Resolution that the network sees.
    seed : int
        The experiment's seed.

    Raises
    ------
    ConfigError
        If class weights are given that the network's loss does not take, or too many or too few.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        architecture: Architecture,
        config: TrainConfig,
        scale_percent: int,
        seed: int,
    ) -> None:
        self.network = network
        self.architecture = architecture
        self.config = config
        self.scale_percent = scale_percent
        self.seed = seed
        self.epoch = 0
        weights = config.class_weights
        if weights and not (architecture.boundaries and len(weights) == network.num_classes):
            wanted = f"one for each of {network.num_classes} classes" if architecture.boundaries else "none"
            raise ConfigError(
                f"training.class_weights: {len(weights)} are given, and the loss of this network takes {wanted}"
            )

    def to(self, device: torch.device) -> None:
        """Move all networks to a device, and into the memory format that the configuration names."""
        for network in self._networks():
            network.to(device)
            if self.config.channels_last:
                network.to(memory_format=torch.channels_last)

    def begin_batch(self, batch: int, process: int) -> None:
        """Seed the dropout by epoch and batch, so that a resumed run draws what an uninterrupted one would."""
        source = random.Random(f"{self.seed}/{self.epoch}/{batch}/{process}")
        torch.manual_seed(source.getrandbits(63))

    def boundaries(self, batch: Batch) -> dict[str, Tensor | None]:
        """Return what the loss of a network with a boundary branch takes beside the labels."""
        if not self.architecture.boundaries:
            return {}
        weights = self.config.class_weights
        tensor = torch.tensor(weights, device=batch["edges"].device) if weights else None
        return {"edges": batch["edges"], "class_weights": tensor}

    @abstractmethod
    def batch_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Name the parts of the loss of a batch; their sum is minimised."""

    @abstractmethod
    def predict_frame(self, batch: Batch) -> Tensor:
        """Return the scores (N, K, H, W) of validation frames at the size of their labels."""

    def selection_score(self, miou: float) -> float:
        """Rank an epoch by its validation mIoU."""
        return miou

    def _networks(self) -> tuple[SegmentationNetwork, ...]:
        return (self.network,)


class Phase1(Phase):
    """Phase 1: one resolution for all frames; the HR branch at 100 %, the LR baseline below."""

    def batch_loss(self, batch: Batch) -> dict[str, Tensor]:
        """See `arseg.train.step.phase1_loss`."""
        return phase1_loss(
            self.network,
            self.architecture,
            batch["image"],
            batch["labels"],
            self.scale_percent,
            original=self.config.original_quirks,
            boundaries=self.boundaries(batch),
        )

    def predict_frame(self, batch: Batch) -> Tensor:
        """Run the plain pass at the branch's resolution."""
        return ConstantResolution(self.network, self.scale_percent).frame(batch["image"])


class Phase2(Phase):
    """Phase 2: the LR branch learns beside a frozen HR branch, first plain, then with fused features.

    Parameters
    ----------
    hr : SegmentationNetwork
        The HR branch, in evaluation mode and without gradients.
    *args
        As for `Phase`.
    """

    def __init__(self, hr: SegmentationNetwork, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.hr = hr

    @property
    def fused(self) -> bool:
        """Whether this epoch fuses, or still belongs to the first stage."""
        return self.epoch >= self.config.unfused_epochs

    def batch_loss(self, batch: Batch) -> dict[str, Tensor]:
        """See `arseg.train.step.phase2_loss`."""
        return phase2_loss(
            self.hr,
            self.network,
            self.architecture,
            batch["image"],
            batch["keyframe"],
            batch["motion_qpel"],
            batch["labels"],
            self.scale_percent,
            fused=self.fused,
            feature_similarity=self.config.feature_similarity,
            alignment=self.config.warp_alignment,
            original=self.config.original_quirks,
            boundaries=self.boundaries(batch),
        )

    def predict_frame(self, batch: Batch) -> Tensor:
        """Follow the AR protocol; in the first stage, the plain pass."""
        if not self.fused:
            return ConstantResolution(self.network, self.scale_percent).frame(batch["image"])
        method = AlteringResolution(self.hr, self.network, self.scale_percent, self.config.warp_alignment)
        method.begin(batch["keyframe"])
        return method.frame(batch["image"], batch["motion_qpel"])

    def selection_score(self, miou: float) -> float:
        """Rank an unfused epoch below every fused one: its score is another protocol's (docs/method.md, 'Fixed')."""
        return miou if self.fused or self.config.original_quirks else miou - 1.0

    def _networks(self) -> tuple[SegmentationNetwork, ...]:
        return (self.network, self.hr)
