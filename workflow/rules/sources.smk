# Python of the data rules: where each kind of data set comes from, as files and flags.
import csv
import os
from glob import escape, glob
from pathlib import Path

from arseg.data.sheets import read_sheet
from arseg.errors import DataError

CAMVID_SOURCE = {
    "split": "kaggle",
    "files": "config/camvid-files.csv",
    "sequences": "config/camvid-sequences.csv",
    "package": "",
    "stills": "",
    "labels": "",
    "videos": "",
}
CITYSCAPES_PACKAGES = [
    "gtFine_trainvaltest",
    "leftImg8bit_trainvaltest",
    "leftImg8bit_sequence_trainvaltest",
]


def datasets_of(*kinds):
    """Write a wildcard constraint: the data sets of some kinds, or what no name can be."""
    names = [name for name, dataset in DATASETS.items() if dataset["kind"] in kinds]
    return "|".join(names) or "(?!)"


def expanded(path, key):
    """Expand environment variables in a configured path; an unset one is an error that names the key."""
    result = os.path.expandvars(os.path.expanduser(path))
    if "$" in result:
        raise WorkflowError(
            f"{key}: {path!r} names an environment variable that is not set. Export it, or write the path."
        )
    return result


def existing(path, key):
    """Give a path back, or stop with the key's name if there is nothing."""
    if not os.path.exists(path):
        raise WorkflowError(f"{key}: {path} does not exist. Correct the path.")
    return path


def source_path(dataset, key):
    """Expand a configured path of a data set's source; it must exist."""
    name = f"datasets.{dataset}.source.{key}"
    return existing(expanded(source_of(dataset)[key], name), name)


def source_of(dataset):
    """Complete the source of a data set."""
    settings = DATASETS[dataset]
    return (CAMVID_SOURCE if settings["kind"] == "camvid" else {}) | settings["source"]


def sheet_of(dataset, key):
    """Read a CSV sheet that a data set's source names."""
    columns = {"sequences": ["sequence", "video"], "files": ["file"]}[key]
    name = f"datasets.{dataset}.source.{key}"
    try:
        rows = read_sheet(
            Path(source_path(dataset, key)), columns, f"Or name another sheet: {name}"
        )
    except DataError as error:
        raise WorkflowError(str(error)) from None
    return [row.cells for row in rows]


def synthesize_flags(wildcards):
    return as_flags(
        DATASETS[wildcards.dataset]["source"] | {"gop": max(config["gops"])}
    )


def manifest_source(wildcards):
    """Name the files and folders that a data set's manifest is made from."""
    dataset = wildcards.dataset
    kind = DATASETS[dataset]["kind"]
    if kind == "synthetic":
        return {"root": f"{RESULTS}/frames/{dataset}"}
    if kind == "frames":
        sheets = {key: source_path(dataset, key) for key in ("classes", "splits")}
        root = source_path(dataset, "root")
        return {**sheets, "chosen": files_of_sheet(sheets["splits"], root)}
    prepared = {
        "labels": f"resources/{dataset}/labels",
        "verified": f"resources/{dataset}/verified.json",
    }
    if kind == "cityscapes":
        return {**prepared, "root": cityscapes_root(wildcards)}
    return {
        **prepared,
        "frames": camvid_frames(wildcards),
        "stills": camvid_pictures("stills")(wildcards),
        "sequences": source_path(dataset, "sequences"),
    }


def files_of_sheet(splits, root):
    """Name the folders and lists that a splits sheet refers to: the manifest changes when they do."""
    with open(splits, newline="", encoding="utf-8") as file:
        rules = list(csv.DictReader(file))
    paths = {
        os.path.join(root, rule.get(key) or ".")
        for rule in rules
        for key in ("images", "labels")
    }
    paths |= {
        os.path.join(os.path.dirname(splits), rule["list"])
        for rule in rules
        if rule.get("list")
    }
    # What is missing is left to `arseg manifest`, which names the line of the sheet.
    return sorted(path for path in paths if os.path.exists(path))


def manifest_command(wildcards):
    """Write kind and flags of `arseg manifest`."""
    dataset = wildcards.dataset
    kind = DATASETS[dataset]["kind"]
    source = manifest_source(wildcards)
    if kind == "synthetic":  # it is written as anyone's frames and sheets
        return f"frames {as_flags(source)}"
    if kind == "frames":
        flags = {"root": source_path(dataset, "root")}
        flags |= {key: source[key] for key in ("classes", "splits")}
        return f"frames {as_flags(flags)}"
    if kind == "cityscapes":
        return (
            f"cityscapes {as_flags({key: source[key] for key in ('root', 'labels')})}"
        )
    flags = {key: source[key] for key in ("labels", "stills", "sequences")}
    flags |= {
        "frames": f"resources/{dataset}/frames",
        "split": source_of(dataset)["split"],
    }
    return f"camvid {as_flags(flags)}"


def camvid_file(dataset, name):
    """Name the place to which a file of CamVid is downloaded."""
    return f"resources/{dataset}/download/{name}"


def camvid_pictures(key):
    """Make the input function that names the stills or the labels: what the user has, or what is downloaded."""
    archive = {
        "stills": "701_StillsRaw_full.zip",
        "labels": "LabeledApproved_full.zip",
    }[key]

    def pictures(wildcards):
        dataset = wildcards.dataset
        source = source_of(dataset)
        if source[key]:
            return source_path(dataset, key)
        if source["package"]:
            return source_path(dataset, "package")
        if source["split"] == "kaggle":
            return camvid_file(dataset, "camvid-kaggle.zip")
        return camvid_file(dataset, archive)

    return pictures


def camvid_video(wildcards):
    """Name the video of a sequence, or the parts of the zip archive that it is in: the user's, or downloaded ones."""
    dataset = wildcards.dataset
    video = {row["sequence"]: row["video"] for row in sheet_of(dataset, "sequences")}[
        wildcards.sequence
    ]
    archive = f"{os.path.splitext(video)[0]}.zip"
    if source_of(dataset)["videos"]:
        folder = source_path(dataset, "videos")
        own = [
            path
            for path in (os.path.join(folder, video), os.path.join(folder, archive))
            if os.path.exists(path)
        ]
        if found := own[:1] or sorted(glob(f"{escape(folder)}/{archive}.*")):
            return found
    names = {row["file"] for row in sheet_of(dataset, "files")}
    wanted = (
        [video]
        if video in names
        else sorted(name for name in names if name.startswith(archive))
    )
    if not wanted:
        raise WorkflowError(
            f"datasets.{dataset}.source: {video} of sequence {wildcards.sequence} is neither in the folder 'videos' "
            "nor in the sheet 'files'. Put it there, or add where to download it."
        )
    return [camvid_file(dataset, name) for name in wanted]


def camvid_frames(wildcards):
    """Name the folders of decoded frames, one for each sequence."""
    return [
        f"resources/{wildcards.dataset}/frames/{row['sequence']}"
        for row in sheet_of(wildcards.dataset, "sequences")
    ]


def cityscapes_root(wildcards):
    """Name the folder of Cityscapes: the user's, or the one that is downloaded and unpacked."""
    if DATASETS[wildcards.dataset]["source"].get("root"):
        return source_path(wildcards.dataset, "root")
    return f"resources/{wildcards.dataset}/data"
