"""The warp of `arseg.models.inference.warp_keyframe` in operators that ONNX runtimes have for its types.

Positions are computed in double precision, as in evaluation: a pixel at the right edge of a wide picture must not move
by rounding. Factors are tensors for that reason: PyTorch's exporter rounds Python's numbers to single precision.
onnxruntime resizes no doubles, hence the resize of the motion is written out, which also reads only those vectors that
a small feature needs.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arseg.spec import WarpAlignment


class KeyframeWarp(nn.Module):
    """Warp the keyframe's feature to the current frame.

    Parameters
    ----------
    image_size : tuple of int
        Height and width of the image, and of its motion.
    feature_size : tuple of int
        Height and width of the feature.
    alignment : {"published", "consistent"}
        Convention of the warp, see `arseg.models.warp.warp`.
    """

    def __init__(
        self, image_size: tuple[int, int], feature_size: tuple[int, int], alignment: WarpAlignment = "published"
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.feature_size = feature_size
        self.align_corners = alignment == "consistent"

    def forward(self, feature: Tensor, motion_qpel: Tensor) -> Tensor:
        """Warp.

        Parameters
        ----------
        feature : Tensor, shape (1, C, H', W')
            Of the keyframe.
        motion_qpel : Tensor of int16, shape (1, H, W, 2)
            Displacement (x, y) in quarter pixels from each pixel of the frame to its source in the keyframe.

        Returns
        -------
        warped : Tensor, shape (1, C, H', W')
        """
        height, width = self.feature_size
        motion = motion_qpel
        for axis in (1, 2):
            motion = self._resize(motion, axis)
        # Published quirk: the ratio of the heights serves both axes.
        motion = motion.double() * _double(height / self.image_size[0] / 4)  # (1, H', W', 2), in feature pixels
        columns = torch.arange(width, dtype=torch.float64)
        rows = torch.arange(height, dtype=torch.float64)[:, None]
        x = 2 * (columns + motion[..., 0]) / max(width - 1, 1) - 1
        y = 2 * (rows + motion[..., 1]) / max(height - 1, 1) - 1
        grid = torch.stack((x, y), dim=-1).float()
        return F.grid_sample(feature, grid, mode="bilinear", padding_mode="zeros", align_corners=self.align_corners)

    def _resize(self, motion: Tensor, axis: int) -> Tensor:
        """Interpolate linearly along one axis, with aligned corners."""
        length, wanted = self.image_size[axis - 1], self.feature_size[axis - 1]
        if length == wanted:
            return motion
        position = torch.arange(wanted, dtype=torch.float64) * _double((length - 1) / max(wanted - 1, 1))
        before = position.long().clamp(max=length - 1)
        after = (before + 1).clamp(max=length - 1)
        share = (position - before).reshape([-1 if i == axis else 1 for i in range(4)])
        first, second = (motion.index_select(axis, index).double() for index in (before, after))
        return first + share * (second - first)


def _double(number: float) -> Tensor:
    return torch.tensor(number, dtype=torch.float64)
