"""Checkpoints of the published programs, in and out.

A published checkpoint is a plain state dict with ``module.`` before every name, and says nothing about itself: the
user names its network and what it was trained for, and `import_checkpoint` checks what can be checked. How the files
are read is in `arseg.models.published`; which names there are, and how a misfit is told, in `arseg.models.layout`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from arseg.config import Backbone
from arseg.errors import CheckpointError, ConfigError
from arseg.files import atomic_path, file_digest
from arseg.models.checkpoint import load_checkpoint, save_checkpoint
from arseg.models.layout import PREFIX, Fit, first_names, fit_network, guess_network, published_entries, without_prefix
from arseg.models.network import SegmentationNetwork
from arseg.models.published import parse_published_name, read_published
from arseg.models.registry import build_network
from arseg.spec import NORMALIZATIONS, Mode, NetworkSpec, SegmentationClass, TrainedOn
from arseg.stages import STAGES

PUBLISHED_SEED = 233
"""Seed of both published trainings (docs/method.md, 'Training')."""


@dataclass(frozen=True)
class ImportReport:
    """What an import took from a file."""

    backbone: str
    """Name in the registry."""
    fusion: bool
    """Whether the network has the fusion of an LR branch."""
    num_classes: int
    """Number of classes, by the shape of the last convolution."""
    num_matched: int
    """Tensors of the network that the file has; a shared one counts once."""
    num_second_names: int
    """How many of them were taken from their second name."""
    num_absent_counters: int
    """Counters of batch norm that the file lacks, as files of old PyTorch do; they are zero."""
    left_out: tuple[str, ...]
    """Names in the file of which the network makes no use."""
    differing_twins: tuple[str, ...]
    """Names whose value was preferred to another one under the tensor's other name."""

    def summary(self) -> str:
        """Tell it in a few lines."""
        form = "with fusion" if self.fusion else "without fusion"
        lines = [
            f"{self.backbone} {form}, {self.num_classes} classes: {self.num_matched} tensors, "
            f"{self.num_second_names} of them by their second name"
        ]
        if self.num_absent_counters:
            lines.append(f"{self.num_absent_counters} counters of batch norm are not in the file and start at zero")
        if self.left_out:
            lines.append(f"left out, because only a network with fusion uses them: {', '.join(self.left_out)}")
        if self.differing_twins:
            lines.append(
                "listed under two names with different values, of which the last was taken: "
                + ", ".join(self.differing_twins)
            )
        return "\n".join(lines)


def import_network(
    state_dict: Mapping[str, Tensor], backbone: str, *, fusion: bool
) -> tuple[SegmentationNetwork, ImportReport]:
    """Build a network with the tensors of a published checkpoint.

    The published forms of a network differ in what they list twice; each of them is accepted for each role.
    A network without fusion leaves ``fuse_attention.*`` out, which checkpoints of the LR baseline carry although
    nothing runs it: neither HR branch nor LR baseline ever fuses. A network with fusion needs it.

    Parameters
    ----------
    state_dict : mapping of str to Tensor
        Tensors by name, with or without the prefix ``module.``, in the order of the file: of two values for one
        tensor, the last listed wins.
    backbone : str
        Name in `arseg.networks.networks`.
    fusion : bool
        Whether to build the fusion, as an LR branch needs it.

    Returns
    -------
    network : SegmentationNetwork
        On the CPU, in evaluation mode.
    report : ImportReport
        What was taken.

    Raises
    ------
    CheckpointError
        If the tensors are not this network's; the message tells the difference.
    ConfigError
        If the backbone is unknown.

    References
    ----------
    .. [1] Hu et al., AR-Seg, CVPR 2023: the published checkpoints, and the program that converts HR checkpoints of
       Cityscapes.
    """
    state_dict = without_prefix(state_dict)
    fit = fit_network(state_dict, backbone, fusion=fusion)
    if fit.num_problems:
        raise CheckpointError(_explain(fit, state_dict))
    assert fit.num_classes is not None  # the last convolution would be missing
    network = build_network(backbone, fit.num_classes, fusion=fusion)
    first, own = first_names(backbone), network.state_dict()
    network.load_state_dict({name: fit.tensors.get(first[name], own[name]) for name in own}, strict=True)
    return network.eval(), ImportReport(
        backbone=backbone,
        fusion=fusion,
        num_classes=fit.num_classes,
        num_matched=len(fit.tensors),
        num_second_names=len(fit.second_names),
        num_absent_counters=len(fit.absent_counters),
        left_out=fit.left_out,
        differing_twins=fit.differing_twins,
    )


