"""``arseg import``."""

from pathlib import Path

from arseg.compat.clips import import_published_clips
from arseg.compat.naming import Dataset
from arseg.provenance.recording import Arguments, records


def imported(arguments: Arguments) -> list[Path]:
    """Name what was written: the manifest, its classes and the stores."""
    output: Path = arguments["output"]
    return [output / "manifest.csv", output / "manifest.classes.csv", *sorted(output.glob("d*.h5"))]


@records("import", inputs=["root"], outputs=[imported])
def import_clips(
    root: Path,
    *,
    dataset: Dataset,
    split: str,
    output: Path,
    distances: list[int] | None = None,
) -> None:
    """Turn a tree of the published programs into a manifest and clip stores.

    Parameters
    ----------
    root : Path
        Folder that is named for bitrate and GOP, for example camvid-sequence/3M-GOP12.
    dataset : str
        camvid or cityscapes.
    split : str
        Split to import, as its folders are named: test (CamVid), val (Cityscapes), ...
    output : Path
        Folder for manifest.csv, the clip stores d00.h5, d01.h5, ... and converted label maps.
    distances : list of int
        Reference distances; all by default.
    """
    imported = import_published_clips(root, dataset=dataset, split=split, output=output, distances=distances)
    for path in (imported.manifest, *imported.stores):
        print(f"wrote {path}")
