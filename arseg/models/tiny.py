"""Two networks of this project's own, one class: `tiny` for tests, `small` for demonstrations and a first look.

They have all that the others have (two branches, fusion, batch norm, dropout, an auxiliary head) and learn in seconds
and in minutes; no published result depends on them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arseg.fusions import BuildFusion
from arseg.models.network import Encoded, SegmentationNetwork
from arseg.models.resize import resize

FEATURE_CHANNELS = 32


def _convolution(in_channels: int, out_channels: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride, dilation, dilation, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )


class ResidualBlock(nn.Module):
    """Two convolutions beside the identity.

    Parameters
    ----------
    channels : int
        Channels in and out.
    dilation : int
        Of both convolutions.
    """

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels, dilation=dilation)
        self.second = _convolution(channels, channels, dilation=dilation)[:2]  # no activation before the sum

    def forward(self, feature: Tensor) -> Tensor:
        """Transform a feature (N, C, h, w); the shape stays."""
        return torch.relu(feature + self.second(self.first(feature)))


class TinyNet(SegmentationNetwork):
    """An encoder to stride 8, a lateral connection at stride 4, and the mean of the whole picture as context.

    The scores are logits. The one auxiliary output are logits at stride 8, of the encoder's last stage. The defaults
    make a network of twenty thousand parameters.

    Parameters
    ----------
    num_classes : int
        Number K of classes.
    fusion : callable, optional
        Makes the fusion that an LR branch needs.
    widths : (int, int, int)
        Channels at strides 2, 4 and 8.
    dilations : sequence of int
        Of the residual blocks at stride 8, one for each; their network also has a convolution that joins both strides.
    """

    def __init__(
        self,
        num_classes: int,
        fusion: BuildFusion | None = None,
        widths: tuple[int, int, int] = (16, 24, 24),
        dilations: Sequence[int] = (),
    ) -> None:
        super().__init__(num_classes, feature_channels=FEATURE_CHANNELS, min_training_batch=1)
        stride2, stride4, stride8 = widths
        self.stem = nn.Sequential(_convolution(3, stride2, stride=2), _convolution(stride2, stride4, stride=2))
        self.deep = nn.Sequential(
            _convolution(stride4, stride8, stride=2),
            *(ResidualBlock(stride8, dilation) for dilation in dilations),
            _convolution(stride8, FEATURE_CHANNELS, dilation=2),
        )
        self.context = nn.Conv2d(FEATURE_CHANNELS, FEATURE_CHANNELS, 1)
        self.lateral = nn.Conv2d(stride4, FEATURE_CHANNELS, 1)
        self.join = _convolution(FEATURE_CHANNELS, FEATURE_CHANNELS) if dilations else nn.Identity()
        self.dropout = nn.Dropout2d(0.1)
        self.final_conv = nn.Conv2d(FEATURE_CHANNELS, num_classes, 1)
        self.aux = nn.Conv2d(FEATURE_CHANNELS, num_classes, 1)
        self.fuse_attention = fusion(FEATURE_CHANNELS) if fusion else None

    @property
    def last_convolution(self) -> nn.Conv2d:
        """The 1x1 convolution from the feature to the classes."""
        return self.final_conv

    def encode(self, image: Tensor) -> Encoded:
        """Give the feature (N, 32, ceil(H/4), ceil(W/4)) and the auxiliary logits (N, K, ceil(H/8), ceil(W/8))."""
        self._check_image(image)
        fine = self.stem(image)  # (N, 24, H/4, W/4)
        coarse = self.deep(fine)  # (N, 32, H/8, W/8)
        coarse = coarse + self.context(F.adaptive_avg_pool2d(coarse, 1))
        height, width = fine.shape[-2:]
        feature = self.dropout(self.join(torch.relu(self.lateral(fine) + resize(coarse, (height, width)))))
        return Encoded(feature, (self.aux(coarse),) if self.runs_auxiliary else ())

    def classify(self, feature: Tensor, image_size: tuple[int, int] | None = None) -> Tensor:
        """Give logits at the image's size, or at the feature's (stride 4) without `image_size`."""
        logits = self.final_conv(feature)
        return logits if image_size is None else resize(logits, image_size)
