"""Checkpoints of the published programs, in and out.

A published checkpoint is a plain state dict with ``module.`` before every name (the public PIDNet's: ``model.``), and
says nothing about itself: the user names its network and what it was trained for, and `import_checkpoint` checks what
can be checked.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from arseg.compat.naming import parse_checkpoint_name
from arseg.errors import CheckpointError, ConfigError
from arseg.files import atomic_path, file_digest
from arseg.models.checkpoint import load_checkpoint, save_checkpoint
from arseg.models.network import SegmentationNetwork
from arseg.models.state_dict import (
    OF_LOSS,
    PIDNET_PREFIX,
    PREFIX,
    first_names,
    guess_network,
    network_entries,
    network_from_state_dict,
    read_state_dict,
)
from arseg.spec import NetworkSpec, Normalization, Role, SegmentationClass, TrainedOn
from arseg.stages import STAGES

PUBLISHED_SEED = 233
"""Seed of both published trainings (docs/method.md, 'Training')."""
PIDNET = "pidnet-s"
PIDNET_SEED = 304
"""Seed of the public PIDNet's trainings."""


def import_checkpoint(
    source: Path,
    output: Path,
    *,
    backbone: str,
    mode: Role,
    scale_percent: int,
    classes: Sequence[SegmentationClass],
    normalization: str,
) -> str:
    """Write a published checkpoint as one of ours; return what was taken from it, in a few lines.

    The user says what the file does not: its network, what it was trained for, at which resolution (100 for the HR
    branch), on which classes, and how its images are normalised (as `arseg.spec.Normalization.parse` takes it). A
    CheckpointError says that the file cannot be read or does not fit these, a ConfigError that they contradict each
    other.
    """
    _check_apart(source, output)
    if mode == "hr" and scale_percent != 100:
        raise ConfigError(
            f"scale_percent {scale_percent} of {source} in mode hr: an HR branch sees 100 %. Give --mode lr for a "
            "constant-resolution baseline, --mode ar for an LR branch"
        )
    if not 1 <= scale_percent <= 100:
        raise ConfigError(f"scale_percent {scale_percent}: expected 1 to 100")
    Normalization.parse(normalization)
    state_dict = read_state_dict(source)
    try:
        loaded = network_from_state_dict(state_dict, backbone, fusion=mode == "ar")
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}{_advice(state_dict, backbone, mode)}") from None
    if loaded.network.num_classes != len(classes):
        raise CheckpointError(
            f"{source}: has {loaded.network.num_classes} classes, the data set {len(classes)}. Name the data set that "
            "it was trained on, or give its sheet of classes"
        )
    spec = NetworkSpec(backbone, len(classes), mode == "ar", scale_percent, normalization, classes=tuple(classes))
    named = parse_checkpoint_name(source)
    trained_on = TrainedOn(
        stage=STAGES["phase2" if mode == "ar" else "phase1"],
        seed=PIDNET_SEED if backbone == PIDNET else PUBLISHED_SEED,
        imported_from={"file": source.name, "sha256": file_digest(source)},
        epoch=None if named is None else named.epoch,
    )
    save_checkpoint(output, loaded.network, spec, trained_on)
    of_loss = [name for name in loaded.left_out if name.startswith(OF_LOSS)]
    of_fusion = [name for name in loaded.left_out if name not in of_loss]
    lines = [f"{loaded.description}: {loaded.num_tensors} tensors"]
    for what, names in (
        ("left out, because only a network with fusion uses them", of_fusion),
        ("left out, because only the loss uses them (training.class_weights)", of_loss),
        ("listed under two names with different values, of which the last was taken", loaded.differing_twins),
    ):
        if names:
            lines.append(f"{what}: {', '.join(names)}")
    return "\n".join(lines)


def export_network(network: SegmentationNetwork, backbone: str, *, fusion: str | bool | None) -> dict[str, Tensor]:
    """Return a network's tensors as the published programs list them: their names, order and prefix, on the CPU.

    A shared tensor stands under both of its names, and shares its storage with itself; without `fusion`, those of
    ``fuse_attention`` are left out. A CheckpointError says that the network lacks the fusion that is to be written.
    """
    if fusion and network.fuse_attention is None:
        raise CheckpointError(f"this {backbone} has no fusion to export; give a checkpoint of phase 2")
    first = first_names(backbone)
    tensors = {first.get(name, name): tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    prefix = PIDNET_PREFIX if backbone == PIDNET else PREFIX
    return {
        f"{prefix}{name}": tensors[first.get(name, name)]
        for name in network_entries(backbone, network.num_classes, fusion)
    }


def export_checkpoint(source: Path, output: Path) -> None:
    """Write one of our checkpoints as the published programs read it: a plain state dict, usually ``.pth``."""
    _check_apart(source, output)
    network, spec, _ = load_checkpoint(source)
    state_dict = export_network(network, spec.backbone, fusion=spec.fusion)
    with atomic_path(output) as temporary, temporary.open("wb") as file:
        torch.save(state_dict, file)  # given a path, it would write that, which is a temporary one, into the file


def describe_state_dict(path: Path) -> dict[str, str]:
    """Return what can be seen of a state dict that another program wrote, by name, in the order to print it in."""
    state_dict = read_state_dict(path)
    guess = guess_network(state_dict)
    facts = {
        "format": f"state dict of another program, {len(state_dict)} entries",
        "looks like": "no network known here" if guess is None else guess.description,
    }
    if guess and guess.agreement < 1:
        facts["agreement"] = f"{guess.agreement:.1%} of the tensors, by name and shape"
    if named := parse_checkpoint_name(path):
        facts["scale"] = f"{named.scale_percent} %, by the file's name"
        facts["epoch"] = f"{named.epoch}, by the file's name"
    return facts | {"sha256": file_digest(path)}


def _advice(state_dict: dict[str, Tensor], backbone: str, mode: Role) -> str:
    """Return what a state dict is instead, and which option says so; empty if it is what it was taken for."""
    guess = guess_network(state_dict)
    if guess and guess.backbone != backbone:
        return f"\nThis looks like {guess.description}: give --backbone {guess.backbone}"
    if guess and mode == "ar" and not guess.fusion:
        return f"\nThis looks like {guess.description}, an HR branch or LR baseline: give --mode hr or --mode lr"
    return ""


def _check_apart(source: Path, output: Path) -> None:
    if source.resolve() == output.resolve():
        raise ConfigError(f"output {output} is the file to read, which would be lost; name another one")
