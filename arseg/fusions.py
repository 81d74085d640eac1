"""The fusions by name: what joins the warped feature of a keyframe and an LR branch's own feature."""

from collections.abc import Callable
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from arseg.plugins import Registry

if TYPE_CHECKING:
    from torch import nn

BuildFusion = Callable[[int], "nn.Module"]
"""Makes a fusion for features of so many channels C.

The fusion takes the warped feature (N, C, H, W) and the LR branch's feature (N, C, h, w), and returns (N, C, H, W). If
its class has a true attribute ``uses_evidence`` (so must a function that makes it), it also takes the evidence of the
codec: the counts `arseg.spec.EVIDENCE`, uint8 (N, H', W', 3), of each 4x4 block, or after augmentation of each pixel.
"""

fusions: Registry[str | BuildFusion] = Registry("fusion", "arseg.fusions")
"""Each is what makes it, or where that is, as ``package.module:NAME``, which is not imported before it is needed."""

fusions.register("creff")("arseg.models.creff:CReFF")
fusions.register("gated")("arseg.models.gated:Gated")
fusions.register("gated-codec")("arseg.models.gated:GatedByCodec")


def get_fusion(name: str) -> BuildFusion:
    """Return what makes the fusion of a name; raise `ConfigError` if there is none."""
    made_by = fusions.get(name)
    return resolve_name(made_by) if isinstance(made_by, str) else made_by
