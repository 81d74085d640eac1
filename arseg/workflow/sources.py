"""Where each kind of data set comes from: the user's files and folders, and what is downloaded in their place."""

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from snakemake.exceptions import WorkflowError  # type: ignore[import-untyped]

from arseg.workflow.experiment import Experiment
from arseg.workflow.folders import digest_folders
from arseg.workflow.keys import CamVid, Cityscapes, Frames, Source, Synthetic
from arseg.workflow.reading import read_sheet
from arseg.workflow.wildcards import Wildcards

CAMVID_STILLS = "701_StillsRaw_full.zip"
CAMVID_LABELS = "LabeledApproved_full.zip"
CAMVID_KAGGLE = "camvid-kaggle.zip"
CITYSCAPES_PACKAGES = ["gtFine_trainvaltest", "leftImg8bit_trainvaltest", "leftImg8bit_sequence_trainvaltest"]
CITYSCAPES_FOLDERS = ("gtFine", "leftImg8bit", "leftImg8bit_sequence")
CITYSCAPES_FILES = ("_labelids.png", "_leftimg8bit.png")


def expanded(path: str, key: str) -> str:
    """Expand environment variables in a configured path.

    Raises
    ------
    WorkflowError
        If one is not set; the message names the key.
    """
    result = os.path.expandvars(Path(path).expanduser())
    if "$" in result:
        raise WorkflowError(
            f"{key}: {path!r} names an environment variable that is not set. Export it, or write the path."
        )
    return result


def existing(path: str, key: str) -> str:
    """Return a path, or stop with the key's name if there is nothing."""
    if not Path(path).exists():
        raise WorkflowError(f"{key}: {path} does not exist. Correct the path.")
    return path


def lists_of(splits: str) -> list[str]:
    """Return the lists of frames that a splits sheet names; the manifest changes when they do."""
    names = sorted({row["list"] for row in read_sheet(splits, ("list",)) if row["list"]})
    # What is missing is left to `arseg manifest`, which names the line of the sheet.
    paths = [Path(splits).parent / name for name in names]
    return [str(path) for path in paths if path.exists()]


