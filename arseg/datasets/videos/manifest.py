"""The manifest of videos whose sampled frames a network has labelled."""

from pathlib import Path

from arseg.data.manifest import TEACHER, ManifestRow, read_classes
from arseg.datasets.videos.sampling import SHARES, read_samples
from arseg.errors import DataError
from arseg.spec import SegmentationClass

CLASSES = "classes.csv"
"""Name of the sheet of classes in a folder of labels that a network made."""


def split_name(part: str) -> str:
    """Return the name of a split in the manifest: ``videos-train``, ``videos-val`` or ``videos-test``."""
    return f"videos-{part}"


def videos_manifest(
    dataset: str, frames: str | Path, labels: str | Path
) -> tuple[list[ManifestRow], tuple[SegmentationClass, ...]]:
    """Return the rows and classes of a manifest of sampled and labelled frames.

    Parameters
    ----------
    dataset : str
        Name of the data set.
    frames : path
        Folder that `arseg.datasets.videos.sampling.write_samples` wrote.
    labels : path
        Folder of label maps with the same names, and the sheet of their classes, as `arseg.infer.teacher` writes it.

    Returns
    -------
    rows : list of ManifestRow
        One for each sampled frame.
    classes : tuple of SegmentationClass
        The network's classes.

    Raises
    ------
    DataError
        If a sheet or label map is missing, or a split has no sample.
    """
    frames, labels = Path(frames), Path(labels)
    samples = read_samples(frames)
    if missing := {*SHARES} - {sample.split for sample in samples}:
        raise DataError(f"{frames}: no frame is sampled for {', '.join(sorted(missing))}. Sample the videos again.")
    rows = []
    for sample in samples:
        label = labels / sample.name
        if not label.is_file():
            raise DataError(f"{label}: is missing. Label the frames again: arseg videos label ...")
        rows.append(
            ManifestRow(
                dataset=dataset,
                split=split_name(sample.split),
                sequence=sample.sequence,
                frame_index=sample.frame_index,
                image=str(frames / sample.name),
                label=str(label),
                frame_pattern=f"{frames / sample.sequence}/{{index:06d}}.png",
                frame_step=1,
                labelled_by=TEACHER,
            )
        )
    return rows, read_classes(labels / CLASSES)
