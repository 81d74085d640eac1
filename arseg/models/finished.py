"""A finished network, by name and with trained weights, as an HR branch: for a checkpoint, or to run at once."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from arseg.config import IGNORE_INDEX
from arseg.errors import CheckpointError, ConfigError
from arseg.files import file_digest
from arseg.models.branch import Branch
from arseg.models.checkpoint import Checkpoint, read_tensors, save_checkpoint
from arseg.models.network import SegmentationNetwork
from arseg.models.optimize import prepare_for_inference
from arseg.models.registry import build_network, get_architecture
from arseg.models.state_dict import is_own_checkpoint, network_from_state_dict, read_state_dict
from arseg.networks import own_file
from arseg.spec import NetworkSpec, Normalization, SegmentationClass, TrainedOn

log = logging.getLogger(__name__)

NOISE_SIZE = 128, 160
"""Height and width of the image that shows whether weights are random; every network takes it."""


def finished_network(
    backbone: str,
    classes: Sequence[SegmentationClass] | None = None,
    *,
    weights: Path | None = None,
    normalization: str | None = None,
) -> Checkpoint:
    """Return a network with trained weights, never with random ones, and what a checkpoint says of it.

    Parameters
    ----------
    backbone : str
        Its name in `arseg.networks.networks`.
    classes : sequence of SegmentationClass, optional
        Its classes. By default those that its library names, or numbers, in generated colours.
    weights : Path, optional
        State dict or checkpoint with all layers. By default the weights of the library, or of the function that builds
        it.
    normalization : str, optional
        As `arseg.spec.Normalization.parse` takes it. By default the library's own if it says, else "imagenet".

    Raises
    ------
    ConfigError
        If the network or the normalisation is unknown, its weights are random, or its number of classes is not known.
    CheckpointError
        If the weights cannot be read, lack a layer, or are for another number of classes than `classes` has.
    """
    if normalization is not None:
        Normalization.parse(normalization)
    architecture = get_architecture(backbone)
    names: Sequence[str] = ()
    if weights is not None:
        network, source = _from_file(backbone, weights), str(weights)
    elif architecture.pretrained is not None:
        pretrained = architecture.pretrained()
        names, normalization = pretrained.class_names, normalization or pretrained.normalization
        network = build_network(backbone, len(names), fusion=False)
        network.load_state_dict(
            {f"{architecture.prefix}{name}": tensor for name, tensor in pretrained.state_dict.items()}
        )
        source = f"the library's weights of {backbone}"
    else:
        num_classes = len(classes) if classes else architecture.num_classes
        if num_classes is None:
            raise ConfigError(
                f"{backbone}: how many classes it has is not known. Give their sheet: --classes SHEET.csv"
            )
        network = build_network(backbone, num_classes, fusion=False)
        _refuse_random(backbone, num_classes)
        source = f"the weights that {backbone} is built with"
    if classes and len(classes) != network.num_classes:
        raise CheckpointError(
            f"{source}: is for {network.num_classes} classes, and the sheet has {len(classes)}. Give the sheet of the "
            "classes that it was trained for"
        )
    log.info("network: %s, %d classes, with %s", backbone, network.num_classes, source)
    spec = NetworkSpec(
        backbone,
        network.num_classes,
        normalization=normalization or "imagenet",
        classes=tuple(classes or generated_classes(names or [f"class {i}" for i in range(network.num_classes)])),
    )
    file = weights or own_file(backbone)
    origin = None if file is None else {"file": file.name, "sha256": file_digest(file), "left_random": []}
    return Checkpoint(network.eval(), spec, TrainedOn(initialized_from=origin))


def finished_branch(
    backbone: str,
    classes: Sequence[SegmentationClass] | None = None,
    *,
    weights: Path | None = None,
    normalization: str | None = None,
    device: torch.device,
) -> Branch:
    """Return what `finished_network` does as an HR branch that is ready to run on a device."""
    network, spec, trained_on = finished_network(backbone, classes, weights=weights, normalization=normalization)
    return Branch(prepare_for_inference(network.to(device)), spec, trained_on, digest="")


def create_checkpoint(
    backbone: str,
    classes: Sequence[SegmentationClass] | None,
    output: Path,
    *,
    weights: Path | None,
    normalization: str | None,
) -> None:
    """Write what `finished_network` returns as the checkpoint of an HR branch."""
    save_checkpoint(output, *finished_network(backbone, classes, weights=weights, normalization=normalization))


def generated_classes(names: Sequence[str]) -> list[SegmentationClass]:
    """Return classes of some names in distinct colours: those of the Pascal VOC colour map, from its second on.

    A name that occurs again gets its index behind it. A ConfigError says that there are more than label maps can hold.
    """
    if len(names) > IGNORE_INDEX:
        raise ConfigError(f"{len(names)} classes: label maps of 8 bits hold {IGNORE_INDEX}. Give a network of fewer")
    log.info("classes: %s, in generated colours; --classes SHEET.csv chooses others", ", ".join(names))
    unique = [f"{name} {index}" if name in names[:index] else name for index, name in enumerate(names)]
    return [SegmentationClass(index, name, _color(index + 1), False) for index, name in enumerate(unique)]


def _color(value: int) -> tuple[int, int, int]:
    """Return the colour of an index in Pascal VOC's map: its bits in turn become red, green and blue from the top."""
    red, green, blue = (
        sum((value >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3)) for channel in range(3)
    )
    return red, green, blue


def _from_file(backbone: str, path: Path) -> SegmentationNetwork:
    hint = f"--weights takes a state dict, torch.save(network.state_dict(), FILE), or a checkpoint, of {backbone}"
    content = read_tensors(path, hint)
    state_dict = content["state_dict"] if is_own_checkpoint(content) else read_state_dict(path, hint)
    try:
        return network_from_state_dict(state_dict, backbone, fusion=False).network
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}\nA finished network needs all of its own weights; {hint}") from None


def _refuse_random(backbone: str, num_classes: int) -> None:
    """Raise `ConfigError` if a network that is built twice does not say the same of one image: its weights are random.

    Random weights in parts that do not run, such as heads for auxiliary losses, do not matter.
    """
    image = torch.ones(1, 3, *NOISE_SIZE)
    image[..., ::2, ::3] = -1.0
    built = []
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for seed in range(2):
            torch.manual_seed(seed)
            built.append(build_network(backbone, num_classes, fusion=False).eval())
    first, second = (network.state_dict() for network in built)
    random = [name for name, tensor in first.items() if not torch.equal(tensor, second[name])]
    with torch.no_grad():
        if not random or torch.equal(*(network(image).scores for network in built)):
            return
    raise ConfigError(
        f"{backbone}: {len(random)} of its {len(first)} tensors are random ({', '.join(random[:3])}, ...), and so "
        f"would be what it says. Give trained weights: --weights FILE{_other_ways(backbone)}"
    )


def _other_ways(backbone: str) -> str:
    if backbone.startswith("transformers/"):
        return "; or name a trained model of the hub: transformers/ORGANISATION/MODEL"
    return "; or let the function load them" if ":" in backbone else ""