def only(mapping: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return some items of a mapping."""
    return {name: mapping[name] for name in names}


@dataclass(frozen=True)
class Sources:
    """The sources of an experiment's data sets."""

    experiment: Experiment
    watches: bool = True
    """Whether to look for changes in folders. A job's own process plans and records nothing: it need not."""

    digests: dict[str, str] = field(default_factory=dict)
    """Digests by data set: a folder is walked once in a process, for all jobs that read it."""

    def of(self, dataset: str) -> Source:
        """Return the source of a data set."""
        return self.experiment.config.datasets[dataset].source

    def path(self, dataset: str, key: str) -> str:
        """Return a configured path of a data set's source.

        Raises
        ------
        WorkflowError
            If it names an unset environment variable, or nothing is there; the message has the key.
        """
        name = f"datasets.{dataset}.source.{key}"
        return existing(expanded(getattr(self.of(dataset), key), name), name)

    def _sheet(self, dataset: str, key: str, *columns: str) -> list[dict[str, str]]:
        return read_sheet(self.path(dataset, key), columns, f"Or name another sheet: datasets.{dataset}.source.{key}")

    def digest(self, wildcards: Wildcards) -> str:
        """Return a digest of the user's folders that a data set is read from, for the rules that read them."""
        dataset = wildcards.dataset
        if self.watches and dataset not in self.digests:
            folders, options = self.own_folders(dataset)
            self.digests[dataset] = digest_folders(folders, **options)
        return self.digests.get(dataset, "")

    def own_folders(self, dataset: str) -> tuple[list[str], dict[str, Any]]:
        """Return the user's folders that a data set is read from, and which of their files `digest_folders` counts."""
        source = self.of(dataset)
        if isinstance(source, Frames):
            root, rows = (
                self.path(dataset, "root"),
                read_sheet(self.path(dataset, "splits"), ("images", "labels", "list")),
            )
            names = sorted({row[key] for row in rows for key in ("images", "labels") if row.get(key)})
            return [f"{root}/{name}" for name in names], {"recursive": False}
        if isinstance(source, Cityscapes) and source.root:
            root = self.path(dataset, "root")
            return [f"{root}/{name}" for name in CITYSCAPES_FOLDERS], {"suffixes": CITYSCAPES_FILES}
        if isinstance(source, CamVid):
            keys = [key for key in ("package", "stills", "labels") if getattr(source, key)]
            return [self.path(dataset, key) for key in keys], {}
        return [], {}

    def manifest_inputs(self, wildcards: Wildcards) -> dict[str, str | list[str]]:
        """Return the files and folders that a data set's manifest is made from."""
        dataset = wildcards.dataset
        source = self.of(dataset)
        if isinstance(source, Synthetic):  # it is written as anyone's frames and sheets
            return {"root": f"{self.experiment.results}/frames/{dataset}"}
        if isinstance(source, Frames):
            splits = self.path(dataset, "splits")
            return {"classes": self.path(dataset, "classes"), "splits": splits, "lists": lists_of(splits)}
        prepared: dict[str, str | list[str]] = {
            "labels": f"resources/{dataset}/labels",
            "verified": f"resources/{dataset}/verified.json",
        }
        if isinstance(source, Cityscapes):
            return prepared | {"root": self.cityscapes_root(wildcards)}
        return prepared | {
            "frames": self.camvid_frames(wildcards),
            "stills": self.camvid_stills(wildcards),
            "sequences": self.camvid_sequences(wildcards),
        }

    def manifest_words(self, wildcards: Wildcards) -> list[str]:
        """Return the words of `arseg manifest` that say which kind of data set it is, and where."""
        dataset = wildcards.dataset
        source, inputs = self.of(dataset), self.manifest_inputs(wildcards)
        if isinstance(source, Synthetic):
            kind, options = "frames", inputs
        elif isinstance(source, Frames):
            kind, options = "frames", {"root": self.path(dataset, "root")} | only(inputs, "classes", "splits")
        elif isinstance(source, Cityscapes):
            kind, options = "cityscapes", only(inputs, "root", "labels")
        else:
            kind, options = "camvid", only(inputs, "labels", "stills", "sequences")
            options |= {"frames": f"resources/{dataset}/frames", "split": source.split}
        return [kind, *(word for name, value in options.items() for word in (f"--{name}", str(value)))]

    def scenes(self, wildcards: Wildcards) -> dict[str, int]:
        """Return what synthetic scenes are drawn from, with the largest GOP that their videos must have room for."""
        source = self.of(wildcards.dataset)
        assert isinstance(source, Synthetic)
        return asdict(source) | {"gop": max(self.experiment.config.gops)}

    def camvid_files(self, wildcards: Wildcards) -> str:
        """Return the sheet of what can be downloaded of CamVid."""
        return self.path(wildcards.dataset, "files")

    def camvid_sequences(self, wildcards: Wildcards) -> str:
        """Return the sheet of CamVid's videos."""
        return self.path(wildcards.dataset, "sequences")

    def camvid_stills(self, wildcards: Wildcards) -> str:
        """Return the annotated stills, an archive or a folder: what the user has, or what is downloaded."""
        return self._camvid_pictures(wildcards.dataset, "stills", CAMVID_STILLS)

    def camvid_labels(self, wildcards: Wildcards) -> str:
        """Return the colour labels, an archive or a folder: what the user has, or what is downloaded."""
        return self._camvid_pictures(wildcards.dataset, "labels", CAMVID_LABELS)

    def _camvid_pictures(self, dataset: str, key: str, archive: str) -> str:
        source = self.of(dataset)
        assert isinstance(source, CamVid)
        for own in (key, "package"):
            if getattr(source, own):
                return self.path(dataset, own)
        return self._camvid_download(dataset, CAMVID_KAGGLE if source.split == "kaggle" else archive)

    def _camvid_download(self, dataset: str, name: str) -> str:
        return f"resources/{dataset}/download/{name}"

    def camvid_video(self, wildcards: Wildcards) -> list[str]:
        """Return the video of a sequence, or the parts of its zip archive: the user's, or what is downloaded.

        Raises
        ------
        WorkflowError
            If the user does not have it and the sheet of downloads lacks it.
        """
        dataset, source = wildcards.dataset, self.of(wildcards.dataset)
        assert isinstance(source, CamVid)
        rows = self._sheet(wildcards.dataset, "sequences", "sequence", "video")
        video = {row["sequence"]: row["video"] for row in rows}[wildcards.sequence]
        archive = f"{Path(video).stem}.zip"
        if source.videos:
            folder = Path(self.path(dataset, "videos"))
            whole = [path for path in (folder / video, folder / archive) if path.exists()]
            if found := whole[:1] or sorted(folder.glob(f"{archive}.*")):
                return [str(path) for path in found]
        names = {row["file"] for row in self._sheet(wildcards.dataset, "files", "file")}
        wanted = [video] if video in names else sorted(name for name in names if name.startswith(archive))
        if not wanted:
            raise WorkflowError(
                f"datasets.{dataset}.source: {video} of sequence {wildcards.sequence} is neither in the folder "
                "'videos' nor in the sheet 'files'. Put it there, or add where to download it."
            )
        return [self._camvid_download(dataset, name) for name in wanted]

    def camvid_frames(self, wildcards: Wildcards) -> list[str]:
        """Return the folders of decoded frames, one for each sequence."""
        rows = self._sheet(wildcards.dataset, "sequences", "sequence", "video")
        return [f"resources/{wildcards.dataset}/frames/{row['sequence']}" for row in rows]

    def cityscapes_root(self, wildcards: Wildcards) -> str:
        """Return the folder of Cityscapes: the user's, or the one that is downloaded and unpacked."""
        source = self.of(wildcards.dataset)
        assert isinstance(source, Cityscapes)
        return self.path(wildcards.dataset, "root") if source.root else f"resources/{wildcards.dataset}/data"
