# The configuration, checked before anything is planned.
from pathlib import Path

from snakemake.exceptions import WorkflowError

from arseg.errors import ConfigError
from arseg.schema import check_config, read_schema
from arseg.stages import STAGES


def checked_config(raw):
    """Complete the configuration, or stop with one line per problem instead of a traceback."""
    source = ", ".join(str(path) for path in workflow.configfiles) or "config"
    try:
        complete = check_config(
            raw,
            read_schema(Path(workflow.basedir, "workflow/schemas/config.schema.yaml")),
            source,
        )
        for index, scale in enumerate(complete["scales"]):
            if abs(scale * 100 - round(scale * 100)) > 1e-9:
                raise ConfigError(
                    f"{source}: scales[{index}]: {scale} is not a whole percentage, like 0.45"
                )
        if {"hr", "lr", "ar"} == {*complete["modes"]} and complete[
            "panel_scale"
        ] not in complete["scales"]:
            raise ConfigError(
                f"{source}: panel_scale: {complete['panel_scale']} is none of scales {complete['scales']}"
            )
        return complete
    except ConfigError as error:
        raise WorkflowError(str(error)) from None


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
SCALES = [round(scale * 100) for scale in config["scales"]]
