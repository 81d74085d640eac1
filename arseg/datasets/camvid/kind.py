"""CamVid in a configuration and in the workflow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from arseg.datasets.kind import DATASETS, DatasetKind, Place, Splits, words
from arseg.errors import ConfigError

STILLS = "701_StillsRaw_full.zip"
LABELS = "LabeledApproved_full.zip"
KAGGLE = "camvid-kaggle.zip"


@DATASETS.register("camvid")
@dataclass(frozen=True)
class CamVid(DatasetKind):
    """CamVid; what is not given of package, stills, labels and videos is downloaded."""

    title = "CamVid."
    manifest = "arseg.cli.manifest:camvid"
    rules = "workflow/rules/camvid.smk"

    split: Literal["kaggle", "official"] = "kaggle"
    """Division into train, val and test: kaggle (369/100/232, the paper's) or official (367/101/233).

    See [Reproduce the paper](../docs/reproduce-paper.md#two-splits-of-camvid)."""
    package: str = ""
    """The Kaggle package that you have, a zip archive or its unpacked folder."""
    stills: str = ""
    """The annotated stills that you have, a zip archive or a folder."""
    labels: str = ""
    """The colour labels that you have, a zip archive or a folder."""
    videos: str = ""
    """Folder of the videos that you have; what it lacks is downloaded."""
    files: str = "config/camvid-files.csv"
    """CSV of the files to download (file, url, sha256, bytes); several rows of one file are mirrors."""
    sequences: str = "config/camvid-sequences.csv"
    """CSV that relates the numbers of stills to those of decoded frames."""

    def own_splits(self) -> Splits:
        """Return the splits of the chosen division."""
        return Splits.of(*(f"{self.split}-{name}" for name in ("train", "val", "test")))

    def own_folders(self, place: Place) -> tuple[list[str], dict[str, Any]]:
        """Return what the user has of package, stills and labels."""
        return [self.path(place, key) for key in ("package", "stills", "labels") if getattr(self, key)], {}

    def files_sheet(self, place: Place) -> str:
        """Return the sheet of what can be downloaded."""
        return self.path(place, "files")

    def sequences_sheet(self, place: Place) -> str:
        """Return the sheet of the videos."""
        return self.path(place, "sequences")

    def annotated_stills(self, place: Place) -> str:
        """Return the annotated stills, see `_annotations`."""
        return self._annotations(place, "stills", STILLS)

    def annotated_labels(self, place: Place) -> str:
        """Return the colour labels, see `_annotations`."""
        return self._annotations(place, "labels", LABELS)

    def _annotations(self, place: Place, key: str, archive: str) -> str:
        """Return an archive or a folder: what the user has, or what is downloaded."""
        for own in (key, "package"):
            if getattr(self, own):
                return self.path(place, own)
        return f"{place.resources}/download/{KAGGLE if self.split == 'kaggle' else archive}"

    def video(self, place: Place) -> list[str]:
        """Return the video of a sequence, or the parts of its zip archive: the user's, or what is downloaded.

        A ConfigError says that the user does not have it and the sheet of downloads lacks it.
        """
        sequence = place.wildcards.sequence
        video = self._videos(place)[sequence]
        archive = f"{Path(video).stem}.zip"
        if self.videos:
            folder = Path(self.path(place, "videos"))
            whole = [path for path in (folder / video, folder / archive) if path.exists()]
            if found := whole[:1] or sorted(folder.glob(f"{archive}.*")):
                return [str(path) for path in found]
        names = {row["file"] for row in self.sheet(place, "files", "file")}
        wanted = [video] if video in names else sorted(name for name in names if name.startswith(archive))
        if not wanted:
            raise ConfigError(
                f"datasets.{place.dataset}.source: {video} of sequence {sequence} is neither in the folder 'videos' "
                "nor in the sheet 'files'. Put it there, or add where to download it."
            )
        return [f"{place.resources}/download/{name}" for name in wanted]

    def decoded_frames(self, place: Place) -> list[str]:
        """Return the folders of decoded frames, one for each sequence."""
        return [f"{place.resources}/frames/{sequence}" for sequence in self._videos(place)]

    def _videos(self, place: Place) -> dict[str, str]:
        rows = self.sheet(place, "sequences", "sequence", "video")
        return {row["sequence"]: row["video"] for row in rows}

    def manifest_inputs(self, place: Place) -> dict[str, str | list[str]]:
        """Return frames, labels, stills and the sheet of sequences, and that they were verified."""
        return {
            "labels": f"{place.resources}/labels",
            "verified": f"{place.resources}/verified.json",
            "frames": self.decoded_frames(place),
            "stills": self.annotated_stills(place),
            "sequences": self.sequences_sheet(place),
        }

    def manifest_words(self, place: Place) -> list[str]:
        """Return the words of `arseg manifest camvid`."""
        return words(
            "camvid",
            labels=f"{place.resources}/labels",
            stills=self.annotated_stills(place),
            sequences=self.sequences_sheet(place),
            frames=f"{place.resources}/frames",
            split=self.split,
        )
