"""The segmentation networks by name, and all that is known of them without PyTorch (docs/extending.md).

What needs PyTorch is an `arseg.models.registry.Architecture`, made when a network is first built.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from arseg.plugins import Registry


@dataclass(frozen=True)
class Network:
    """A network that configurations and checkpoints may name."""

    architecture: str | Callable[[], Any]
    """What gives its `arseg.models.registry.Architecture`: a function without parameters, or where the value is, as
    ``package.module:NAME``, which is not imported before a network is built."""
    label: str
    """Name in figures."""
    small: bool = False
    """Whether it leaves a second core idle."""
    fusion: str = "creff"
    """Name in `arseg.fusions.fusions` of what joins the keyframe's feature and the LR branch's own."""


networks: Registry[Network] = Registry("backbone", "arseg.networks")


networks.register("psp18")(Network("arseg.models.registry:PSP18", label="PSPNet-18"))
networks.register("psp18-cityscapes")(Network("arseg.models.registry:PSP18_CITYSCAPES", label="PSPNet-18"))
networks.register("bise18")(Network("arseg.models.registry:BISE18", label="BiSeNet-18"))
networks.register("pidnet-s")(Network("arseg.models.registry:PIDNET_S", label="PIDNet-S"))
networks.register("tiny")(Network("arseg.models.registry:TINY", label="tiny", small=True))
networks.register("small")(Network("arseg.models.registry:SMALL", label="small", small=True))
