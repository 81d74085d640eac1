"""What single jobs read, write and are told, as functions of their wildcards: inputs, parameters, threads."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from snakemake.exceptions import WorkflowError  # type: ignore[import-untyped]

from arseg.config import TrainConfig
from arseg.configured import existing, expanded
from arseg.networks import networks
from arseg.workflow.experiment import IMAGENET_WEIGHTS, NATIVE_READER, Experiment, clip_outputs
from arseg.workflow.keys import PHASE2_CONSTANTS, TRAINING
from arseg.workflow.reading import told_by_snakemake
from arseg.workflow.wildcards import Wildcards

Options = dict[str, Any]
"""Values of a command's options: numbers and texts, lists of them, or whole flags as lists of words."""


@dataclass(frozen=True)
class Jobs:
    """The jobs of an experiment."""

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
        return flag("ffmpeg", expanded(path, "ffmpeg") if path else None)

    @told_by_snakemake()
    def native_source(self, wildcards: Wildcards) -> list[str]:
        """Return the flag that names the source of the HEVC reader, if the configuration does."""
        path = self.experiment.config.native_source
        return flag("source", expanded(path, "native_source") if path else None)

    def native_reader(self, wildcards: Wildcards) -> list[str]:
        """Return the record of the program that reads HEVC, which other codecs do without."""
        codec = self.experiment.encodings[wildcards.dataset][wildcards.encoding].codec
        return [NATIVE_READER] if codec == "hevc" else []

    def _constants(self, phase: int, wildcards: Wildcards) -> Options:
        """Return the constants of a training: the paper's, the data set's, and the exceptions that apply."""
        dataset = self.experiment.config.datasets[wildcards.dataset]
        constants = {
            name: value for name, value in asdict(TrainConfig()).items() if name in TRAINING
        } | dataset.training
        for override in dataset.training_overrides:
            if override.phase in (None, phase) and override.backbone in (None, wildcards.backbone):
                constants |= override.set
        return constants

    def _training(self, phase: int, wildcards: Wildcards) -> Options:
        constants = self._constants(phase, wildcards)
        if phase == 1:
            constants = {name: value for name, value in constants.items() if name not in PHASE2_CONSTANTS}
        for path in self._initial_weights(phase, wildcards):
            constants["initial_weights"] = path
        constants["random_scales"] = [*constants["random_scales"]]
        constants["original_quirks"] = self.experiment.config.original_quirks
        return {name: switch(name, value) if isinstance(value, bool) else value for name, value in constants.items()}

    # Parameters take no `input`: Snakemake does not compare what it derives from that.

    def phase1_training(self, wildcards: Wildcards) -> Options:
        """Return the constants of a training in phase 1."""
        return self._training(1, wildcards)

    def phase2_training(self, wildcards: Wildcards) -> Options:
        """Return the constants of a training in phase 2."""
        return self._training(2, wildcards)

    @told_by_snakemake()
    def _initial_weights(self, phase: int, wildcards: Wildcards) -> list[str]:
        constants = self._constants(phase, wildcards)
        source = constants["initial_weights"]
        if source == "none" or (phase == 2 and constants["start_from"] == "hr"):
            return []
        if source == "imagenet":
            return [IMAGENET_WEIGHTS]
        key = f"datasets.{wildcards.dataset}.training.initial_weights"
        return [existing(expanded(source, key), key)]

    def phase1_initial_weights(self, wildcards: Wildcards) -> list[str]:
        """Return the file that a backbone starts from in phase 1, if it starts from one."""
        return self._initial_weights(1, wildcards)

    def phase2_initial_weights(self, wildcards: Wildcards) -> list[str]:
        """Return the file that a backbone starts from in phase 2, if it starts from one."""
        return self._initial_weights(2, wildcards)

    def phase1_train_split(self, wildcards: Wildcards) -> str:
        """Return the split that trains the HR branch and the LR baseline."""
        return self.experiment.splits(wildcards.dataset).phase1_train

    def phase1_val_split(self, wildcards: Wildcards) -> str:
        """Return the split that chooses the best epoch of phase 1."""
        return self.experiment.splits(wildcards.dataset).phase1_val

    def train_stores(self, wildcards: Wildcards) -> list[str]:
        """Return the clips that phase 2 learns from."""
        return self.experiment.clip_stores(wildcards.dataset, wildcards.encoding, "phase2_train")

    def val_stores(self, wildcards: Wildcards) -> list[str]:
        """Return the clips that choose the best epoch of phase 2."""
        return self.experiment.clip_stores(wildcards.dataset, wildcards.encoding, "phase2_val")

    def test_stores(self, wildcards: Wildcards) -> list[str]:
        """Return the test clips at all distances."""
        distances = range(self.experiment.encodings[wildcards.dataset][wildcards.encoding].gop)
        return self.experiment.clip_stores(wildcards.dataset, wildcards.encoding, "test", distances)

    def last_distance_stores(self, wildcards: Wildcards) -> list[str]:
        """Return the test clips at the largest distance, the hardest case for AR-Seg."""
        return self.experiment.clip_stores(wildcards.dataset, wildcards.encoding, "test")

    def train_clips(self, wildcards: Wildcards) -> list[str]:
        """Return what the jobs that make `train_stores` declare."""
        return declared(self.train_stores(wildcards))

    def val_clips(self, wildcards: Wildcards) -> list[str]:
        """Return what the jobs that make `val_stores` declare."""
        return declared(self.val_stores(wildcards))

    def test_clips(self, wildcards: Wildcards) -> list[str]:
        """Return what the jobs that make `test_stores` declare."""
        return declared(self.test_stores(wildcards))

    def last_distance_clips(self, wildcards: Wildcards) -> list[str]:
        """Return what the jobs that make `last_distance_stores` declare."""
        return declared(self.last_distance_stores(wildcards))

    @told_by_snakemake()
    def teacher(self, wildcards: Wildcards) -> str:
        """Return the checkpoint that labels videos."""
        path = self.experiment.finished_hr(wildcards.dataset)
        assert path is not None, wildcards.dataset  # read_config has checked it
        return path

    @told_by_snakemake()
    def hr_weights(self, wildcards: Wildcards) -> str:
        """Return the checkpoint of the HR branch."""
        return self.experiment.phase1_weights(wildcards.dataset, wildcards.backbone, 100, wildcards.seed)

    def lr_weights(self, wildcards: Wildcards) -> str:
        """Return the checkpoint of the LR baseline."""
        return self.experiment.phase1_weights(wildcards.dataset, wildcards.backbone, wildcards.scale, wildcards.seed)

    def ar_weights(self, wildcards: Wildcards) -> str:
        """Return the checkpoint of AR-Seg's LR branch."""
        return self.experiment.phase2_weights(
            wildcards.dataset, wildcards.encoding, wildcards.backbone, wildcards.scale, wildcards.seed
        )

    def evaluated_weights(self, wildcards: Wildcards) -> dict[str, str]:
        """Return the checkpoints that a mode needs: the HR branch, the LR baseline, or both branches of AR-Seg."""
        branches: dict[str, dict[str, Callable[[Wildcards], str]]] = {
            "hr": {"hr": self.hr_weights},
            "lr": {"lr": self.lr_weights},
            "ar": {"hr": self.hr_weights, "lr": self.ar_weights},
        }
        return {name: weights(wildcards) for name, weights in branches[wildcards.mode].items()}

    def evaluated_networks(self, wildcards: Wildcards) -> list[str]:
        """Return the flags that name these checkpoints, and the metrics beside mIoU.

        Snakemake evaluates anew where a rule gets one parameter more: the metrics have none of their own.
        """
        metrics = self.experiment.config.metrics
        weights = self.evaluated_weights(wildcards)
        words = [word for name, path in weights.items() for word in flag(name, path)]
        return words + (["--metrics", *metrics] if metrics else [])

    def published_words(self, wildcards: Wildcards) -> list[str]:
        """Return the flag that names the published values, if any run was published."""
        return [word for path in self.experiment.published_values() for word in flag("published", path)]

    def training_threads(self, wildcards: Wildcards) -> int:
        """Return the cores of a training: the small networks leave a second one idle."""
        return 1 if networks.get(wildcards.backbone).small else 8

    def evaluation_threads(self, wildcards: Wildcards) -> int:
        """Return the cores of an evaluation: the small networks leave a second one idle."""
        return 1 if networks.get(wildcards.backbone).small else 4


def loader_workers(wildcards: Wildcards, threads: int) -> int:
    """Return how many processes load samples: on one core they would only take the network's turn."""
    return threads if threads > 1 else 0


def flag(name: str, value: object) -> list[str]:
    """Return an option with its value as words; none where there is no value."""
    return [] if value in (None, "") else [f"--{name}", str(value)]


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
