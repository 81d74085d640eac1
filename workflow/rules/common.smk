# Python of the workflow: from configuration items to file names and flags. That of the data sets is in sources.smk.
import csv
import os
import shlex
from functools import cache

ENCODING_NAMES = sorted({name for table in ENCODINGS.values() for name in table})


wildcard_constraints:
    dataset="|".join(DATASETS),
    split="[A-Za-z0-9_-]+",
    encoding="|".join(ENCODING_NAMES),
    shard=r"\d+",
    distance=r"\d{2}",
    backbone="psp18|psp18-cityscapes|bise18|tiny|small",
    mode="hr|lr|ar",
    scale=r"\d+",
    seed=r"\d+",


@cache
def digest_of(dataset):
    """Digest the user's folders that a data set is read from."""
    return digest_folders(**own_folders(dataset))


def files_digest(wildcards):
    """Make what changes in the user's folders change a rule's parameters.

    A job's own process plans nothing and records nothing: there it need not be known.
    """
    return digest_of(wildcards.dataset) if workflow.is_main_process else ""


def encode_flags(wildcards):
    """Write the flags of `arseg clips` for an encoding; what is not set is left to the command."""
    settings = ENCODINGS[wildcards.dataset][wildcards.encoding]
    flags = {name: value for name, value in settings.items() if value not in (None, "")}
    return " ".join(filter(None, (as_flags(flags), ffmpeg_flags(wildcards))))


def ffmpeg_flags(wildcards):
    return as_flags(
        {"ffmpeg": expanded(config["ffmpeg"], "ffmpeg")} if config["ffmpeg"] else {}
    )


def native_reader(wildcards):
    """Name the record of the program that reads HEVC; other codecs do without, and old clips need no newer one."""
    if ENCODINGS[wildcards.dataset][wildcards.encoding]["codec"] != "hevc":
        return []
    return ancient(rules.build_native_reader.output)


def training_constants(phase, wildcards):
    """Collect the constants of a training: the data set's, and the exceptions that apply."""
    dataset = DATASETS[wildcards.dataset]
    constants = dict(dataset["training"])
    for override in dataset["training_overrides"]:
        if (
            override.get("phase", phase) == phase
            and override.get("backbone", wildcards.backbone) == wildcards.backbone
        ):
            constants |= override["set"]
    if phase == 1:  # a constant of phase 2 must not train phase 1 again
        constants = {
            name: value
            for name, value in constants.items()
            if name not in PHASE2_CONSTANTS
        }
    return constants


def network_threads(most):
    """Make the function that gives a job with a network its cores: the small ones leave a second core idle."""
    return lambda wildcards: 1 if wildcards.backbone in ("tiny", "small") else most


def loader_workers(wildcards, threads):
    """Say how many processes load samples: on one core they would only take the network's turn."""
    return threads if threads > 1 else 0


def initial_weights(phase):
    """Make the input function that names the file a backbone starts from, if it starts from one."""

    def weights(wildcards):
        constants = training_constants(phase, wildcards)
        source = constants.get("initial_weights", "imagenet")
        if source == "none" or constants.get("start_from") == "hr":
            return []
        if source == "imagenet":
            return [rules.fetch_imagenet_weights.output[0]]
        key = f"datasets.{wildcards.dataset}.training.initial_weights"
        return [existing(expanded(source, key), key)]

    return weights


def training_flags(phase):
    """Make the params function of a training rule."""
    weights = initial_weights(phase)

    # It takes no `input`: Snakemake does not compare what it derives from that.
    def flags(wildcards):
        constants = training_constants(phase, wildcards)
        for path in weights(wildcards):
            constants["initial_weights"] = path
        return as_flags(constants | {"original_quirks": config["original_quirks"]})

    return flags


def as_flags(options):
    """Write options as command-line flags, in a fixed order so that equal options make equal commands."""
    words = []
    for name, value in sorted(options.items()):
        flag = f"--{name.replace('_', '-')}"
        if value is False:
            flag = f"--no-{name.replace('_', '-')}"
        values = (
            value
            if isinstance(value, list)
            else [] if isinstance(value, bool) else [value]
        )
        words += [flag, *(shlex.quote(str(item)) for item in values)]
    return " ".join(words)


def clip_stores(dataset, encoding, role, distances=None):
    """Name the clip stores of a split, at all distances for the test split, at the largest for the others."""
    splits = DATASETS[dataset]["splits"]
    last = ENCODINGS[dataset][encoding]["gop"] - 1
    kind = "all-distances" if splits[role] == splits["test"] else "last-distance"
    return [
        f"{RESULTS}/clips/{dataset}/{encoding}/{kind}/{splits[role]}/shard{shard}/d{distance:02d}.h5"
        for shard in range(DATASETS[dataset]["shards"])
        for distance in ([last] if distances is None else distances)
    ]


def clip_outputs(stores):
    """Name what the jobs that make clip stores declare: the folders of those with all distances, the others alone."""
    return sorted(
        {
            os.path.dirname(path) if "/all-distances/" in path else path
            for path in stores
        }
    )


def training_stores(role):
    """Make the function that names the stores of one of phase 2's splits: clips at the largest distance."""

    def stores(wildcards):
        return clip_stores(wildcards.dataset, wildcards.encoding, role)

    return stores


def test_stores(wildcards):
    distances = range(ENCODINGS[wildcards.dataset][wildcards.encoding]["gop"])
    return clip_stores(wildcards.dataset, wildcards.encoding, "test", distances)


def last_distance_stores(wildcards):
    """Name the test clips at the largest distance, where AR-Seg has it hardest."""
    return clip_stores(wildcards.dataset, wildcards.encoding, "test")


