"""What single jobs read, write and are told, as functions of their wildcards: inputs, parameters, threads.

Functions for parameters take no `input`: Snakemake does not compare what it derives from that.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakemake.exceptions import WorkflowError  # type: ignore[import-untyped]

from arseg.codecs import HEVC_READER, codecs
from arseg.config import existing, expanded
from arseg.networks import name_of, networks, own_file
from arseg.workflow.experiment import (
    ENCODER_WEIGHTS,
    IMAGENET_WEIGHTS,
    NATIVE_READER,
    Experiment,
    Wildcards,
    clip_outputs,
)
from arseg.workflow.reading import told_by_snakemake

Options = dict[str, Any]
"""Values of a command's options: numbers and texts, lists of them, or whole flags as lists of words."""


@dataclass(frozen=True)
class Jobs:
    """The jobs of an experiment: methods that take wildcards, and those that return a function of them."""

    experiment: Experiment

    def num_shards(self, wildcards: Wildcards) -> int:
        """Return into how many jobs the clips of a split are divided."""
        return self.experiment.config.datasets[wildcards.dataset].shards

    def encoding(self, wildcards: Wildcards) -> Options:
        """Return how clips are made; what the encoder decides by default is an empty list."""
        encoding = self.experiment.encodings[wildcards.dataset][wildcards.encoding]
        return encoding.to_dict() | {
            "references": flag("references", encoding.references),
            "parameters": flag("parameters", encoding.parameters),
            "subpixel": switch("subpixel", encoding.subpixel),
        }

    @told_by_snakemake()
    def ffmpeg(self, wildcards: Wildcards) -> list[str]:
        """Return the flag that names FFmpeg, if the configuration does."""
        path = self.experiment.config.ffmpeg
        return flag("ffmpeg", path and expanded(path, "ffmpeg"))

    @told_by_snakemake()
    def native_source(self, wildcards: Wildcards) -> list[str]:
        """Return the flag that names the source of the HEVC reader, if the configuration does."""
        path = self.experiment.config.native_source
        return flag("source", path and expanded(path, "native_source"))

    def native_reader(self, wildcards: Wildcards) -> list[str]:
        """Return the record of the program that reads HEVC, which other codecs do without."""
        codec = codecs.get(self.experiment.encodings[wildcards.dataset][wildcards.encoding].codec)
        return [NATIVE_READER] if codec.prepare == HEVC_READER else []

    def split(self, role: str) -> Callable[[Wildcards], str]:
        """Return a function: the split of the manifest that serves a role, which is a field of `Splits`."""
        return lambda wildcards: getattr(self.experiment.splits(wildcards.dataset), role)

    def stores(self, role: str, *, every_distance: bool = False) -> Callable[[Wildcards], list[str]]:
        """Return a function: the clip stores of a split, as `Experiment.clip_stores` chooses them."""
        return lambda wildcards: self.experiment.clip_stores(
            wildcards.dataset, wildcards.encoding, role, name_of(wildcards.backbone), every_distance=every_distance
        )

    def clips(self, role: str, *, every_distance: bool = False) -> Callable[[Wildcards], list[str]]:
        """Return a function: what the jobs that make these stores declare."""
        stores = self.stores(role, every_distance=every_distance)
        return lambda wildcards: declared(stores(wildcards))

    def training(self, phase: int) -> Callable[[Wildcards], Options]:
        """Return a function: the constants of a training."""

        def answer(wildcards: Wildcards) -> Options:
            constants = self.experiment.constants(phase, wildcards.dataset, name_of(wildcards.backbone))
            for path in self.initial_weights(phase)(wildcards):
                constants["initial_weights"] = path
            constants["random_scales"] = [*constants["random_scales"]]
            constants["class_weights"] = flag("class-weights", constants["class_weights"])
            constants["original_quirks"] = self.experiment.config.original_quirks
            return {
                name: switch(name, value) if isinstance(value, bool) else value for name, value in constants.items()
            }

        return answer

    def initial_weights(self, phase: int) -> Callable[[Wildcards], list[str]]:
        """Return a function: the file that a backbone starts from, if it starts from one."""

        @told_by_snakemake()
        def answer(wildcards: Wildcards) -> list[str]:
            constants = self.experiment.constants(phase, wildcards.dataset, name_of(wildcards.backbone))
            source = constants["initial_weights"]
            if source == "none" or constants.get("start_from") == "hr":
                return []
            if source == "imagenet":
                own = name_of(wildcards.backbone) in networks.names()
                return [IMAGENET_WEIGHTS if own else ENCODER_WEIGHTS.format(backbone=wildcards.backbone)]
            return [existing(source, f"datasets.{wildcards.dataset}.training.initial_weights")]

        return answer

    def network_files(self, wildcards: Wildcards) -> list[str]:
        """Return the user's files that build the networks of a job: of its backbone, or of all of its data set."""
        part = getattr(wildcards, "backbone", None)
        names = self.experiment.config.datasets[wildcards.dataset].backbones if part is None else [name_of(part)]
        return [str(file) for file in map(own_file, names) if file is not None]

    @told_by_snakemake()
    def teacher(self, wildcards: Wildcards) -> str:
        """Return the checkpoint that labels videos."""
        path = self.experiment.finished_hr(wildcards.dataset)
        assert path is not None, wildcards.dataset  # read_config has checked it
        return path

    @told_by_snakemake()
    def hr_weights(self, wildcards: Wildcards) -> str:
        """Return the checkpoint of the HR branch."""
        return self.experiment.weights("hr", wildcards, 100)["hr"]

    def lr_weights(self, wildcards: Wildcards) -> str:
        """Return the checkpoint of the LR baseline."""
        return self.experiment.weights("lr", wildcards, wildcards.scale)["lr"]

    def ar_weights(self, wildcards: Wildcards) -> str:
        """Return the checkpoint of AR-Seg's LR branch."""
        return self.experiment.weights("ar", wildcards, wildcards.scale)["lr"]

    def evaluated_weights(self, wildcards: Wildcards) -> dict[str, str]:
        """Return the checkpoints that a mode needs."""
        return self.experiment.weights(wildcards.mode, wildcards, wildcards.scale)

    def evaluated_networks(self, wildcards: Wildcards) -> list[str]:
        """Return the flags that name these checkpoints, and the metrics beside mIoU.

        Snakemake evaluates anew where a rule gets one parameter more: the metrics have none of their own.
        """
        metrics = self.experiment.config.metrics
        words = [word for name, path in self.evaluated_weights(wildcards).items() for word in flag(name, path)]
        return words + (["--metrics", *metrics] if metrics else [])

    def published_words(self, wildcards: Wildcards) -> list[str]:
        """Return the flag that names the published values, if any run was published."""
        return [word for path in self.experiment.published_values() for word in flag("published", path)]

    def plotted_table(self, wildcards: Wildcards) -> str:
        """Return the table that a figure of curves shows."""
        return self.experiment.curves[wildcards.curves].table

    def plotted_metric(self, wildcards: Wildcards) -> str:
        """Return the metric that a figure of curves shows."""
        return self.experiment.curves[wildcards.curves].metric

    def threads(self, most: int) -> Callable[[Wildcards], int]:
        """Return a function: the cores of a job with networks, of which the small ones leave a second one idle."""
        return lambda wildcards: 1 if networks.get(name_of(wildcards.backbone)).small else most


def loader_workers(wildcards: Wildcards, threads: int) -> int:
    """Return how many processes load samples: on one core they would only take the network's turn."""
    return threads if threads > 1 else 0


def flag(name: str, value: object) -> list[str]:
    """Return an option with its value, or its values, as words; none where there is no value."""
    values = value if isinstance(value, list | tuple) else [] if value in (None, "") else [value]
    return [f"--{name}", *map(str, values)] if values else []


def switch(name: str, value: bool) -> str:
    """Return the word that turns an option on or off."""
    return f"--{'' if value else 'no-'}{name.replace('_', '-')}"


def declared(stores: Sequence[str]) -> list[str]:
    """Return what the jobs that make clip stores declare.

    Raises
    ------
    WorkflowError
        If a store is missing from a finished folder, of which Snakemake does not see what is in it.
    """
    outputs = clip_outputs(stores)
    for path in stores:
        folder = str(Path(path).parent)
        if folder in outputs and Path(folder, ".snakemake_timestamp").exists() and not Path(path).exists():
            raise WorkflowError(
                f"{path}: is missing from a finished folder. Delete the folder, and it is made again: rm -r {folder}"
            )
    return outputs
