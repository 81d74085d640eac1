# The configuration, checked before anything is planned, and the table of encodings that it asks for.
from dataclasses import asdict
from itertools import product
from pathlib import Path

from snakemake.exceptions import WorkflowError

from arseg.config import (
    PUBLISHED_SPLITS,
    EncodeConfig,
    encoding_name,
    parse_fps,
    plain_fps,
    published_backbone,
)
from arseg.errors import ConfigError
from arseg.schema import check_config, read_schema
from arseg.stages import STAGES

CONFIG_FILES = ", ".join(str(path) for path in workflow.configfiles) or "config"


def checked_config(raw):
    """Complete the configuration, or stop with one line per problem instead of a traceback."""
    try:
        complete = check_config(
            raw,
            read_schema(Path(workflow.basedir, "workflow/schemas/config.schema.yaml")),
            CONFIG_FILES,
        )
        for index, scale in enumerate(complete["scales"]):
            if abs(scale * 100 - round(scale * 100)) > 1e-9:
                raise ConfigError(
                    f"{CONFIG_FILES}: scales[{index}]: {scale} is not a whole percentage, like 0.45"
                )
        if {"hr", "lr", "ar"} == {*complete["modes"]} and complete[
            "panel_scale"
        ] not in complete["scales"]:
            raise ConfigError(
                f"{CONFIG_FILES}: panel_scale: {complete['panel_scale']} is none of scales {complete['scales']}"
            )
        for name, dataset in complete["datasets"].items():
            if "splits" not in dataset:
                dataset["splits"] = splits_of(dataset)
        return complete
    except ConfigError as error:
        raise WorkflowError(str(error)) from None


def splits_of(dataset):
    """Name the manifest splits that serve each purpose in the data sets whose splits are their own."""
    kind = dataset["kind"]
    if kind == "cityscapes":  # its test labels are not public
        train, val, test = "train", "val", "val"
    elif kind == "camvid":
        package = dataset["source"]["split"]
        train, val, test = (f"{package}-{name}" for name in ("train", "val", "test"))
    else:
        raise ConfigError(
            f"{CONFIG_FILES}: splits: this key is missing, and data sets of the kind {kind} have none of their own"
        )
    return {
        "phase1_train": train,
        "phase1_val": val,
        "phase2_train": train,
        "phase2_val": val,
        "test": test,
    }


config = checked_config(config)

DATASETS = config["datasets"]
NEEDS_GPU = int(config["device"] != "cpu")
RESULTS = f"results/{config['name']}"
LOGS = f"logs/{config['name']}"
BENCHMARKS = f"{RESULTS}/benchmarks"
PHASE2_CONSTANTS = {
    "unfused_epochs",
    "feature_similarity",
    "warp_alignment",
    "start_from",
}
PUBLISHED = str(Path(workflow.basedir, "config/published-miou.csv"))
SCALES = [round(scale * 100) for scale in config["scales"]]


def encodings_of(name, dataset):
    """List the ways in which a data set is compressed: settings of `arseg clips`, by the name in all paths."""
    settings = {"tail": dataset["clip_tail"], "subpixel": config["motion"]["subpixel"]}
    table = {}
    for codec, rate, gop, preset in product(
        config["codecs"], dataset["rates"], config["gops"], dataset["presets"]
    ):
        try:
            fps = parse_fps(dataset["fps"])
        except ConfigError as error:
            raise ConfigError(f"datasets.{name}.{error}") from None
        try:
            encode = EncodeConfig(
                codec=codec,
                rate=rate,
                gop=gop,
                fps=fps,
                preset=preset,
                references=config["encoder"].get("references"),
                parameters=config["encoder"]["parameters"][codec],
            )
        except ConfigError as error:
            raise ConfigError(f"encoder.{error}") from None
        encoding = encoding_name(encode, subpixel=settings["subpixel"])
        table[encoding] = asdict(encode) | settings | {"fps": plain_fps(encode.fps)}
    return table


try:
    ENCODINGS = {
        name: encodings_of(name, dataset) for name, dataset in DATASETS.items()
    }
except ConfigError as error:
    raise WorkflowError(f"{CONFIG_FILES}: {error}") from None
