"""Anyone's folders of frames and index labels in a configuration and in the workflow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arseg.datasets.kind import DATASETS, DatasetKind, Place, words


@DATASETS.register("frames")
@dataclass(frozen=True)
class Frames(DatasetKind):
    """Your own folders of frames and index labels ([Own frames](../docs/own-frames.md))."""

    title = "Your own folders of frames and index labels."
    manifest = "arseg.cli.manifest:frames"

    root: str
    """Folder that the folders in the splits sheet lie in; may name an environment variable (`$ARSEG_CAMVID`)."""
    classes: str
    """CSV of the classes (index, name, red, green, blue, void)."""
    splits: str
    """CSV of the rules that choose frames for splits."""

    def own_folders(self, place: Place) -> tuple[list[str], dict[str, Any]]:
        """Return the folders that the splits sheet names."""
        root = self.path(place, "root")
        rows = self.sheet(place, "splits", "images", "labels")
        names = sorted({row[key] for row in rows for key in ("images", "labels") if row[key]})
        return [f"{root}/{name}" for name in names], {"recursive": False}

    def manifest_inputs(self, place: Place) -> dict[str, str | list[str]]:
        """Return the two sheets, and the lists of frames that the splits sheet names."""
        splits = self.path(place, "splits")
        names = sorted({row["list"] for row in self.sheet(place, "splits", "list") if row["list"]})
        # What is missing is left to `arseg manifest`, which names the line of the sheet.
        lists = [str(path) for path in (Path(splits).parent / name for name in names) if path.exists()]
        return {"classes": self.path(place, "classes"), "splits": splits, "lists": lists}

    def manifest_words(self, place: Place) -> list[str]:
        """Return the words of `arseg manifest frames`."""
        return words("frames", **{key: self.path(place, key) for key in ("root", "classes", "splits")})
