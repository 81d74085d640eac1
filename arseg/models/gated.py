"""Gated fusion: the keyframe's feature, but for the pixels where it is not to be trusted. Not the paper's."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arseg.models.creff import require_alike
from arseg.models.resize import resize

HIDDEN_CHANNELS = 32
"""Channels that the gate is computed from."""
OPEN_BIAS = 2.0
"""Logit of the gate before training: the sigmoid is 0.88; the rest goes to the LR feature. At 5 (0.993), the LR
branch gets so little of the gradient that it has learnt next to nothing when propagation fails (docs/results)."""


class Gated(nn.Module):
    """One gate per pixel between the warped feature and the LR branch's; before training, nearly the warped one.

    The gate sees both features and the magnitude of their difference. Networks with it learn where to distrust
    propagation, whereas CReFF has to learn to let the keyframe in.

    Parameters
    ----------
    channels : int
        Channels C of both features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.evidence = nn.Conv2d(3 * channels, HIDDEN_CHANNELS, 1)
        self.gate = nn.Conv2d(HIDDEN_CHANNELS, 1, 3, padding=1)
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, OPEN_BIAS)  # type: ignore[arg-type]

    def forward(self, warped_feature: Tensor, lr_feature: Tensor) -> Tensor:
        """Fuse the two features.

        Parameters
        ----------
        warped_feature : Tensor, shape (N, C, H, W)
            HR branch's feature of the keyframe, warped to the current frame.
        lr_feature : Tensor, shape (N, C, h, w)
            LR branch's feature of the current frame.

        Returns
        -------
        fused : Tensor, shape (N, C, H, W)
            Each pixel between the two.

        Raises
        ------
        DataError
            If the features disagree in batch size or channels.
        """
        require_alike(warped_feature, lr_feature)
        height, width = warped_feature.shape[-2:]
        lr_feature = resize(lr_feature, (height, width))
        difference = warped_feature - lr_feature
        seen = torch.cat([warped_feature, lr_feature, difference.abs()], dim=1)  # (N, 3 C, H, W)
        gate = torch.sigmoid(self.gate(F.relu(self.evidence(seen))))  # (N, 1, H, W)
        return lr_feature + gate * difference
