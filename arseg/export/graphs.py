"""What the exported graphs compute: the method of `arseg.ar` on frames as they are decoded.

Frames go in as RGB bytes and are normalised inside, so that no caller can do it in another way. Sizes are fixed:
PSPNet's pyramid pools to cells whose bounds follow from the size, and so do the truncated sides of the low resolution.
"""

from torch import Tensor, nn

from arseg.ar import ConstantResolution
from arseg.export.attention import TiledAttention
from arseg.export.warp import KeyframeWarp
from arseg.models.branch import Branch
from arseg.models.creff import WINDOW, CReFF
from arseg.models.inference import to_low_resolution
from arseg.models.pixels import normalize
from arseg.models.resize import resize


class ConstantGraph(nn.Module):
    """A network at a constant resolution, on every frame by itself.

    Parameters
    ----------
    branch : Branch
        HR branch or LR baseline.
    """

    inputs = ("image",)
    outputs = ("scores",)

    def __init__(self, branch: Branch) -> None:
        super().__init__()
        self.network = branch.network
        self.normalization = branch.normalization
        self.scale_percent = branch.spec.scale_percent

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """Give the scores (1, K, H, W) of an image of uint8 (1, H, W, 3)."""
        normalized = normalize(image, self.normalization)
        return (ConstantResolution(self.network, self.scale_percent).frame(normalized),)


class KeyframeGraph(nn.Module):
    """The HR branch: scores of a keyframe, and the feature that the frames after it are fused with.

    Parameters
    ----------
    branch : Branch
        HR branch.
    """

    inputs = ("image",)
    outputs = ("scores", "feature")

    def __init__(self, branch: Branch) -> None:
        super().__init__()
        self.network = branch.network
        self.normalization = branch.normalization

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Give scores (1, K, H, W) and feature (1, C, H', W') of an image of uint8 (1, H, W, 3)."""
        height, width = image.shape[1:3]
        prediction = self.network(normalize(image, self.normalization))
        return resize(prediction.scores, (height, width)), prediction.feature


class FusedGraph(nn.Module):
    """The LR branch: scores of a frame from its image, the keyframe's feature and the motion between the two.

    Parameters
    ----------
    branch : Branch
        LR branch of phase 2.
    image_size, feature_size : tuple of int
        Heights and widths of the image and of the keyframe's feature.
    """

    inputs = ("image", "keyframe_feature", "motion_qpel")
    outputs = ("scores",)

    def __init__(self, branch: Branch, image_size: tuple[int, int], feature_size: tuple[int, int]) -> None:
        super().__init__()
        self.network = branch.network
        self.fusion = branch.network.fuse_attention
        self.normalization = branch.normalization
        self.scale_percent = branch.spec.scale_percent
        self.image_size = image_size
        self.feature_size = feature_size
        self.warp = KeyframeWarp(image_size, feature_size, branch.spec.warp_alignment)
        self.attention = TiledAttention(branch.network.feature_channels, feature_size, WINDOW)

    def forward(self, image: Tensor, keyframe_feature: Tensor, motion_qpel: Tensor) -> tuple[Tensor]:
        """Give the scores of a frame.

        Parameters
        ----------
        image : Tensor of uint8, shape (1, H, W, 3)
            The frame, RGB.
        keyframe_feature : Tensor, shape (1, C, H', W')
            The HR branch's.
        motion_qpel : Tensor of int16, shape (1, H, W, 2)
            Displacement (x, y) in quarter pixels from each pixel of the frame to its source in the keyframe.

        Returns
        -------
        scores : Tensor, shape (1, K, H, W)
        """
        warped = self.warp(keyframe_feature, motion_qpel)
        normalized = normalize(image, self.normalization)
        low = self.network.encode(to_low_resolution(normalized, self.scale_percent)).feature
        return (resize(self.network.classify(self._fuse(warped, low)), self.image_size),)

    def _fuse(self, warped: Tensor, low: Tensor) -> Tensor:
        if not isinstance(self.fusion, CReFF):
            return self.network.fuse(warped, low)
        low = resize(low, self.feature_size)
        # CReFF's own forward, but for the attention: its implementations for PyTorch would be slow in a graph.
        return low + self.attention(
            self.fusion.lr_query_conv(low), self.fusion.hr_key_conv(warped), self.fusion.hr_value_conv(warped)
        )


Graph = ConstantGraph | KeyframeGraph | FusedGraph
"""What is written to one file."""