def export_network(network: SegmentationNetwork, backbone: str, *, fusion: bool) -> dict[str, Tensor]:
    """List a network's tensors as the published programs do: their names, order and prefix.

    Parameters
    ----------
    network : SegmentationNetwork
        Any network of `backbone`.
    backbone : str
        Name in `arseg.networks.networks`.
    fusion : bool
        Form to write: with the fusion, or without it, which leaves ``fuse_attention.*`` out.

    Returns
    -------
    state_dict : dict of str to Tensor
        On the CPU; a shared tensor stands under both of its names, and shares its storage with itself.

    Raises
    ------
    CheckpointError
        If the network lacks the fusion that is to be written.
    """
    if fusion and network.fuse_attention is None:
        raise CheckpointError(f"this {backbone} has no fusion to export; give a checkpoint of phase 2")
    first = first_names(backbone)
    tensors = {first[name]: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    return {
        f"{PREFIX}{name}": tensors[first[name]] for name in published_entries(backbone, network.num_classes, fusion)
    }


def import_checkpoint(
    source: Path,
    output: Path,
    *,
    backbone: Backbone,
    mode: Mode,
    scale_percent: int,
    classes: Sequence[SegmentationClass],
    normalization: str,
) -> ImportReport:
    """Write a published checkpoint as one of ours.

    Parameters
    ----------
    source : Path
        Published checkpoint.
    output : Path
        Checkpoint to write, usually ``weights.pt``.
    backbone : str
        Name in `arseg.networks.networks`.
    mode : {"hr", "lr", "ar"}
        What it was trained for: HR branch, constant-resolution baseline, or LR branch of AR.
    scale_percent : int
        Resolution that it was trained at, in percent; 100 for the HR branch.
    classes : sequence of SegmentationClass
        Classes of the data set that it was trained on.
    normalization : str
        What its images are normalised with: a key of `arseg.config.NORMALIZATIONS`.

    Returns
    -------
    report : ImportReport
        What was taken from the file.

    Raises
    ------
    CheckpointError
        If the file cannot be read, or does not fit the backbone, the mode or the classes.
    ConfigError
        If the settings contradict each other.
    """
    source, output = Path(source), Path(output)
    _check_settings(source, output, mode, scale_percent, normalization)
    state_dict = read_published(source)
    try:
        network, report = import_network(state_dict, backbone, fusion=mode == "ar")
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from None
    if report.num_classes != len(classes):
        raise CheckpointError(
            f"{source}: has {report.num_classes} classes, the data set {len(classes)}. Name the data set that it was "
            "trained on, or give its sheet of classes"
        )
    spec = NetworkSpec(
        backbone=backbone,
        num_classes=report.num_classes,
        fusion=report.fusion,
        scale_percent=scale_percent,
        normalization=normalization,
        classes=tuple(classes),
    )
    named = parse_published_name(source)
    trained_on = TrainedOn(
        stage=STAGES["phase2" if mode == "ar" else "phase1"],
        seed=PUBLISHED_SEED,
        imported_from={"file": source.name, "sha256": file_digest(source)},
        epoch=None if named is None else named.epoch,
    )
    save_checkpoint(output, network, spec, trained_on)
    return report


def export_checkpoint(source: Path, output: Path) -> None:
    """Write one of our checkpoints as the published programs read it: a plain state dict.

    Parameters
    ----------
    source : Path
        Checkpoint of arseg.
    output : Path
        File to write, usually with the suffix ``.pth``; written whole or not at all.

    Raises
    ------
    CheckpointError
        If `source` cannot be read.
    ConfigError
        If `output` is `source`.
    """
    source, output = Path(source), Path(output)
    _check_apart(source, output)
    network, spec, _ = load_checkpoint(source)
    state_dict = export_network(network, spec.backbone, fusion=spec.fusion)
    with atomic_path(output) as temporary, temporary.open("wb") as file:
        torch.save(state_dict, file)  # given a path, it would write that, which is a temporary one, into the file


def _explain(fit: Fit, state_dict: Mapping[str, Tensor]) -> str:
    message = f"does not fit {fit.describe()}:\n{fit.difference()}"
    guess = guess_network(state_dict)
    if guess is None or guess.num_problems >= fit.num_problems:
        return message
    if guess.backbone != fit.backbone:
        return f"{message}\nThis looks like {guess.describe()}: give --backbone {guess.backbone}"
    return f"{message}\nThis looks like {guess.describe()}, an HR branch or LR baseline: give --mode hr or --mode lr"


def _check_settings(source: Path, output: Path, mode: Mode, scale_percent: int, normalization: str) -> None:
    _check_apart(source, output)
    if mode == "hr" and scale_percent != 100:
        raise ConfigError(
            f"scale_percent {scale_percent} of {source} in mode hr: an HR branch sees 100 %. Give --mode lr for a "
            "constant-resolution baseline, --mode ar for an LR branch"
        )
    if not 1 <= scale_percent <= 100:
        raise ConfigError(f"scale_percent {scale_percent}: expected 1 to 100")
    if normalization not in NORMALIZATIONS:
        raise ConfigError(f"normalization {normalization!r}: expected one of {', '.join(NORMALIZATIONS)}")


def _check_apart(source: Path, output: Path) -> None:
    if source.resolve() == output.resolve():
        raise ConfigError(f"output {output} is the file to read, which would be lost; name another one")
