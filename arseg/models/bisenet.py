"""BiSeNet-18: a context path on ResNet-18 and a shallow spatial path, fused at stride 8.

See docs/method.md, 'BiSeNet-18'; Yu et al., "BiSeNet: Bilateral Segmentation Network for Real-time Semantic
Segmentation", ECCV 2018. The feature has 256 channels at one eighth of the image's resolution.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arseg.fusions import BuildFusion
from arseg.models.network import Encoded, SegmentationNetwork
from arseg.models.resize import resize
from arseg.models.resnet import ResNet18


class ConvBNReLU(nn.Module):
    """Convolution without bias, batch norm, ReLU; padded to keep the size at stride 1."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (N, C, h, w) to (N, C', ceil(h / stride), ceil(w / stride))."""
        return F.relu(self.bn(self.conv(x)))


class OutputHead(nn.Module):
    """3x3 convolution, 1x1 convolution to the classes, bilinear upsampling by a fixed factor."""

    def __init__(self, in_channels: int, mid_channels: int, num_classes: int, factor: int) -> None:
        super().__init__()
        self.conv = ConvBNReLU(in_channels, mid_channels)
        self.conv_out = nn.Conv2d(mid_channels, num_classes, 1)
        self.factor = factor

    def classify(self, feature: Tensor) -> Tensor:
        """Transform the feature (N, C', h, w) to logits (N, K, factor h, factor w)."""
        # align_corners=False in this head, as published. The result is `factor` times the feature's size, not
        # the image's size where that is not divisible.
        return F.interpolate(
            self.conv_out(feature), scale_factor=float(self.factor), mode="bilinear", align_corners=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform (N, C, h, w) to logits (N, K, factor h, factor w)."""
        return self.classify(self.conv(x))


class AttentionRefinement(nn.Module):
    """3x3 convolution whose channels are weighted by their own global average."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = ConvBNReLU(in_channels, out_channels)
        self.conv_atten = nn.Conv2d(out_channels, out_channels, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (N, C, h, w) to (N, C', h, w)."""
        x = self.conv(x)
        average = x.mean(dim=(2, 3), keepdim=True)  # (N, C', 1, 1)
        return x * torch.sigmoid(self.bn_atten(self.conv_atten(average)))


class ContextPath(nn.Module):
    """ResNet-18 whose two deepest outputs are refined and brought up to strides 16 and 8."""

    def __init__(self) -> None:
        super().__init__()
        self.resnet = ResNet18(dilated=False)
        self.arm16 = AttentionRefinement(256, 128)
        self.arm32 = AttentionRefinement(512, 128)
        self.conv_head32 = ConvBNReLU(128, 128)
        self.conv_head16 = ConvBNReLU(128, 128)
        self.conv_avg = ConvBNReLU(512, 128, kernel=1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Give 128-channel features at strides 8 and 16."""
        _, stage3, stage4 = self.resnet(image)  # (N, 256, H/16, W/16), (N, 512, H/32, W/32)
        average = self.conv_avg(stage4.mean(dim=(2, 3), keepdim=True))  # (N, 128, 1, 1)
        # Both steps by two are nearest, as published; the resize mends sizes that 32 does not divide.
        context16 = F.interpolate(self.arm32(stage4) + average, scale_factor=2.0, mode="nearest")
        height, width = stage3.shape[-2:]
        context16 = self.conv_head32(resize(context16, (height, width)))  # (N, 128, H/16, W/16)
        context8 = F.interpolate(self.arm16(stage3) + context16, scale_factor=2.0, mode="nearest")
        return self.conv_head16(context8), context16


class SpatialPath(nn.Module):
    """Three strided convolutions that keep detail."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvBNReLU(3, 64, kernel=7, stride=2)
        self.conv2 = ConvBNReLU(64, 64, stride=2)
        self.conv3 = ConvBNReLU(64, 64, stride=2)
        self.conv_out = ConvBNReLU(64, 128, kernel=1)

    def forward(self, image: Tensor) -> Tensor:
        """Transform (N, 3, H, W) to (N, 128, H/8, W/8)."""
        return self.conv_out(self.conv3(self.conv2(self.conv1(image))))


class FeatureFusion(nn.Module):
    """Join the two paths; each channel is amplified by a gate computed from its global average."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convblk = ConvBNReLU(in_channels, out_channels, kernel=1)
        self.conv = nn.Conv2d(out_channels, out_channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, spatial: Tensor, context: Tensor) -> Tensor:
        """Transform two features (N, 128, h, w) to one (N, 256, h, w)."""
        x = self.convblk(torch.cat([spatial, context], dim=1))
        average = x.mean(dim=(2, 3), keepdim=True)
        return x + x * torch.sigmoid(self.bn(self.conv(average)))


class BiSeNet(SegmentationNetwork):
    """BiSeNet-18 of both data sets.

    The scores are logits, and so are the two auxiliary outputs (N, K, 8 h, 8 w) of heads at strides 8 and 16.

    Parameters
    ----------
    num_classes : int
        Number K of classes.
    fusion : callable, optional
        Makes the fusion that an LR branch needs.
    """

    def __init__(self, num_classes: int, fusion: BuildFusion | None = None) -> None:
        # Three batch norms see the global average only.
        super().__init__(num_classes, feature_channels=256, min_training_batch=2)
        self.cp = ContextPath()
        self.sp = SpatialPath()
        self.ffm = FeatureFusion(256, 256)
        self.conv_out = OutputHead(256, 256, num_classes, factor=8)
        # Checkpoints list the two convolutions of the output head under second names; of two values the
        # last one listed wins.
        self.feat_conv_out = self.conv_out.conv
        self.final_conv = self.conv_out.conv_out
        self.conv_out16 = OutputHead(128, 64, num_classes, factor=8)
        self.conv_out32 = OutputHead(128, 64, num_classes, factor=16)
        self.fuse_attention = fusion(256) if fusion else None

    @property
    def last_convolution(self) -> nn.Conv2d:
        """The 1x1 convolution from the feature to the classes."""
        return self.final_conv

    def encode(self, image: Tensor) -> Encoded:
        """Give the feature (N, 256, h, w), h = 2 ceil(H/16), and the logits of both auxiliary heads."""
        self._check_image(image)
        context8, context16 = self.cp(image)
        height, width = context8.shape[-2:]
        spatial = resize(self.sp(image), (height, width))
        feature = self.feat_conv_out(self.ffm(spatial, context8))  # (N, 256, H/8, W/8)
        if not self.runs_auxiliary:
            return Encoded(feature, ())
        return Encoded(feature, (self.conv_out16(context8), self.conv_out32(context16)))

    def classify(self, feature: Tensor, image_size: tuple[int, int] | None = None) -> Tensor:
        """Give logits at eight times the feature's size, whatever the image's size."""
        return self.conv_out.classify(feature)
