"""From a network's name to the network: what `arseg.networks` knows, with PyTorch.

Training, evaluation, checkpoints and costs know networks by this module alone. docs/extending.md adds one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pkgutil import resolve_name
from typing import NamedTuple, Protocol

from torch import Tensor

from arseg.errors import CheckpointError, ConfigError
from arseg.fusions import BuildFusion, get_fusion
from arseg.models.bisenet import BiSeNet
from arseg.models.losses import auxiliary_cross_entropy_loss, bisenet_loss, pidnet_loss, pspnet_loss, small_loss
from arseg.models.network import SegmentationNetwork
from arseg.models.pidnet import PIDNet
from arseg.models.pspnet import PSPNet
from arseg.models.pspnet_cityscapes import PSPNetCityscapes
from arseg.models.tiny import TinyNet
from arseg.networks import networks
from arseg.spec import PAPER_FUSION


class BuildNetwork(Protocol):
    """Makes a network with fresh weights."""

    def __call__(self, num_classes: int, fusion: BuildFusion | None) -> SegmentationNetwork:
        """Build for a number of classes, with the fusion of an LR branch, or without one."""


SegmentationLoss = Callable[..., dict[str, Tensor]]
"""Judges a prediction: takes it, ``labels`` (N, H, W) and ``original`` (bool), and returns named parts whose sum is the
loss. That of an architecture with `boundaries` also takes ``edges`` (N, H, W), 1 where classes meet, and
``class_weights`` (K,) or None, by name."""


class Pretrained(NamedTuple):
    """What a library has trained."""

    state_dict: Mapping[str, Tensor]
    """All weights, named as the library does."""
    class_names: tuple[str, ...]
    """Names of the classes, in order."""
    normalization: str | None
    """What images were normalised with, as `arseg.spec.Normalization.parse` takes it; None if the library is silent."""


@dataclass(frozen=True)
class Architecture:
    """All that is particular to one network."""

    build: BuildNetwork
    """Makes the network."""
    loss: SegmentationLoss
    """Segmentation loss of both phases, as named parts."""
    boundaries: bool = False
    """Whether the loss also takes boundaries between labels, and weights of the classes."""
    takes_parts: bool = False
    """Whether it may start from a file without its last convolution: whatever has equal name and shape is taken."""
    backbone_modules: Mapping[str, str] = field(default_factory=dict)
    """Where torchvision's ResNet-18 modules lie in the network: name there to name here; empty without a ResNet."""
    imagenet: Callable[[], Mapping[str, Tensor]] | None = None
    """Gives the ImageNet weights that its library has for the encoder, under the network's names."""
    num_classes: int | None = None
    """The only number of classes that it can be built for; None if any."""
    prefix: str = ""
    """What the names of tensors have here, and not in a state dict of the library or file that it comes from."""
    pretrained: Callable[[], Pretrained] | None = None
    """Loads the trained network of a library that has this one; None if there is none but what `build` makes."""

    def load_imagenet(self, network: SegmentationNetwork, state_dict: Mapping[str, Tensor]) -> None:
        """Copy ResNet-18 weights, named as torchvision names them, into the network's backbone.

        Parameters
        ----------
        network : SegmentationNetwork
            Built by this architecture; changed in place.
        state_dict : mapping of str to Tensor
            All of ResNet-18's weights. The classification head ``fc`` may be there and is left out;
            ``num_batches_tracked`` may be missing, as in older files.

        Raises
        ------
        CheckpointError
            If a weight is missing, unknown, or of another shape.
        """
        own = network.state_dict()
        wanted = {
            f"{theirs}.{key.removeprefix(ours + '.')}": key
            for theirs, ours in self.backbone_modules.items()
            for key in own
            if key.startswith(f"{ours}.")
        }
        given = {name: tensor for name, tensor in state_dict.items() if not name.startswith("fc.")}
        problems = [f"{name} is unknown" for name in given if name not in wanted]
        for name, key in wanted.items():
            if name in given:
                if given[name].shape != own[key].shape:
                    problems.append(f"{name} has shape {tuple(given[name].shape)}, expected {tuple(own[key].shape)}")
            elif not name.endswith("num_batches_tracked"):
                problems.append(f"{name} is missing")
        if problems:
            raise CheckpointError(
                f"backbone weights: {problems[0]} ({len(problems)} problems in all); expected the state dict "
                "of torchvision's resnet18"
            )
        for name, tensor in given.items():
            own[wanted[name]].copy_(tensor)


def _inside(prefix: str) -> dict[str, str]:
    modules = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
    return {module: f"{prefix}{module}" for module in modules}


PSP18 = Architecture(build=PSPNet, loss=pspnet_loss, backbone_modules=_inside("feats."))
PSP18_CITYSCAPES = Architecture(
    build=PSPNetCityscapes,
    loss=auxiliary_cross_entropy_loss,
    backbone_modules=_inside("") | {"conv1": "layer0.0", "bn1": "layer0.1"},
)
BISE18 = Architecture(build=BiSeNet, loss=bisenet_loss, backbone_modules=_inside("cp.resnet."))
PIDNET_S = Architecture(build=PIDNet, loss=pidnet_loss, boundaries=True, takes_parts=True)
TINY = Architecture(build=TinyNet, loss=auxiliary_cross_entropy_loss)
SMALL = Architecture(build=partial(TinyNet, widths=(16, 32, 64), dilations=(1, 2, 4)), loss=small_loss)


def get_architecture(name: str) -> Architecture:
    """Return the architecture of a registered network.

    Raises
    ------
    ConfigError
        If no network has that name.
    """
    made_by = networks.get(name).architecture
    return resolve_name(made_by) if isinstance(made_by, str) else made_by()


def build_network(name: str, num_classes: int, fusion: str | bool | None) -> SegmentationNetwork:
    """Build a network with fresh weights.

    Parameters
    ----------
    name : str
        Name in `arseg.networks.networks`.
    num_classes : int
        Number K of classes.
    fusion : str or bool, optional
        Fusion that an LR branch of phase 2 needs, by its name in `arseg.fusions.fusions`; True means CReFF.

    Returns
    -------
    network : SegmentationNetwork
        In training mode, on the CPU (or the device of an enclosing ``torch.device``).

    Raises
    ------
    ConfigError
        If a name is unknown, or there is no class.
    """
    architecture = get_architecture(name)
    if num_classes < 1:
        raise ConfigError(f"num_classes {num_classes}: at least one class is needed")
    return architecture.build(num_classes, get_fusion(PAPER_FUSION if fusion is True else fusion) if fusion else None)
