"""PIDNet-S: three branches, for detail, context and boundaries, joined at stride 8.

See docs/method.md, 'PIDNet-S'; Xu et al., "PIDNet: A Real-Time Semantic Segmentation Network Inspired by PID
Controllers", CVPR 2023. The feature has 128 channels at one eighth of the image's resolution.

Inside, everything is resized with align_corners=False; the scores go to the image with align_corners=True.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arseg.fusions import BuildFusion
from arseg.models.network import Encoded, SegmentationNetwork
from arseg.models.resize import resize
from arseg.models.resnet import BasicBlock, shortcut

WIDTH = 32
"""Channels of the first stage."""
PYRAMID_WIDTH = 96
"""Channels of a branch of the pyramid."""
FEATURE_CHANNELS = 128


def _up(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution with a shortcut, to twice the middle's channels, without a ReLU at the end."""

    def __init__(self, in_channels: int, mid_channels: int, stride: int = 1) -> None:
        super().__init__()
        out_channels = 2 * mid_channels
        self.conv1 = nn.Conv2d(in_channels, mid_channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(mid_channels)
        self.conv2 = nn.Conv2d(mid_channels, mid_channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(mid_channels)
        self.conv3 = nn.Conv2d(mid_channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (N, C, h, w) to (N, C', ceil(h / stride), ceil(w / stride))."""
        direct = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x)) + direct


def _basic_stage(in_channels: int, out_channels: int, blocks: int, stride: int = 1) -> nn.Sequential:
    """Build a stage whose last block has no ReLU at the end: the network rectifies where it needs to."""
    return nn.Sequential(
        *(
            BasicBlock(
                out_channels if block else in_channels,
                out_channels,
                1 if block else stride,
                rectified=block < blocks - 1,
            )
            for block in range(blocks)
        )
    )


def _projection(in_channels: int, out_channels: int, kernel: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(out_channels)
    )


def _unit(
    in_channels: int, out_channels: int, kernel: int = 1, groups: int = 1, pooling: Iterable[nn.Module] = ()
) -> nn.Sequential:
    """Build norm, ReLU and convolution, in this order, with a pooling in front where one is given."""
    return nn.Sequential(
        *pooling,
        nn.BatchNorm2d(in_channels),
        nn.ReLU(),
        nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, groups=groups, bias=False),
    )


class PixelAttention(nn.Module):
    """Let context into the detail branch where both agree (PagFM): one gate per pixel, from their similarity."""

    def __init__(self, channels: int, inner_channels: int) -> None:
        super().__init__()
        self.f_x = _projection(channels, inner_channels)
        self.f_y = _projection(channels, inner_channels)

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        """Join detail (N, C, h, w) and context (N, C, h', w') to (N, C, h, w)."""
        similarity = self.f_x(detail) * _up(self.f_y(context), detail)
        gate = torch.sigmoid(similarity.sum(dim=1, keepdim=True))  # (N, 1, h, w)
        return (1 - gate) * detail + gate * _up(context, detail)


class PyramidPooling(nn.Module):
    """Pool to five grids side by side and mix them (PAPPM)."""

    def __init__(self, in_channels: int, mid_channels: int, out_channels: int) -> None:
        super().__init__()
        # The zeros around the map count in the means, as published.
        self.scale1 = _unit(in_channels, mid_channels, pooling=[nn.AvgPool2d(5, 2, 2)])
        self.scale2 = _unit(in_channels, mid_channels, pooling=[nn.AvgPool2d(9, 4, 4)])
        self.scale3 = _unit(in_channels, mid_channels, pooling=[nn.AvgPool2d(17, 8, 8)])
        self.scale4 = _unit(in_channels, mid_channels, pooling=[nn.AdaptiveAvgPool2d(1)])
        self.scale0 = _unit(in_channels, mid_channels)
        self.scale_process = _unit(4 * mid_channels, 4 * mid_channels, kernel=3, groups=4)
        self.compression = _unit(5 * mid_channels, out_channels)
        self.shortcut = _unit(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (N, C, h, w) to (N, C', h, w)."""
        fine = self.scale0(x)
        scales = [_up(scale(x), x) + fine for scale in (self.scale1, self.scale2, self.scale3, self.scale4)]
        mixed = self.scale_process(torch.cat(scales, dim=1))
        return self.compression(torch.cat([fine, mixed], dim=1)) + self.shortcut(x)


class BoundaryGate(nn.Module):
    """Join detail and context by the boundary branch: detail where a boundary is, context elsewhere (light Bag)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_p = _projection(channels, channels)
        self.conv_i = _projection(channels, channels)

    def forward(self, detail: Tensor, context: Tensor, boundary: Tensor) -> Tensor:
        """Join three features (N, C, h, w) to one."""
        edge = torch.sigmoid(boundary)
        return self.conv_p((1 - edge) * context + detail) + self.conv_i(context + edge * detail)


class Head(nn.Module):
    """Norm, ReLU, 3x3 convolution, norm, ReLU, and a 1x1 convolution to the outputs."""

    def __init__(self, in_channels: int, mid_channels: int, out_channels: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, mid_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(mid_channels)
        self.conv2 = nn.Conv2d(mid_channels, out_channels, 1)

    def feature(self, x: Tensor) -> Tensor:
        """Transform (N, C, h, w) to (N, C', h, w), which the last convolution takes."""
        return F.relu(self.bn2(self.conv1(F.relu(self.bn1(x)))))

    def forward(self, x: Tensor) -> Tensor:
        """Transform (N, C, h, w) to (N, K, h, w)."""
        return self.conv2(self.feature(x))


class PIDNet(SegmentationNetwork):
    """PIDNet-S.

    The scores are logits. The auxiliary outputs, both at stride 8, are logits (N, K, h, w) of the detail branch, and
    one (N, 1, h, w) of the boundary branch: whether a pixel lies where classes meet.

    Parameters
    ----------
    num_classes : int
        Number K of classes.
    fusion : callable, optional
        Makes the fusion that an LR branch needs.
    """

    def __init__(self, num_classes: int, fusion: BuildFusion | None = None) -> None:
        # The pyramid's last branch normalises features pooled to a single pixel.
        super().__init__(num_classes, FEATURE_CHANNELS, min_training_batch=2)
        stem = [
            (nn.Conv2d(channels, WIDTH, 3, 2, padding=1), nn.BatchNorm2d(WIDTH), nn.ReLU()) for channels in (3, WIDTH)
        ]
        self.conv1 = nn.Sequential(*stem[0], *stem[1])
        self.layer1 = _basic_stage(WIDTH, WIDTH, 2)
        self.layer2 = _basic_stage(WIDTH, 2 * WIDTH, 2, stride=2)
        self.layer3 = _basic_stage(2 * WIDTH, 4 * WIDTH, 3, stride=2)
        self.layer4 = _basic_stage(4 * WIDTH, 8 * WIDTH, 3, stride=2)
        self.layer5 = nn.Sequential(Bottleneck(8 * WIDTH, 8 * WIDTH, stride=2), Bottleneck(16 * WIDTH, 8 * WIDTH))
        self.compression3 = _projection(4 * WIDTH, 2 * WIDTH)
        self.compression4 = _projection(8 * WIDTH, 2 * WIDTH)
        self.pag3 = PixelAttention(2 * WIDTH, WIDTH)
        self.pag4 = PixelAttention(2 * WIDTH, WIDTH)
        self.layer3_ = _basic_stage(2 * WIDTH, 2 * WIDTH, 2)
        self.layer4_ = _basic_stage(2 * WIDTH, 2 * WIDTH, 2)
        self.layer5_ = nn.Sequential(Bottleneck(2 * WIDTH, 2 * WIDTH))
        self.layer3_d = BasicBlock(2 * WIDTH, WIDTH, 1, rectified=False)
        self.layer4_d = nn.Sequential(Bottleneck(WIDTH, WIDTH))
        self.diff3 = _projection(4 * WIDTH, WIDTH, kernel=3)
        self.diff4 = _projection(8 * WIDTH, 2 * WIDTH, kernel=3)
        self.spp = PyramidPooling(16 * WIDTH, PYRAMID_WIDTH, 4 * WIDTH)
        self.dfm = BoundaryGate(4 * WIDTH)
        self.layer5_d = nn.Sequential(Bottleneck(2 * WIDTH, 2 * WIDTH))
        self.seghead_p = Head(2 * WIDTH, FEATURE_CHANNELS, num_classes)
        self.seghead_d = Head(2 * WIDTH, WIDTH, 1)
        self.final_layer = Head(4 * WIDTH, FEATURE_CHANNELS, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:  # for which PyTorch loads its compiler
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.fuse_attention = fusion(FEATURE_CHANNELS) if fusion else None

    @property
    def last_convolution(self) -> nn.Conv2d:
        """The 1x1 convolution from the feature to the classes."""
        return self.final_layer.conv2

    def encode(self, image: Tensor) -> Encoded:
        """Give the feature (N, 128, ceil(H/8), ceil(W/8)) and the logits of detail and boundary branch."""
        self._check_image(image)
        stride8 = F.relu(self.layer2(F.relu(self.layer1(self.conv1(image)))))  # (N, 64, H/8, W/8)
        stride16 = F.relu(self.layer3(stride8))  # (N, 128, H/16, W/16)
        stride32 = F.relu(self.layer4(stride16))  # (N, 256, H/32, W/32)
        detail = F.relu(self.pag3(self.layer3_(stride8), self.compression3(stride16)))  # (N, 64, H/8, W/8)
        boundary = F.relu(self.layer3_d(stride8) + _up(self.diff3(stride16), stride8))  # (N, 32, H/8, W/8)
        auxiliary = [self.seghead_p(detail)] if self.runs_auxiliary else []
        detail = F.relu(self.pag4(self.layer4_(detail), self.compression4(stride32)))  # (N, 64, H/8, W/8)
        boundary = F.relu(self.layer4_d(boundary) + _up(self.diff4(stride32), stride8))  # (N, 64, H/8, W/8)
        if self.runs_auxiliary:
            auxiliary.append(self.seghead_d(boundary))
        context = _up(self.spp(self.layer5(stride32)), stride8)  # (N, 128, H/8, W/8)
        joined = self.dfm(self.layer5_(detail), context, self.layer5_d(boundary))
        return Encoded(self.final_layer.feature(joined), tuple(auxiliary))

    def classify(self, feature: Tensor, image_size: tuple[int, int] | None = None) -> Tensor:
        """Give logits at the image's size, or at the feature's (stride 8) without `image_size`."""
        logits = self.last_convolution(feature)
        return logits if image_size is None else resize(logits, image_size)
