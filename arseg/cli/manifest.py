"""``arseg manifest``: one command for each kind of data set."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from arseg.cli.recorded import written_classes
from arseg.data.checks import write_checked_manifest
from arseg.data.manifest import ManifestRow
from arseg.datasets import DATASETS
from arseg.datasets.camvid.manifest import camvid_classes, camvid_manifest
from arseg.datasets.cityscapes.labels import train_ids_hint
from arseg.datasets.cityscapes.manifest import cityscapes_classes, cityscapes_manifest
from arseg.datasets.frames.manifest import frames_manifest
from arseg.datasets.videos.manifest import videos_manifest
from arseg.provenance.recording import Arguments, records
from arseg.spec import SegmentationClass

Name = Annotated[str, Parameter(help="Name of the data set.")]
Written = Annotated[Path, Parameter(help="Manifest to write; the classes go beside it, as <stem>.classes.csv.")]


def sheets(arguments: Arguments) -> list[Path]:
    """Name the sheets that are read."""
    root = arguments["root"]
    return [arguments["classes"] or root / "classes.csv", arguments["splits"] or root / "splits.csv"]


@records("manifest frames", inputs=["root", sheets], outputs=["output", written_classes])
def frames(
    *, dataset: Name, root: Path, output: Written, classes: Path | None = None, splits: Path | None = None
) -> None:
    """Write the manifest of your own folders of frames and index labels.

    Parameters
    ----------
    root : Path
        Folder of the data set.
    classes : Path
        CSV of the classes: index, name, red, green, blue, void; <root>/classes.csv by default.
    splits : Path
        CSV with the rules that choose frames for splits; <root>/splits.csv by default.
    """
    _write(output, *frames_manifest(dataset, root, classes or root / "classes.csv", splits or root / "splits.csv"))


@records("manifest camvid", inputs=["frames", "labels", "stills", "sequences"], outputs=["output", written_classes])
def camvid(
    *,
    dataset: Name,
    frames: Path,
    labels: Path,
    stills: Path,
    sequences: Path,
    split: Literal["official", "kaggle"],
    output: Written,
) -> None:
    """Write the manifest of CamVid.

    Parameters
    ----------
    frames : Path
        Folder with one folder of decoded frames per sequence, from arseg camvid frames.
    labels : Path
        Folder of index labels, from arseg camvid labels.
    stills : Path
        Folder or zip archive of the annotated stills; only their names are read.
    sequences : Path
        CSV that relates the numbers of stills and decoded frames.
    split : str
        official: 367/101/233 frames. kaggle: 369/100/232, the folders of the Kaggle package.
    """
    rows = camvid_manifest(dataset, frames=frames, labels=labels, stills=stills, split=split, sequences=sequences)
    _write(output, rows, camvid_classes())


@records("manifest cityscapes", inputs=["root", "labels"], outputs=["output", written_classes])
def cityscapes(*, dataset: Name, root: Path, labels: Path, output: Written) -> None:
    """Write the manifest of Cityscapes.

    Parameters
    ----------
    root : Path
        Folder with gtFine and leftImg8bit_sequence (or, for phase 1 alone, leftImg8bit).
    labels : Path
        Folder of train-id labels, from arseg cityscapes labels.
    """
    rows = cityscapes_manifest(dataset, root, labels)
    _write(output, rows, cityscapes_classes(), train_ids_hint(root, labels))


@records("manifest videos", inputs=["frames", "labels"], outputs=["output", written_classes], folder_contents=False)
def videos(*, dataset: str, frames: Path, labels: Path, output: Path) -> None:
    """Write the manifest of videos that the HR branch labelled.

    Parameters
    ----------
    dataset : str
        Name of the data set.
    frames : Path
        Folder of arseg videos sample.
    labels : Path
        Folder of arseg videos label.
    output : Path
        Manifest to write; the classes go beside it, as <stem>.classes.csv.
    """
    _write(output, *videos_manifest(dataset, frames, labels))


def _write(output: Path, rows: list[ManifestRow], classes: tuple[SegmentationClass, ...], label_hint: str = "") -> None:
    print(f"wrote {output}: {write_checked_manifest(output, rows, classes, label_hint)}")


app = App(name="manifest")
for _name in DATASETS.names():
    _kind = DATASETS.get(_name)
    if _kind.manifest:
        app.command(_kind.manifest, name=_name, help=_kind.title)
