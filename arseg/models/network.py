"""What every segmentation network offers, so that training and evaluation need not know which one they hold.

A network is cut at its last convolution, usually 1x1: `encode` yields the feature before it, `classify` applies it.
The cut is where the warped keyframe feature enters (`fuse`) and what feature similarity training compares.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from arseg.errors import ConfigError, DataError
from arseg.models.processes import num_processes


class Encoded(NamedTuple):
    """What a network makes of an image before its last convolution."""

    feature: Tensor
    """Shape (N, C, h, w): what is warped, fused and supervised."""
    auxiliary: tuple[Tensor, ...]
    """Outputs of the auxiliary heads, each either scores (N, K, h', w') or presence logits (N, K)."""


class Prediction(NamedTuple):
    """What a network says about an image."""

    scores: Tensor
    """Shape (N, K, H, W): logits, or log-probabilities where the architecture normalises them."""
    feature: Tensor
    """Shape (N, C, h, w): the feature that the scores were made from."""
    auxiliary: tuple[Tensor, ...]
    """Outputs of the auxiliary heads."""


class SegmentationNetwork(nn.Module, ABC):
    """Base of the networks of the HR branch, the LR branch and the constant-resolution baseline.

    Parameters
    ----------
    num_classes : int
        Number K of classes.
    feature_channels : int
        Channels C of the feature.
    min_training_batch : int
        Fewest images per batch in training; 2 where batch norm sees a single pixel per image.
    """

    fuse_attention: nn.Module | None
    """The fusion, or None in a network that only runs alone."""
    runs_auxiliary: bool
    """Whether `encode` runs the auxiliary heads. They do not change the feature: a network that only runs may do
    without (`arseg.models.optimize`)."""

    def __init__(self, num_classes: int, feature_channels: int, min_training_batch: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.feature_channels = feature_channels
        self.min_training_batch = min_training_batch
        self.runs_auxiliary = True

    @property
    @abstractmethod
    def last_convolution(self) -> nn.Conv2d:
        """The convolution from the feature to the classes, which keeps its size; phase 2 takes over the HR branch's."""

    @abstractmethod
    def encode(self, image: Tensor) -> Encoded:
        """Run all but the last convolution.

        The auxiliary heads are included, unless `runs_auxiliary` is false: the published programs run them at
        evaluation too, and their cost is part of the published figures.

        Parameters
        ----------
        image : Tensor, shape (N, 3, H, W)
            Normalised RGB image.

        Returns
        -------
        encoded : Encoded
            The feature and the outputs of the auxiliary heads.

        Raises
        ------
        DataError
            If `image` is not a batch of non-empty RGB images.
        ConfigError
            If the batch is too small to train on.
        """

    @abstractmethod
    def classify(self, feature: Tensor, image_size: tuple[int, int] | None = None) -> Tensor:
        """Run the last convolution and what follows it.

        Parameters
        ----------
        feature : Tensor, shape (N, C, h, w)
            From `encode` or `fuse`.
        image_size : tuple of int, optional
            Height and width of the image, for the scores of the plain pass. Without it, in the
            fused pass, the scores may have the feature's resolution; callers resize them.

        Returns
        -------
        scores : Tensor, shape (N, K, H, W)
            Logits or log-probabilities.
        """

    @property
    def uses_evidence(self) -> bool:
        """Whether `fuse` needs the evidence of the codec."""
        return getattr(self.fuse_attention, "uses_evidence", False)

    def fuse(self, warped_feature: Tensor, feature: Tensor, evidence: Tensor | None = None) -> Tensor:
        """Fuse the warped keyframe feature into the feature of this network's image.

        Parameters
        ----------
        warped_feature : Tensor, shape (N, C, H, W)
            HR branch's feature of the keyframe, warped to this frame.
        feature : Tensor, shape (N, C, h, w)
            This network's own feature.
        evidence : Tensor of uint8, shape (N, H', W', 3), optional
            How far the motion can be trusted, see `arseg.fusions.BuildFusion`; passed over unless `uses_evidence`.

        Returns
        -------
        fused : Tensor, shape (N, C, H, W)
            The aggregated feature.

        Raises
        ------
        ConfigError
            If the network was built without fusion, or its fusion needs evidence and there is none.
        """
        if self.fuse_attention is None:
            raise ConfigError(
                f"{type(self).__name__} was built without fusion; an LR branch needs a checkpoint of phase "
                "2, or build_network(..., fusion=True)"
            )
        if not self.uses_evidence:
            return self.fuse_attention(warped_feature, feature)
        if evidence is None:
            raise ConfigError(
                f"{type(self.fuse_attention).__name__}: needs the evidence of the codec beside the motion. Compose it "
                "with MotionComposer(..., with_evidence=True), or read it from a clip store"
            )
        return self.fuse_attention(warped_feature, feature, evidence)

    def forward(self, image: Tensor) -> Prediction:
        """Segment an image without fusion: the plain pass."""
        encoded = self.encode(image)
        height, width = image.shape[-2:]
        return Prediction(self.classify(encoded.feature, (height, width)), encoded.feature, encoded.auxiliary)

    def _check_image(self, image: Tensor) -> None:
        if image.ndim != 4 or image.shape[1] != 3 or 0 in image.shape[2:]:
            raise DataError(
                f"image of shape {tuple(image.shape)}: expected (N, 3, H, W), RGB images of at least 1 x 1 pixel"
            )
        if self.training and len(image) * num_processes() < self.min_training_batch:
            raise ConfigError(
                f"batch_size {len(image)}: {type(self).__name__} normalises features pooled to one pixel per "
                f"image, so that training needs batch_size {self.min_training_batch} or more"
            )
