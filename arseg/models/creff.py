"""CReFF: fusion of a high-resolution feature of the past with a low-resolution feature of the present."""

from torch import Tensor, nn

from arseg.errors import DataError
from arseg.models.attention import fuse_on_cpu, local_attention
from arseg.models.macs import MacCount
from arseg.models.resize import resize

WINDOW = 7
"""Side length k of the attention's window, in pixels of the HR feature."""


def require_alike(warped_feature: Tensor, lr_feature: Tensor) -> None:
    """Raise a `DataError` unless two features to fuse have the same batch size and channels."""
    if warped_feature.shape[:2] != lr_feature.shape[:2]:
        raise DataError(
            f"keyframe feature of shape {tuple(warped_feature.shape)} and LR feature of shape "
            f"{tuple(lr_feature.shape)} differ in batch size or channels; both branches need one architecture"
        )


class CReFF(nn.Module):
    """Cross-resolution feature fusion: a local attention from the LR feature to the warped HR feature.

    Parameters
    ----------
    channels : int
        Channels C of both features.

    References
    ----------
    .. [1] Hu et al., "Efficient Semantic Segmentation by Altering Resolutions for Compressed Videos",
       CVPR 2023.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.lr_query_conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.hr_key_conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.hr_value_conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

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
            The resized LR feature plus what the attention found in the HR feature.

        Raises
        ------
        DataError
            If the features disagree in batch size or channels.
        """
        require_alike(warped_feature, lr_feature)
        convolutions = (self.lr_query_conv, self.hr_key_conv, self.hr_value_conv)
        parameters = [x for convolution in convolutions for x in convolution.parameters()]  # weight, bias, and so on
        fused = fuse_on_cpu(warped_feature, lr_feature, parameters, WINDOW)
        if fused is not None:
            return fused
        height, width = warped_feature.shape[-2:]
        lr_feature = resize(lr_feature, (height, width))  # (N, C, H, W)
        query = self.lr_query_conv(lr_feature)
        key = self.hr_key_conv(warped_feature)
        value = self.hr_value_conv(warped_feature)
        return lr_feature + local_attention(query, key, value, WINDOW)

    def macs(self, warped_feature: Tensor, lr_feature: Tensor) -> MacCount:
        """Return what fusing the two features takes, however it is computed.

        A depthwise convolution takes 9 multiply-accumulates per value; the attention, one per channel and entry of the
        window for the similarities, and one more for the weighted sum.
        """
        values = warped_feature.numel()
        return MacCount(3 * 9 * values, 2 * values * WINDOW**2)
