"""The fusions by name: what joins the warped feature of a keyframe and an LR branch's own feature."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from arseg.plugins import Registry

if TYPE_CHECKING:
    from torch import nn

BuildFusion = Callable[[int], "nn.Module"]
"""Makes a fusion for features of so many channels C.

The fusion takes the warped feature (N, C, H, W) and the LR branch's feature (N, C, h, w), and returns (N, C, H, W).
"""

fusions: Registry[BuildFusion] = Registry("fusion", "arseg.fusions")
