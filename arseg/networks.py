"""The segmentation networks by name, and all that is known of them without PyTorch (docs/extending.md).

What needs PyTorch is an `arseg.models.registry.Architecture`, made when a network is first built.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
    published: Mapping[str, str] = field(default_factory=dict)
    """Its names in the AR-Seg authors' results, by the data sets that they evaluated it on."""
    normalization: Mapping[str, str] = field(default_factory=dict)
    """What the images of the published checkpoints are normalised with, by data set."""


networks: Registry[Network] = Registry("backbone", "arseg.networks")


def published_backbone(dataset: str, backbone: str) -> str:
    """Return the name that a network has in the authors' result files.

    Parameters
    ----------
    dataset, backbone : str
        As they are named here.

    Returns
    -------
    name : str
        Without a hyphen. There, psp18 is the form that was published on the data set; the other form gets a name that
        no published value has.
    """
    plain = backbone.replace("-", "")
    network = networks.find(backbone)
    published = {} if network is None else network.published
    if dataset in published:
        return published[dataset]
    others = (networks.get(name).published.get(dataset) for name in networks.names())
    return plain + "".join(published) if plain in others else plain


networks.register("psp18")(
    Network(
        "arseg.models.registry:PSP18",
        label="PSPNet-18",
        published={"camvid": "psp18"},
        normalization={"camvid": "camvid"},
    )
)
networks.register("psp18-cityscapes")(
    Network(
        "arseg.models.registry:PSP18_CITYSCAPES",
        label="PSPNet-18",
        published={"cityscapes": "psp18"},
        normalization={"cityscapes": "imagenet"},
    )
)
networks.register("bise18")(
    Network(
        "arseg.models.registry:BISE18",
        label="BiSeNet-18",
        published={"camvid": "bise18", "cityscapes": "bise18"},
        normalization={"camvid": "camvid", "cityscapes": "bisenet"},
    )
)
networks.register("tiny")(Network("arseg.models.registry:TINY", label="tiny", small=True))
networks.register("small")(Network("arseg.models.registry:SMALL", label="small", small=True))
