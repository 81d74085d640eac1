# Python of the data rules: where each kind of data set comes from, as files and flags.
import csv
import os
from glob import escape, glob

from arseg.workflow.folders import digest_folders

CITYSCAPES_PACKAGES = [
    "gtFine_trainvaltest",
    "leftImg8bit_trainvaltest",
    "leftImg8bit_sequence_trainvaltest",
]


def datasets_of(*kinds):
    """Write a wildcard constraint: the data sets of some kinds, or what no name can be."""
    names = [name for name, dataset in DATASETS.items() if dataset["kind"] in kinds]
    return "|".join(names) or "(?!)"


CITYSCAPES_FOLDERS = ["gtFine", "leftImg8bit", "leftImg8bit_sequence"]


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
    return DATASETS[dataset]["source"]


def sheet_of(dataset, key):
    """Read a CSV sheet that a data set's source names."""
    with open(source_path(dataset, key), newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


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
        return {**sheets, "lists": lists_of_sheet(sheets["splits"])}
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


def own_folders(dataset):
    """Name the user's folders that a data set is read from, and what counts in them, as `digest_folders` takes it."""
    kind = DATASETS[dataset]["kind"]
    if kind == "frames":
        root = source_path(dataset, "root")
        folders = {
            os.path.join(root, rule.get(key) or ".")
            for rule in sheet_of(dataset, "splits")
            for key in ("images", "labels")
        }
        return {"folders": folders, "recursive": False}
    if kind == "cityscapes" and source_of(dataset)["root"]:
        root = source_path(dataset, "root")
        folders = [os.path.join(root, name) for name in CITYSCAPES_FOLDERS]
        suffixes = ("_labelids.png", "_leftimg8bit.png")
        return {"folders": folders, "suffixes": suffixes}
    if kind == "camvid":
        keys = [
            key for key in ("stills", "labels", "package") if source_of(dataset)[key]
        ]
        return {"folders": [source_path(dataset, key) for key in keys]}
    return {"folders": []}


def lists_of_sheet(splits):
    """Name the lists that a splits sheet refers to: the manifest changes when they do."""
    with open(splits, newline="", encoding="utf-8") as file:
        lists = {rule["list"] for rule in csv.DictReader(file) if rule.get("list")}
    paths = [os.path.join(os.path.dirname(splits), name) for name in sorted(lists)]
    # What is missing is left to `arseg manifest`, which names the line of the sheet.
    return [path for path in paths if os.path.exists(path)]


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
    if DATASETS[wildcards.dataset]["source"]["root"]:
        return source_path(wildcards.dataset, "root")
    return f"resources/{wildcards.dataset}/data"
