"""PSPNet-18 as published for Cityscapes: no decoder, a 512-channel feature at stride 8.

See docs/method.md, 'PSPNet-18 for Cityscapes'.
"""

import torch
from torch import Tensor, nn

from arseg.fusions import BuildFusion
from arseg.models.network import Encoded, SegmentationNetwork
from arseg.models.resize import resize
from arseg.models.resnet import stage

BINS = (1, 2, 3, 6)


class PyramidPooling(nn.Module):
    """Average-pool to several grids, project with batch norm and ReLU, resize back, append to the input.

    Here the branches are resized with align_corners=True, unlike in the CamVid form.
    """

    def __init__(self, in_channels: int, branch_channels: int) -> None:
        super().__init__()
        self.features = nn.ModuleList(
            nn.Sequential(
                nn.AdaptiveAvgPool2d(bins),
                nn.Conv2d(in_channels, branch_channels, 1, bias=False),
                nn.BatchNorm2d(branch_channels),
                nn.ReLU(),
            )
            for bins in BINS
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform (N, C, h, w) to (N, C + 4 C', h, w)."""
        height, width = x.shape[-2:]
        return torch.cat([x, *(resize(branch(x), (height, width)) for branch in self.features)], dim=1)


def _head(in_channels: int, mid_channels: int, num_classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, mid_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(mid_channels),
        nn.ReLU(),
        nn.Dropout2d(0.1),
        nn.Conv2d(mid_channels, num_classes, 1),
    )


class PSPNetCityscapes(SegmentationNetwork):
    """PSPNet-18 of Cityscapes.

    The scores are logits. The one auxiliary output are logits of a head on stage 3, at the image's size; a
    network with fusion leaves them out in evaluation.

    Parameters
    ----------
    num_classes : int
        Number K of classes.
    fusion : callable, optional
        Makes the fusion that an LR branch needs.
    """

    def __init__(self, num_classes: int, fusion: BuildFusion | None = None) -> None:
        # The pyramid's first branch normalises features pooled to a single pixel.
        super().__init__(num_classes, feature_channels=512, min_training_batch=2)
        self.layer0 = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        self.layer1 = stage(64, 64, 1)
        self.layer2 = stage(64, 128, 2)
        # All 3x3 convolutions but the first of each stage are dilated.
        self.layer3 = stage(128, 256, 1, ((1, 2), (2, 2)))
        self.layer4 = stage(256, 512, 1, ((1, 4), (4, 4)))
        self.ppm = PyramidPooling(512, 128)
        self.cls = _head(1024, 512, num_classes)
        if fusion:
            # Checkpoints of the fusion form list the last layer of `cls` under a second name.
            self.final_conv = self.cls[-1]
        self.aux = _head(256, 256, num_classes)
        self.fuse_attention = fusion(512) if fusion else None

    @property
    def last_convolution(self) -> nn.Conv2d:
        """The 1x1 convolution from the feature to the classes."""
        convolution = self.cls[-1]
        assert isinstance(convolution, nn.Conv2d)
        return convolution

    def encode(self, image: Tensor) -> Encoded:
        """Give the feature (N, 512, ceil(H/8), ceil(W/8)) and the auxiliary logits (N, K, H, W)."""
        self._check_image(image)
        height, width = image.shape[-2:]
        stage3 = self.layer3(self.layer2(self.layer1(self.layer0(image))))  # (N, 256, H/8, W/8)
        feature = self.cls[:-1](self.ppm(self.layer4(stage3)))  # (N, 512, H/8, W/8)
        # The published fused form runs its auxiliary head in training only; the plain form always runs it.
        if not self.runs_auxiliary or (self.fuse_attention is not None and not self.training):
            return Encoded(feature, ())
        return Encoded(feature, (resize(self.aux(stage3), (height, width)),))

    def classify(self, feature: Tensor, image_size: tuple[int, int] | None = None) -> Tensor:
        """Give logits at the image's size, or at the feature's (stride 8) without `image_size`."""
        logits = self.last_convolution(feature)
        return logits if image_size is None else resize(logits, image_size)
