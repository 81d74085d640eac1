"""From the bytes of pictures to what networks take, on the device that the networks run on."""

import torch
from torch import Tensor

from arseg.spec import Normalization


def normalize(pixels: Tensor, normalization: Normalization) -> Tensor:
    """Bring RGB pictures to the networks' input range: ``(pixels / 255 - mean) / std``.

    Training, evaluation and `arseg.infer` all call this one, so that they agree bit by bit. Bytes are a quarter of the
    traffic to a device, and the device converts them faster.

    Parameters
    ----------
    pixels : Tensor of uint8, shape (N, H, W, 3)
        RGB, on any device.
    normalization : Normalization
        Mean and standard deviation of RGB in [0, 1].

    Returns
    -------
    image : Tensor of float32, shape (N, 3, H, W)
        On the CPU in the channels-last memory format, which is that of `pixels` and of the networks there; elsewhere
        contiguous.
    """
    rows = pixels.flatten(2).float()  # (N, H, 3 W): long rows, because a loop over three channels is slow
    width = pixels.shape[2]
    mean, std = (
        torch.tensor(values, device=pixels.device).repeat(width) for values in (normalization.mean, normalization.std)
    )
    rows.div_(255).sub_(mean).div_(std)
    image = rows.unflatten(2, (width, 3)).permute(0, 3, 1, 2)
    return image if pixels.device.type == "cpu" else image.contiguous()
