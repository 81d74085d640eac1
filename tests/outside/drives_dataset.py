"""A data set as another package adds it: drives with labels in colours, one folder of frames for each split."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arseg.data.checks import write_checked_manifest
from arseg.data.manifest import ManifestRow, read_classes
from arseg.datasets import DATASETS, DatasetKind, Place, Splits
from arseg.datasets.frames.manifest import list_frames
from arseg.datasets.kind import words

FOLDERS = ("train", "val", "test")


def manifest(*, dataset: str, root: Path, labels: Path, output: Path) -> None:
    """Write the manifest of drives.

    Parameters
    ----------
    dataset : str
        Name of the data set.
    root : Path
        Folder of the data set.
    labels : Path
        Folder of index labels, from arseg labels.
    output : Path
        Manifest to write.
    """
    rows = [
        ManifestRow(
            dataset=dataset,
            split=f"drives-{folder}",
            sequence=frame.sequence,
            frame_index=frame.frame_index,
            image=str(frame.path),
            label=str(labels / folder / frame.path.name),
            frame_pattern=frame.pattern,
            frame_step=1,
        )
        for folder in FOLDERS
        for frame in list_frames(root / "frames" / folder)
        if (labels / folder / frame.path.name).exists()
    ]
    print(write_checked_manifest(output, rows, read_classes(root / "classes.csv")))


@DATASETS.register("drives")
@dataclass(frozen=True)
class Drives(DatasetKind):
    """Drives."""

    title = "Drives with labels in colours."
    manifest = manifest

    root: str
    """Folder with frames, colors and classes.csv."""

    def own_splits(self) -> Splits:
        """Return a split for each folder."""
        return Splits.of(*(f"drives-{folder}" for folder in FOLDERS))

    def own_folders(self, place: Place) -> tuple[list[str], dict[str, Any]]:
        """Return the whole data set."""
        return [self.path(place, "root")], {}

    def color_labels(self, place: Place) -> dict[str, str]:
        """Return the labels in colours with their classes."""
        root = self.path(place, "root")
        return {"source": f"{root}/colors", "classes": f"{root}/classes.csv"}

    def unknown_colors(self, place: Place) -> str:
        """Return that other colours are ignored."""
        return "ignore"

    def manifest_inputs(self, place: Place) -> dict[str, str | list[str]]:
        """Return the frames and the converted labels."""
        return {"root": self.path(place, "root"), "labels": self.converted_labels(place)}

    def manifest_words(self, place: Place) -> list[str]:
        """Return the words of `arseg manifest drives`."""
        return words("drives", **self.manifest_inputs(place))
