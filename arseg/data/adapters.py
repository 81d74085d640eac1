"""From a data set's kind to its manifest: the one place that knows which kinds there are."""

from collections.abc import Callable
from pathlib import Path

from arseg.data.frames import frames_manifest
from arseg.data.manifest import ManifestRow, SegmentationClass, write_manifest
from arseg.errors import DataError

Adapter = Callable[[str, str | Path, str | Path, str | Path], tuple[list[ManifestRow], tuple[SegmentationClass, ...]]]
"""Takes name, root folder, classes sheet and splits sheet of a data set; gives its rows and classes."""

ADAPTERS: dict[str, Adapter] = {
    "frames": frames_manifest,
    # A synthetic data set is written as frames, labels and sheets, so that it shows how one's own may look.
    "synthetic": frames_manifest,
}


def write_dataset_manifest(
    output: str | Path,
    *,
    kind: str,
    dataset: str,
    root: str | Path,
    classes: str | Path,
    splits: str | Path,
) -> None:
    """Make a data set's manifest and write it.

    Parameters
    ----------
    output : path
        The manifest; ``<stem>.classes.csv`` is written beside it.
    kind : str
        Kind of the data set, a key of `ADAPTERS`.
    dataset : str
        Name of the data set.
    root, classes, splits : path
        Folder of the data, sheet of classes and sheet of rules, see `arseg.data.frames.frames_manifest`.

    Raises
    ------
    DataError
        If there is no adapter for this kind, or the data do not fit the sheets.
    """
    if kind not in ADAPTERS:
        raise DataError(
            f"datasets.{dataset}.kind is {kind!r}, for which this version has no adapter; it has "
            f"{', '.join(sorted(ADAPTERS))}. Set it to frames, and describe your copy of the data in a "
            "classes and a splits sheet (docs/own-frames.md)."
        )
    rows, segmentation_classes = ADAPTERS[kind](dataset, root, classes, splits)
    write_manifest(output, rows, segmentation_classes)
