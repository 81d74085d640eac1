"""``arseg cityscapes``: from packages to frames and train-id labels."""

from pathlib import Path

from arseg.datasets.cityscapes.labels import write_train_ids
from arseg.datasets.cityscapes.packages import download_package, unpack_cityscapes
from arseg.datasets.cityscapes.verify import verify_cityscapes
from arseg.provenance.recording import records


@records("cityscapes download", outputs=["output"])
def download(package: str, /, *, output: Path) -> None:
    """Download a package with your login; run again, it continues where it broke off.

    The environment variables CITYSCAPES_USERNAME and CITYSCAPES_PASSWORD hold the account.

    Parameters
    ----------
    package : str
        gtFine_trainvaltest.zip, leftImg8bit_trainvaltest.zip, leftImg8bit_sequence_trainvaltest.zip, or another
        package that the account may download.
    output : Path
        Where the archive shall be.
    """
    download_package(package, output)
    print(f"wrote {output}")


@records("cityscapes unpack", inputs=["archives"], outputs=["output"], folder_contents=False)
def unpack(archives: list[Path], /, *, output: Path) -> None:
    """Unpack the frames and label ids of the splits train and val.

    Parameters
    ----------
    archives : list of Path
        Packages of Cityscapes.
    output : Path
        Folder that gets gtFine, leftImg8bit and leftImg8bit_sequence, as far as the archives hold them.
    """
    unpack_cityscapes(archives, output)
    print(f"wrote {output}")


@records("cityscapes labels", inputs=["root"], outputs=["output"])
def labels(*, root: Path, output: Path, workers: int = 1) -> None:
    """Convert label ids to train ids: 19 classes, and 255 for all others; run again, it continues.

    Parameters
    ----------
    root : Path
        Folder that holds gtFine.
    output : Path
        Folder to write, with a folder for each split and city.
    workers : int
        Processes that convert.
    """
    write_train_ids(root, output, num_workers=workers)
    print(f"wrote {output}")


@records("cityscapes verify", inputs=["root", "labels"], outputs=["output"])
def verify(*, root: Path, labels: Path, output: Path, gop: int = 12) -> None:
    """Check that each annotated frame has its labels and the frames before it, and is the frame it should be.

    Parameters
    ----------
    root : Path
        Folder with gtFine and leftImg8bit_sequence (or, for phase 1 alone, leftImg8bit).
    labels : Path
        Folder of train-id labels, from arseg cityscapes labels.
    output : Path
        JSON report to write.
    gop : int
        Longest GOP that clips shall have.
    """
    for split, found in verify_cityscapes(root, labels, output, gop=gop).items():
        print(f"{split}: {found.annotated} annotated frames, {found.videos} with their video")
    print(f"wrote {output}")
