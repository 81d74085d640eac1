"""PSPNet-18 as published for CamVid: a decoder back to full resolution and an image-level classifier.

See docs/method.md, 'PSPNet-18 for CamVid'. The feature has 64 channels and is as large as the image (rounded up to a
multiple of 8).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arseg.fusions import BuildFusion
from arseg.models.network import Encoded, SegmentationNetwork
from arseg.models.resize import resize
from arseg.models.resnet import ResNet18

BINS = (1, 2, 3, 6)


class PyramidPooling(nn.Module):
    """Average-pool to several grids, project, resize back, and mix with the input.

    The branches have neither norm nor activation. They are resized with align_corners=False, unlike most else
    in the published programs.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(bins), nn.Conv2d(in_channels, in_channels, 1, bias=False))
            for bins in BINS
        )
        self.bottleneck = nn.Conv2d(in_channels * (len(BINS) + 1), out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (N, C, h, w) to (N, C', h, w)."""
        size = x.shape[-2:]
        branches = [F.interpolate(branch(x), size=size, mode="bilinear", align_corners=False) for branch in self.stages]
        return F.relu(self.bottleneck(torch.cat([*branches, x], dim=1)))


class UpBlock(nn.Module):
    """Double the resolution (bilinear, align_corners=False), then 3x3 convolution, batch norm, PReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels), nn.PReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform (N, C, h, w) to (N, C', 2 h, 2 w)."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False))


class PSPNet(SegmentationNetwork):
    """PSPNet-18 of CamVid.

    The scores are log-probabilities. The one auxiliary output are image-level presence logits (N, K).

    Parameters
    ----------
    num_classes : int
        Number K of classes.
    fusion : callable, optional
        Makes the fusion that an LR branch needs.
    """

    def __init__(self, num_classes: int, fusion: BuildFusion | None = None) -> None:
        super().__init__(num_classes, feature_channels=64, min_training_batch=1)
        self.feats = ResNet18(dilated=True)
        self.psp = PyramidPooling(512, 1024)
        self.drop_1 = nn.Dropout2d(0.3)
        self.up_1 = UpBlock(1024, 256)
        self.up_2 = UpBlock(256, 64)
        self.up_3 = UpBlock(64, 64)
        self.drop_2 = nn.Dropout2d(0.15)
        self.final_conv = nn.Conv2d(64, num_classes, 1)
        self.classifier = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, num_classes))
        self.fuse_attention = fusion(64) if fusion else None

    @property
    def last_convolution(self) -> nn.Conv2d:
        """The 1x1 convolution from the feature to the classes."""
        return self.final_conv

    def encode(self, image: Tensor) -> Encoded:
        """Give the feature (N, 64, 8 ceil(H/8), 8 ceil(W/8)) and the presence logits (N, K)."""
        self._check_image(image)
        _, stage3, stage4 = self.feats(image)  # both at (H/8, W/8)
        x = self.drop_1(self.psp(stage4))  # (N, 1024, H/8, W/8)
        x = self.drop_2(self.up_1(x))  # (N, 256, H/4, W/4)
        x = self.drop_2(self.up_2(x))  # (N, 64, H/2, W/2)
        feature = self.drop_2(self.up_3(x))  # (N, 64, H, W)
        if not self.runs_auxiliary:
            return Encoded(feature, ())
        presence = self.classifier(stage3.amax(dim=(2, 3)))  # (N, K)
        return Encoded(feature, (presence,))

    def classify(self, feature: Tensor, image_size: tuple[int, int] | None = None) -> Tensor:
        """Give log-probabilities at the image's size, or at the feature's without `image_size`."""
        logits = self.final_conv(feature)
        if image_size is not None:
            logits = resize(logits, image_size)
        return F.log_softmax(logits, dim=1)
