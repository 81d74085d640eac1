"""The two phases as Lightning modules.

They differ by the loss of a batch and by how a validation frame is predicted; optimiser, schedule and score are
shared. The arithmetic of a step lives in `arseg.train.step`, as pure functions.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from torch import Tensor

from arseg.config import NORMALIZATIONS, TrainConfig
from arseg.errors import ArsegError
from arseg.evaluate.confusion import confusion_matrix
from arseg.evaluate.iou import mean_iou
from arseg.models.inference import predict_constant, predict_fused
from arseg.models.network import SegmentationNetwork
from arseg.models.pixels import normalize
from arseg.models.processes import sum_over_processes
from arseg.models.registry import Architecture
from arseg.train.step import phase1_loss, phase2_loss, schedule_length

SELECTION_SCORE = "selection_score"
"""The logged number whose maximum chooses the checkpoint."""


class BranchTraining(L.LightningModule, ABC):
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
    num_samples : int
        Size of the training split, which the schedule's length follows from.
    seed : int
        The experiment's seed.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        architecture: Architecture,
        config: TrainConfig,
        scale_percent: int,
        num_samples: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.network = network
        self.architecture = architecture
        self.config = config
        self.scale_percent = scale_percent
        self._schedule_length = schedule_length(config.epochs, num_samples, config.batch_size)
        self._seed = seed
        self._confusion = torch.zeros(0)
        self.allow_zero_length_dataloader_with_multiple_devices = True  # more devices than validation frames
        if config.channels_last:
            network.to(memory_format=torch.channels_last)

    leaves_parameters_unused = False
    """Whether some steps give some parameters no gradient, which several processes must know."""

    @abstractmethod
    def batch_loss(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Name the parts of the loss of a batch; their sum is minimised."""

    @abstractmethod
    def predict_frame(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Give the scores (N, K, H, W) of validation frames at the size of their labels."""

    def selection_score(self, miou: float) -> float:
        """Rank an epoch by its validation mIoU."""
        return miou

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Stop at a sample that could not be read, with the message that says why."""
        if isinstance(batch, ArsegError):
            raise batch
        return batch

    def configure_optimizers(self) -> Any:
        """Adam or SGD, with a cosine schedule that is stepped in every iteration."""
        parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        rate = self.config.learning_rate
        optimizer: torch.optim.Optimizer
        if self.config.optimizer == "adam":
            optimizer = torch.optim.Adam(parameters, lr=rate)
        else:
            optimizer = torch.optim.SGD(parameters, lr=rate, momentum=0.9, weight_decay=5e-4)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=self._schedule_length)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Make of the pictures' bytes what the network takes, in its memory format."""
        layout = torch.channels_last if self.config.channels_last else torch.contiguous_format
        for name in {"image", "keyframe"} & set(batch):
            image = normalize(batch[name], NORMALIZATIONS[self.config.normalization])
            batch[name] = image.contiguous(memory_format=layout)
        return batch

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed the dropout by epoch and batch, so that a resumed run draws what an uninterrupted one would."""
        source = random.Random(f"{self._seed}/{self.current_epoch}/{batch_idx}/{self.global_rank}")
        torch.manual_seed(source.getrandbits(63))

    def training_step(self, batch: dict[str, Tensor], _index: int) -> dict[str, Any]:
        """One optimisation step's loss, and its parts for the history."""
        parts = self.batch_loss(batch)
        loss = torch.stack(list(parts.values())).sum()
        self.log("train_loss_now", loss.detach(), on_step=True, on_epoch=False, prog_bar=True, logger=False)
        return {"loss": loss, "parts": {name: value.detach() for name, value in (parts | {"loss": loss}).items()}}

    def on_validation_epoch_start(self) -> None:
        """Begin an empty confusion matrix."""
        classes = self.network.num_classes
        self._confusion = torch.zeros((classes, classes), dtype=torch.int64, device=self.device)

    def validation_step(self, batch: dict[str, Tensor], _index: int) -> None:
        """Count one frame's pixels."""
        predicted = self.predict_frame(batch).argmax(dim=1)
        self._confusion += confusion_matrix(batch["labels"], predicted, self.network.num_classes)

    def on_validation_epoch_end(self) -> None:
        """One division for the whole split."""
        miou = mean_iou(sum_over_processes(self._confusion).cpu().numpy())
        self.log("val_miou", miou, prog_bar=True)
        self.log(SELECTION_SCORE, self.selection_score(miou))


class Phase1(BranchTraining):
    """Phase 1: one resolution for all frames; the HR branch at 100 %, the LR baseline below."""

    def batch_loss(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `arseg.train.step.phase1_loss`."""
        return phase1_loss(
            self.network,
            self.architecture,
            batch["image"],
            batch["labels"],
            self.scale_percent,
            original=self.config.original_quirks,
        )

    def predict_frame(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Run the plain pass at the branch's resolution."""
        height, width = batch["labels"].shape[-2:]
        return predict_constant(self.network, batch["image"], self.scale_percent, (height, width))


class Phase2(BranchTraining):
    """Phase 2: the LR branch learns beside a frozen HR branch, first plain, then with fused features.

    Parameters
    ----------
    hr : SegmentationNetwork
        The HR branch; stays in eval mode and out of this module's parameters and checkpoints.
    """

    def __init__(self, hr: SegmentationNetwork, *args: Any) -> None:
        super().__init__(*args)
        # In a tuple, so that torch does not register it as a child: it must not be trained, nor saved every epoch.
        self._frozen = (hr.eval().requires_grad_(False),)

    @property
    def leaves_parameters_unused(self) -> bool:  # type: ignore[override]
        """The first stage leaves the fusion alone."""
        return self.config.unfused_epochs > 0

    @property
    def hr(self) -> SegmentationNetwork:
        """The frozen HR branch."""
        return self._frozen[0]

    @property
    def fused(self) -> bool:
        """Whether this epoch fuses, or still belongs to the first stage."""
        return self.current_epoch >= self.config.unfused_epochs

    def on_fit_start(self) -> None:
        """Take the HR branch to the device; Lightning moves registered children only."""
        self.hr.to(self.device)
        if self.config.channels_last:
            self.hr.to(memory_format=torch.channels_last)

    def batch_loss(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
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
        )

    def predict_frame(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Follow the AR protocol; in the first stage, the plain pass."""
        height, width = batch["labels"].shape[-2:]
        if not self.fused:
            return predict_constant(self.network, batch["image"], self.scale_percent, (height, width))
        keyframe_feature = self.hr.encode(batch["keyframe"]).feature
        return predict_fused(
            self.network,
            keyframe_feature,
            batch["image"],
            batch["motion_qpel"],
            self.scale_percent,
            (height, width),
            alignment=self.config.warp_alignment,
        )

    def selection_score(self, miou: float) -> float:
        """Rank an unfused epoch below every fused one: its score is another protocol's (spec section 10)."""
        return miou if self.fused or self.config.original_quirks else miou - 1.0
