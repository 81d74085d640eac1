"""ResNet-18 in the three shapes that the networks use: plain, and dilated in two ways.

Module names are torchvision's, so that its ImageNet weights fit. The classification head is left out.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

PLAIN: tuple[tuple[int, int], ...] = ((1, 1), (1, 1))
"""Dilations of both convolutions of both blocks of an ordinary stage."""


def shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """Return a block's 1x1 convolution around it; None where its input can be added as it is."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels before and after the block.
    stride : int
        Stride of the first convolution and of the shortcut.
    dilations : tuple of int
        Dilations of the two convolutions.
    rectified : bool
        Whether the sum goes through a ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        dilations: tuple[int, int] = (1, 1),
        rectified: bool = True,
    ) -> None:
        super().__init__()
        first, second = dilations
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, first, first, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, second, second, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = shortcut(in_channels, out_channels, stride)
        self.rectified = rectified

    def forward(self, x: Tensor) -> Tensor:
        """Transform (N, C, H, W) to (N, C', ceil(H / stride), ceil(W / stride))."""
        direct = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x)) + direct
        return F.relu(x) if self.rectified else x


def stage(
    in_channels: int, out_channels: int, stride: int, dilations: Sequence[tuple[int, int]] = PLAIN
) -> nn.Sequential:
    """Build one stage of blocks; only the first block has the stride.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels before and after the stage.
    stride : int
        Stride of the first block.
    dilations : sequence of tuple of int
        Dilations of both convolutions, for each block.
    """
    first, *later = dilations
    return nn.Sequential(
        BasicBlock(in_channels, out_channels, stride, first),
        *(BasicBlock(out_channels, out_channels, 1, block) for block in later),
    )


class ResNet18(nn.Module):
    """ResNet-18 without its classification head.

    Parameters
    ----------
    dilated : bool
        Keep stages 3 and 4 at stride 8 and dilate the *later* block of each by 2 and 4, as the published
        CamVid PSPNet does; the first blocks stay undilated. Otherwise plain, with strides 16 and 32.
    """

    def __init__(self, dilated: bool) -> None:
        super().__init__()
        stride = 1 if dilated else 2
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = stage(64, 64, 1)
        self.layer2 = stage(64, 128, 2)
        self.layer3 = stage(128, 256, stride, ((1, 1), (2, 2)) if dilated else PLAIN)
        self.layer4 = stage(256, 512, stride, ((1, 1), (4, 4)) if dilated else PLAIN)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give the outputs of stages 2, 3 and 4: 128, 256 and 512 channels."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(image))))  # (N, 64, H/4, W/4)
        stage2 = self.layer2(self.layer1(x))
        stage3 = self.layer3(stage2)
        return stage2, stage3, self.layer4(stage3)
