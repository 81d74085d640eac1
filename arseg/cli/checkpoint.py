"""``arseg checkpoint``: the checkpoints of the published programs, in and out."""

from pathlib import Path

from arseg.compat.checkpoints import describe_state_dict, export_checkpoint, import_checkpoint
from arseg.compat.naming import Dataset, parse_checkpoint_name, published_normalization, registered_backbone
from arseg.compat.tree import LAYOUTS
from arseg.data.manifest import read_classes
from arseg.errors import ConfigError
from arseg.models.checkpoint import read_tensors
from arseg.models.describe import describe_checkpoint
from arseg.models.finished import create_checkpoint
from arseg.models.state_dict import HINT, is_own_checkpoint
from arseg.options import Output
from arseg.provenance.recording import records
from arseg.spec import Role, SegmentationClass


@records("checkpoint import", inputs=["file", "classes"], outputs=["output"])
def import_published(
    file: Path,
    *,
    backbone: str,
    mode: Role,
    output: Output,
    dataset: Dataset | None = None,
    scale_percent: int | None = None,
    classes: Path | None = None,
    normalization: str | None = None,
) -> None:
    """Make a checkpoint of arseg from a published one.

    Parameters
    ----------
    file : Path
        Published checkpoint (.pth).
    backbone : str
        Its network. Published as psp18, that of Cityscapes is psp18-cityscapes; --dataset cityscapes accepts both.
    mode : str
        What it was trained for. hr: the HR branch. lr: a constant low resolution. ar: the LR branch of AR-Seg.
    output : Path
        Checkpoint to write.
    dataset : str
        Data set that it was trained on; names its classes and normalisation.
    scale_percent : int
        Resolution that it was trained at, in percent. By default the name of the file tells, if it is like
        PSPNet_resnet18_0.5_92_.pth.
    classes : Path
        CSV of the classes, for a data set other than those: index, name, red, green, blue, void.
    normalization : str
        What images were normalised with: camvid, imagenet, bisenet, or numbers (mean/deviation of red,green,blue:
        0.5,0.5,0.5/0.5,0.5,0.5); the published one of the data set by default.
    """
    network = registered_backbone(dataset, backbone)
    report = import_checkpoint(
        file,
        output,
        backbone=network,
        mode=mode,
        scale_percent=_scale_percent(file, mode) if scale_percent is None else scale_percent,
        classes=_classes(dataset, classes),
        normalization=normalization or _normalization(dataset, network),
    )
    print(report)
    print(f"wrote {output}")


@records("checkpoint create", inputs=["weights", "classes"], outputs=["output"])
def create(
    network: str,
    *,
    output: Output,
    classes: Path | None = None,
    weights: Path | None = None,
    normalization: str | None = None,
) -> None:
    """Make the checkpoint of an HR branch from a finished network of your own or of a library.

    Parameters
    ----------
    network : str
        Its name: smp/fpn/resnet18, transformers/ORGANISATION/MODEL, my_nets.py:build, or one of arseg's.
    output : Path
        Checkpoint to write.
    classes : Path
        CSV of its classes: index, name, red, green, blue, void; by default those that the library names, or numbers.
    weights : Path
        Its weights, a state dict or a checkpoint; by default the library's own, or those that its function loads.
    normalization : str
        What images are normalised with: camvid, imagenet, bisenet, or numbers (mean/deviation of red,green,blue:
        0.5,0.5,0.5/0.5,0.5,0.5); the library's own by default, imagenet where it has none.
    """
    table = None if classes is None else read_classes(classes)
    create_checkpoint(network, table, output, weights=weights, normalization=normalization)
    print(f"wrote {output}")


@records("checkpoint export", inputs=["weights"], outputs=["output"])
def export_published(weights: Path, *, output: Output) -> None:
    """Make a state dict for the published programs from a checkpoint of arseg.

    Parameters
    ----------
    weights : Path
        Checkpoint of arseg.
    output : Path
        File to write (.pth).
    """
    export_checkpoint(weights, output)
    print(f"wrote {output}")


def show(file: Path) -> None:
    """Print what a checkpoint is: network, role, classes, scale, score, epoch and digest.

    Parameters
    ----------
    file : Path
        Checkpoint of arseg, or a state dict of another program.
    """
    describe = describe_checkpoint if is_own_checkpoint(read_tensors(file, HINT)) else describe_state_dict
    facts = describe(file)
    width = max(map(len, facts))
    for name, fact in facts.items():
        print(f"{name:{width}}  {fact}")


def _scale_percent(file: Path, mode: Role) -> int:
    named = parse_checkpoint_name(file)
    if named is not None:
        return named.scale_percent
    if mode == "hr":
        return 100
    raise ConfigError(
        f"{file}: its name does not tell the scale, as PSPNet_resnet18_0.5_92_.pth would. Give --scale-percent"
    )


def _classes(dataset: Dataset | None, sheet: Path | None) -> tuple[SegmentationClass, ...]:
    if dataset is not None and sheet is None:
        return LAYOUTS[dataset].classes()
    if sheet is not None and dataset is None:
        return read_classes(sheet)
    raise ConfigError("the classes are not clear: give either --dataset or --classes")


def _normalization(dataset: Dataset | None, backbone: str) -> str:
    if dataset is None:
        raise ConfigError("the normalisation is not clear: give --normalization, or --dataset instead of --classes")
    return published_normalization(dataset, backbone)
