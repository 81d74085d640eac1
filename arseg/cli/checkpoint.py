"""``arseg checkpoint``: the checkpoints of the published programs, in and out."""

from pathlib import Path
from typing import Literal

from arseg.config import Backbone
from arseg.data.manifest import read_classes
from arseg.errors import ConfigError
from arseg.models.convert import export_checkpoint, import_checkpoint
from arseg.models.describe import describe_checkpoint
from arseg.models.published import parse_published_name, published_normalization
from arseg.provenance.recording import records
from arseg.spec import Mode, SegmentationClass

Dataset = Literal["camvid", "cityscapes"]


@records("checkpoint import", inputs=["file", "classes"], outputs=["output"])
def import_published(
    file: Path,
    *,
    backbone: Backbone,
    mode: Mode,
    output: Path,
    dataset: Dataset | None = None,
    scale_percent: int | None = None,
    classes: Path | None = None,
    normalization: Literal["camvid", "imagenet", "bisenet"] | None = None,
) -> None:
    """Make a checkpoint of arseg from one of the authors' programs.

    Parameters
    ----------
    file : Path
        Published checkpoint (.pth).
    backbone : str
        Its network. The authors' psp18 of Cityscapes is psp18-cityscapes; with --dataset cityscapes, both mean it.
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
        What images were normalised with; the published one of the data set by default.
    """
    if dataset == "cityscapes" and backbone == "psp18":
        backbone = "psp18-cityscapes"
    report = import_checkpoint(
        file,
        output,
        backbone=backbone,
        mode=mode,
        scale_percent=_scale_percent(file, mode) if scale_percent is None else scale_percent,
        classes=_classes(dataset, classes),
        normalization=normalization or _normalization(dataset, backbone),
    )
    print(report.summary())
    print(f"wrote {output}")


@records("checkpoint export", inputs=["weights"], outputs=["output"])
def export_published(weights: Path, *, output: Path) -> None:
    """Make a state dict for the authors' programs from a checkpoint of arseg.

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
    facts = describe_checkpoint(file)
    width = max(map(len, facts))
    for name, fact in facts.items():
        print(f"{name:{width}}  {fact}")


def _scale_percent(file: Path, mode: Mode) -> int:
    named = parse_published_name(file)
    if named is not None:
        return named.scale_percent
    if mode == "hr":
        return 100
    raise ConfigError(
        f"{file}: its name does not tell the scale, as PSPNet_resnet18_0.5_92_.pth would. Give --scale-percent"
    )


def _classes(dataset: Dataset | None, sheet: Path | None) -> tuple[SegmentationClass, ...]:
    if (dataset is None) == (sheet is None):
        raise ConfigError("the classes are not clear: give either --dataset or --classes")
    if sheet is not None:
        return read_classes(sheet)
    if dataset == "camvid":
        from arseg.datasets.camvid.manifest import camvid_classes  # noqa: PLC0415

        return camvid_classes()
    # The official label table is slow to import, and not needed for another data set.
    from arseg.datasets.cityscapes.manifest import cityscapes_classes  # noqa: PLC0415

    return cityscapes_classes()


def _normalization(dataset: Dataset | None, backbone: Backbone) -> str:
    if dataset is None:
        raise ConfigError("the normalisation is not clear: give --normalization, or --dataset instead of --classes")
    return published_normalization(dataset, backbone)