def outputs_with(stores):
    """Make the input function that names what the jobs of some stores declare."""

    def outputs(wildcards):
        paths = stores(wildcards)
        folders = clip_outputs(paths)
        for path in paths:
            # Snakemake sees the folder of a job, not what is in it.
            folder = os.path.dirname(path)
            if folder in folders and os.path.isdir(folder) and not os.path.exists(path):
                if os.path.exists(f"{folder}/.snakemake_timestamp"):
                    raise WorkflowError(
                        f"{path}: is missing from a finished folder. Delete the folder, and it is made again: rm -r {folder}"
                    )
        return folders

    return outputs


def split_of(role):
    """Make the params function that names the split which serves a purpose."""

    def split(wildcards):
        return DATASETS[wildcards.dataset]["splits"][role]

    return split


def hr_weights(wildcards):
    return f"{RESULTS}/phase1/{wildcards.dataset}/{wildcards.backbone}/scale100/seed{wildcards.seed}/weights.pt"


def lr_weights(wildcards):
    return f"{RESULTS}/phase1/{wildcards.dataset}/{wildcards.backbone}/scale{wildcards.scale}/seed{wildcards.seed}/weights.pt"


def ar_weights(wildcards):
    branch = f"{wildcards.dataset}/{wildcards.encoding}/{wildcards.backbone}/scale{wildcards.scale}/seed{wildcards.seed}"
    return f"{RESULTS}/phase2/{branch}/weights.pt"


def evaluated_weights(wildcards):
    """Name the checkpoints that a mode needs: the HR branch, the LR baseline, or both branches of AR-Seg."""
    return {
        "hr": lambda: {"hr": hr_weights(wildcards)},
        "lr": lambda: {"lr": lr_weights(wildcards)},
        "ar": lambda: {"hr": hr_weights(wildcards), "lr": ar_weights(wildcards)},
    }[wildcards.mode]()


def runs():
    """All (dataset, encoding, backbone, seed) that are evaluated."""
    return [
        (dataset, encoding, backbone, seed)
        for dataset, settings in DATASETS.items()
        for encoding in ENCODINGS[dataset]
        for backbone in settings["backbones"]
        for seed in config["seeds"]
    ]


def modes_and_scales():
    return [
        (mode, scale)
        for mode in config["modes"]
        for scale in ([100] if mode == "hr" else SCALES)
    ]


def evaluations():
    return [
        f"{RESULTS}/evaluation/{dataset}/{encoding}/{backbone}/{mode}/scale{scale}/seed{seed}.npz"
        for dataset, encoding, backbone, seed in runs()
        for mode, scale in modes_and_scales()
    ]


def published_runs():
    """Runs that were published, as far as names tell: their tables and curves are put beside the published ones."""
    with open(PUBLISHED, newline="", encoding="utf-8") as file:
        published = {
            (
                row["dataset"],
                row["backbone"],
                int(row["gop"]),
                float(row["bitrate_mbps"]),
            )
            for row in csv.DictReader(file)
            if row["mode"].lower() in config["modes"]
            and (row["mode"] == "HR" or float(row["scale"]) in config["scales"])
        }
    return [
        (dataset, encoding, backbone)
        for dataset, encoding, backbone, _ in runs()
        for settings in [ENCODINGS[dataset][encoding]]
        if settings["rate"].endswith("k")
        and encoding == EncodeConfig(rate=settings["rate"], gop=settings["gop"]).name
        and DATASETS[dataset]["splits"]["test"] == PUBLISHED_SPLITS.get(dataset)
        and (
            dataset,
            published_backbone(dataset, backbone),
            settings["gop"],
            int(settings["rate"][:-1]) / 1000,
        )
        in published
    ]


def comparisons():
    """The comparison with published values, if there are any."""
    return rules.compare_with_published.output if published_runs() else []


def figures():
    """Curves for the whole experiment and, if all modes are there, one panel of pictures per run."""
    paths = [
        f"{RESULTS}/figures/miou_by_distance.png",
        f"{RESULTS}/figures/miou_by_cost.png",
    ]
    if set(config["modes"]) == {"hr", "lr", "ar"}:
        paths += [
            f"{RESULTS}/figures/panel/{dataset}/{encoding}/{backbone}/scale{round(config['panel_scale'] * 100)}/seed{seed}.png"
            for dataset, encoding, backbone, seed in runs()
        ]
    return paths


def all_clips():
    """Everything that jobs with clips make for the experiment."""
    paths = set()
    for dataset, encodings in ENCODINGS.items():
        for encoding in encodings:
            for role in ("test", "phase2_train", "phase2_val"):
                if role == "test" or "ar" in config["modes"]:
                    paths |= {*clip_outputs(clip_stores(dataset, encoding, role))}
    return sorted(paths)


def all_networks():
    """Every network that the evaluations need."""
    names = set()
    for dataset, encoding, backbone, seed in runs():
        for mode, scale in modes_and_scales():
            phase1 = (
                f"{RESULTS}/phase1/{dataset}/{backbone}/scale{{}}/seed{seed}/weights.pt"
            )
            if mode == "ar":
                names |= {
                    phase1.format(100),
                    f"{RESULTS}/phase2/{dataset}/{encoding}/{backbone}/scale{scale}/seed{seed}/weights.pt",
                }
            else:
                names.add(phase1.format(scale))
    return sorted(names)


def network_flags(wildcards, input):
    return as_flags(
        {name: input[name] for name in ("hr", "lr") if name in input.keys()}
    )
