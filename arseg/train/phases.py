"""What the two phases of training compute: the loss of a batch, and the scores of a validation frame.

See docs/method.md, 'Training'. The loop around them is in `arseg.train.fit`.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from arseg.ar import AlteringResolution, ConstantResolution
from arseg.config import TrainConfig
from arseg.errors import ConfigError
from arseg.models.inference import to_low_resolution, warp_keyframe
from arseg.models.losses import feature_similarity
from arseg.models.network import Prediction, SegmentationNetwork
from arseg.models.registry import get_architecture
from arseg.spec import NetworkSpec

Batch = Mapping[str, Tensor]
"""``image`` and, in phase 2, ``keyframe``, normalised float32 RGB (N, 3, H, W); ``labels`` (N, H, W), 255 is ignored;
in phase 2 ``motion_qpel`` (N, H, W, 2): (x, y) in quarter pixels from each pixel to its source in the keyframe;
``edges`` (N, H, W) where the loss takes them."""


class Phase(ABC):
    """What both phases share: the network that learns, what it is (its backbone names the loss), constants and seed."""

    def __init__(self, network: SegmentationNetwork, spec: NetworkSpec, config: TrainConfig, seed: int) -> None:
        self.network, self.spec, self.config, self.seed = network, spec, config, seed
        self.epoch = 0
        self._architecture = get_architecture(spec.backbone)
        weights = config.class_weights
        if weights and not (self._architecture.boundaries and len(weights) == spec.num_classes):
            wanted = f"one for each of {spec.num_classes} classes" if self._architecture.boundaries else "none"
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

    def _loss(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Return the network's own loss, which a boundary branch's takes edges and weights of classes for."""
        boundaries: dict[str, Tensor | None] = {}
        if self._architecture.boundaries:
            weights = self.config.class_weights
            tensor = torch.tensor(weights, device=batch["edges"].device) if weights else None
            boundaries = {"edges": batch["edges"], "class_weights": tensor}
        return self._architecture.loss(prediction, batch["labels"], self.config.original_quirks, **boundaries)

    @abstractmethod
    def batch_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the named parts of the loss of a batch; their sum is minimised."""

    @abstractmethod
    def predict_frame(self, batch: Batch) -> Tensor:
        """Return the scores (N, K, H, W) of validation frames at the size of their labels."""

    def selection_score(self, score: float) -> float:
        """Rank an epoch by its score in validation, mIoU or agreement."""
        return score

    def _networks(self) -> tuple[SegmentationNetwork, ...]:
        return (self.network,)


class Phase1(Phase):
    """Phase 1: one resolution for all frames; the HR branch at 100 %, the LR baseline below."""

    def batch_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the segmentation loss of the crop at the network's resolution."""
        low = to_low_resolution(batch["image"], self.spec.scale_percent)
        return self._loss(self.network(low), batch)

    def predict_frame(self, batch: Batch) -> Tensor:
        """Run the plain pass at the network's resolution."""
        return ConstantResolution(self.network, self.spec.scale_percent).frame(batch["image"])


class Phase2(Phase):
    """Phase 2: the LR branch learns beside a frozen HR branch, first plain, then with fused features.

    With feature similarity, the LR branch takes over the HR branch's last 1x1 convolution and keeps it: features that
    resemble each other can share their classifier. Without, it learns its own. The HR branch, of the same architecture,
    is put into evaluation mode and takes no gradients from here on.
    """

    def __init__(
        self, hr: SegmentationNetwork, network: SegmentationNetwork, spec: NetworkSpec, config: TrainConfig, seed: int
    ) -> None:
        super().__init__(network, spec, config, seed)
        self.hr = hr.eval().requires_grad_(False)
        if config.feature_similarity:
            network.last_convolution.load_state_dict(hr.last_convolution.state_dict())
            network.last_convolution.requires_grad_(False)

    @property
    def fused(self) -> bool:
        """Whether this epoch fuses, or still belongs to the first stage.

        In the first stage the fusion's parameters get no gradient at all: an optimiser then leaves them alone.
        """
        return self.epoch >= self.config.unfused_epochs

    def batch_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the segmentation loss of the fused feature and, with feature similarity, its distance from HR's."""
        low = to_low_resolution(batch["image"], self.spec.scale_percent)
        encoded = self.network.encode(low)
        if self.fused:
            with torch.no_grad():
                keyframe = self.hr.encode(batch["keyframe"]).feature
                # The published training takes the nearest vector, where evaluation resizes bilinearly.
                warped = warp_keyframe(keyframe, batch["motion_qpel"], self.spec.warp_alignment, "nearest")
            feature = self.network.fuse(warped, encoded.feature)
            scores = self.network.classify(feature)
        else:
            feature = encoded.feature
            height, width = low.shape[-2:]
            scores = self.network.classify(feature, (height, width))
        prediction = Prediction(scores, feature, encoded.auxiliary)
        parts = self._loss(prediction, batch)
        if self.config.feature_similarity:
            with torch.no_grad():
                hr_feature = self.hr.encode(batch["image"]).feature
            parts["feature_similarity"] = feature_similarity(feature, hr_feature)
        return parts

    def predict_frame(self, batch: Batch) -> Tensor:
        """Follow the AR protocol; in the first stage, the plain pass."""
        if not self.fused:
            return ConstantResolution(self.network, self.spec.scale_percent).frame(batch["image"])
        method = AlteringResolution(self.hr, self.network, self.spec.scale_percent, self.spec.warp_alignment)
        method.begin(batch["keyframe"])
        return method.frame(batch["image"], batch["motion_qpel"])

    def selection_score(self, score: float) -> float:
        """Rank an unfused epoch below every fused one: its score is another protocol's (docs/method.md, 'Fixed')."""
        return score if self.fused or self.config.original_quirks else score - 1.0

    def _networks(self) -> tuple[SegmentationNetwork, ...]:
        return (self.network, self.hr)
