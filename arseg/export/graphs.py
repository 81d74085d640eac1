"""What the exported graphs compute: the method of `arseg.ar` on frames as they are decoded.

Frames go in as RGB bytes and are normalised inside, so that no caller can do it in another way. Sizes are fixed:
PSPNet's pyramid pools to cells whose bounds follow from the size, and so do the truncated sides of the low resolution.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from arseg.ar import ConstantResolution
from arseg.export.attention import TiledAttention
from arseg.models.branch import Branch
from arseg.models.creff import WINDOW, CReFF
from arseg.models.inference import to_low_resolution
from arseg.models.pixels import normalize
from arseg.models.resize import resize
from arseg.models.warp import warp
from arseg.spec import WarpAlignment


class Graph(nn.Module):
    """What is written to one file: a network on frames of uint8, shape (1, H, W, 3), RGB."""

    inputs: tuple[str, ...] = ("image",)
    outputs: ClassVar[tuple[str, ...]] = ("scores",)

    def __init__(self, branch: Branch) -> None:
        super().__init__()
        self.network = branch.network
        self.normalization = branch.normalization
        self.spec = branch.spec


class ConstantGraph(Graph):
    """A network at a constant resolution, on every frame by itself: HR branch or LR baseline."""

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """Return the scores (1, K, H, W) of an image."""
        normalized = normalize(image, self.normalization)
        return (ConstantResolution(self.network, self.spec.scale_percent).frame(normalized),)


class KeyframeGraph(Graph):
    """The HR branch: scores of a keyframe, and the feature that the frames after it are fused with."""

    outputs = ("scores", "feature")

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores (1, K, H, W) and the feature (1, C, H', W') of an image."""
        height, width = image.shape[1:3]
        prediction = self.network(normalize(image, self.normalization))
        return resize(prediction.scores, (height, width)), prediction.feature


class FusedGraph(Graph):
    """The LR branch: scores of a frame from its image, the keyframe's feature and the motion between the two."""

    inputs: tuple[str, ...] = ("image", "keyframe_feature", "motion_qpel")

    def __init__(self, branch: Branch, feature_size: tuple[int, int]) -> None:
        super().__init__(branch)
        self.fusion = branch.network.fuse_attention
        self.attention = TiledAttention(branch.network.feature_channels, feature_size, WINDOW)
        if branch.network.uses_evidence:
            self.inputs = (*self.inputs, "evidence")

    def forward(
        self, image: Tensor, keyframe_feature: Tensor, motion_qpel: Tensor, evidence: Tensor | None = None
    ) -> tuple[Tensor]:
        """Return the scores (1, K, H, W) of an image.

        `keyframe_feature`, (1, C, H', W'), is the HR branch's; `motion_qpel`, int16 (1, H, W, 2), the displacement
        (x, y) in quarter pixels from each pixel to its source in the keyframe. An input `evidence`, uint8 (1, H / 4,
        W / 4, 3), how far that can be trusted, is there where the fusion uses it.
        """
        warped = warp_in_graph(keyframe_feature, motion_qpel, self.spec.warp_alignment)
        normalized = normalize(image, self.normalization)
        low = self.network.encode(to_low_resolution(normalized, self.spec.scale_percent)).feature
        height, width = image.shape[1:3]
        return (resize(self.network.classify(self._fuse(warped, low, evidence)), (height, width)),)

    def _fuse(self, warped: Tensor, low: Tensor, evidence: Tensor | None) -> Tensor:
        if not isinstance(self.fusion, CReFF):
            return self.network.fuse(warped, low, evidence)
        low = resize(low, self.attention.size)
        # CReFF's own forward, but for the attention: its implementations for PyTorch would be slow in a graph.
        return low + self.attention(
            self.fusion.lr_query_conv(low), self.fusion.hr_key_conv(warped), self.fusion.hr_value_conv(warped)
        )


def warp_in_graph(feature: Tensor, motion_qpel: Tensor, alignment: WarpAlignment = "published") -> Tensor:
    """Return what `arseg.models.inference.warp_keyframe` does, by operators that ONNX runtimes have for its types.

    Positions are computed in double precision, as in evaluation: a pixel at the right edge of a wide frame must not
    move by rounding. onnxruntime resizes no doubles, hence the resize of the motion is written out, which also reads
    only those vectors that a small feature needs.
    """
    height, width = feature.shape[-2:]
    motion = _resize_motion(_resize_motion(motion_qpel, 1, height), 2, width)
    # Published quirk: the ratio of the heights serves both axes.
    motion = motion.double() * _double(height / motion_qpel.shape[1] / 4)  # (1, H', W', 2), in feature pixels
    return warp(feature, motion, alignment)


def _resize_motion(motion: Tensor, axis: int, wanted: int) -> Tensor:
    """Interpolate linearly along one axis, with aligned corners."""
    length = motion.shape[axis]
    if length == wanted:
        return motion
    position = torch.arange(wanted, dtype=torch.float64) * _double((length - 1) / max(wanted - 1, 1))
    before = position.long().clamp(max=length - 1)
    after = (before + 1).clamp(max=length - 1)
    share = (position - before).reshape([-1 if i == axis else 1 for i in range(4)])
    first, second = (motion.index_select(axis, index).double() for index in (before, after))
    return first + share * (second - first)


def _double(number: float) -> Tensor:
    """Return a number as a tensor: PyTorch's exporter rounds Python's own to single precision."""
    return torch.tensor(number, dtype=torch.float64)
