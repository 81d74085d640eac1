"""Cityscapes in a configuration and in the workflow."""

from dataclasses import dataclass
from typing import Any

from arseg.datasets.kind import DATASETS, DatasetKind, Place, Splits, words

PACKAGES = ["gtFine_trainvaltest", "leftImg8bit_trainvaltest", "leftImg8bit_sequence_trainvaltest"]
FOLDERS = ("gtFine", "leftImg8bit", "leftImg8bit_sequence")
FILES = ("_labelids.png", "_leftimg8bit.png")


@DATASETS.register("cityscapes")
@dataclass(frozen=True)
class Cityscapes(DatasetKind):
    """Cityscapes."""

    title = "Cityscapes."
    manifest = "arseg.cli.manifest:cityscapes"
    rules = "workflow/rules/cityscapes.smk"

    root: str = ""
    """Your folder with gtFine and leftImg8bit_sequence; empty downloads them with your login."""

    def own_splits(self) -> Splits:
        """Return train and val; the labels of its own test split are not public."""
        return Splits.of("train", "val", "val")

    def own_folders(self, place: Place) -> tuple[list[str], dict[str, Any]]:
        """Return the folders of frames and label ids, if they are the user's."""
        if not self.root:
            return [], {}
        return [f"{self.path(place, 'root')}/{name}" for name in FOLDERS], {"suffixes": FILES}

    def data(self, place: Place) -> str:
        """Return the folder of Cityscapes: the user's, or the one that is downloaded and unpacked."""
        return self.path(place, "root") if self.root else f"{place.resources}/data"

    def manifest_inputs(self, place: Place) -> dict[str, str | list[str]]:
        """Return the folders of frames and train ids, and that they were verified."""
        labels, verified = f"{place.resources}/labels", f"{place.resources}/verified.json"
        return {"root": self.data(place), "labels": labels, "verified": verified}

    def manifest_words(self, place: Place) -> list[str]:
        """Return the words of `arseg manifest cityscapes`."""
        return words("cityscapes", root=self.data(place), labels=f"{place.resources}/labels")
