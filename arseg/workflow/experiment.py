"""An experiment: what a configuration multiplies out to, as files of the workflow.

Everything that is made for the experiment alone lies below results/<name>/; what experiments share, below resources/.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, Protocol, get_args

from arseg.config import TrainConfig, existing
from arseg.data.sheets import read_sheet
from arseg.datasets import Splits
from arseg.errors import ConfigError
from arseg.metrics.metric import AGREEMENT, agreement_name
from arseg.networks import networks, path_part
from arseg.spec import Encoding, Mode, Rate, parse_fps
from arseg.workflow.keys import PHASE2_CONSTANTS, TRAINING, Config, Dataset
from arseg.workflow.reading import read_config, told_by_snakemake
from arseg.workflow.schema import config_schema

IMAGENET_WEIGHTS = "resources/imagenet/resnet18.pth"
ENCODER_WEIGHTS = "resources/imagenet/{backbone}.pth"
NATIVE_READER = "resources/native/hevc-motion.json"


class Wildcards(Protocol):
    """The wildcards of a job; each rule has some of them."""

    dataset: str
    split: str
    encoding: str
    backbone: str
    mode: str
    scale: str
    seed: str
    sequence: str
    video: str
    curves: str


class Curves(NamedTuple):
    """What a figure of curves shows."""

    table: str
    """Table of mIoU or of agreement."""
    metric: str
    """Metric in it, or its main score."""


@dataclass(frozen=True)
class Run:
    """What is trained and evaluated, in all modes and at all scales."""

    dataset: str
    encoding: str
    backbone: str
    seed: int

    @property
    def path(self) -> str:
        """Folders of what depends on the clips, but for mode, scale and seed."""
        return f"{self.dataset}/{self.encoding}/{self.backbone}"


@dataclass(frozen=True)
class Experiment:
    """What a configuration asks for."""

    config: Config
    """The configuration, checked and complete."""
    settings: dict[str, Any]
    """The same as YAML would have it, which reports show."""
    place: str
    """Its files, for messages."""
    root: Path
    """Folder of the Snakefile."""

    @property
    def results(self) -> str:
        """Folder of all results."""
        return f"results/{self.config.name}"

    @property
    def logs(self) -> str:
        """Folder of all logs."""
        return f"logs/{self.config.name}"

    @property
    def benchmarks(self) -> str:
        """Folder of what jobs took."""
        return f"{self.results}/benchmarks"

    @property
    def published(self) -> str:
        """Sheet of the published values."""
        return str(self.root / "config/published-miou.csv")

    def main_score(self, dataset: str) -> str:
        """Return what the results of a data set are: ``miou``, or ``agreement`` where a teacher makes its labels."""
        return AGREEMENT if self.config.datasets[dataset].source.needs_teacher else "miou"

    @cached_property
    def main_scores(self) -> list[str]:
        """What the results of all data sets are, each with a table and figures of its own: ``miou`` first."""
        return sorted(set(map(self.main_score, self.config.datasets)), reverse=True)

    @cached_property
    def curves(self) -> dict[str, Curves]:
        """What is drawn, by the names of the figures: each metric of each table, and mIoU or agreement always."""
        return {
            metric if score == "miou" else agreement_name(metric): Curves(
                f"{self.results}/{score}.csv", score if metric == "miou" else metric
            )
            for score in self.main_scores
            for metric in ("miou", *self.config.metrics)
        }

    @cached_property
    def encodings(self) -> dict[str, dict[str, Encoding]]:
        """How the clips of each data set are made, by data set and by name of the encoding.

        Raises
        ------
        ConfigError
            If some settings exclude one another.
        """
        return {
            name: {encoding.name: encoding for encoding in self._encodings_of(name, data)}
            for name, data in self.config.datasets.items()
        }

    def _encodings_of(self, name: str, dataset: Dataset) -> list[Encoding]:
        config = self.config
        try:
            return [
                Encoding(
                    codec=codec,
                    rate=Rate(rate),
                    gop=gop,
                    fps=parse_fps(dataset.fps),
                    preset=preset,
                    references=config.encoder.references,
                    parameters=config.encoder.parameters.get(codec, ""),
                    tail=dataset.clip_tail,
                    subpixel=config.motion.subpixel,
                )
                for codec, rate, gop, preset in product(config.codecs, dataset.rates, config.gops, dataset.presets)
            ]
        except ConfigError as error:
            of_dataset = str(error).startswith(("preset ", "rate "))
            raise ConfigError(f"{self.place}: {f'datasets.{name}' if of_dataset else 'encoder'}.{error}") from None

    def splits(self, dataset: str) -> Splits:
        """Return which split of a data set's manifest serves what."""
        splits = self.config.datasets[dataset].splits
        assert splits is not None, dataset  # read_config has completed it
        return splits

    def constraints(self) -> dict[str, str]:
        """Return what the wildcards of all rules may be."""
        return {
            "dataset": "|".join(self.config.datasets),
            "split": "[A-Za-z0-9_-]+",
            "encoding": "|".join(sorted({name for table in self.encodings.values() for name in table})),
            "shard": r"\d+",
            "distance": r"\d{2}",
            "backbone": "|".join((*map(re.escape, networks.names()), self.foreign_networks)),
            "mode": "|".join(get_args(Mode)),
            "curves": "|".join(map(re.escape, self.curves)),
            "scale": r"\d+",
            "seed": r"\d+",
            "video": "[A-Za-z0-9_][A-Za-z0-9._-]*",
            "part": r"\d+",
            "parts": r"\d+",
        }

    @property
    def foreign_networks(self) -> str:
        """Regular expression of the configuration's networks that are not registered, as paths have them."""
        named = {name for dataset in self.config.datasets.values() for name in dataset.backbones}
        return "|".join(re.escape(path_part(name)) for name in sorted(named - {*networks.names()})) or "(?!)"

    def datasets_of(self, *kinds: str) -> str:
        """Return a wildcard constraint: the names of the data sets of some kinds, or what no name can be."""
        names = [name for name, dataset in self.config.datasets.items() if dataset.kind in kinds]
        return "|".join(names) or "(?!)"

    def runs(self) -> list[Run]:
        """Return everything that is trained and evaluated."""
        return [
            Run(name, encoding, path_part(backbone), seed)
            for name, dataset in self.config.datasets.items()
            for encoding in self.encodings[name]
            for backbone in dataset.backbones
            for seed in self.config.seeds
        ]

    def _evaluated(self) -> list[tuple[Run, str, int]]:
        """Return all runs, each with the modes, and the scales in percent, that it is evaluated in."""
        scales = [round(scale * 100) for scale in self.config.scales]
        return [
            (run, mode, scale)
            for run in self.runs()
            for mode in self.config.modes
            for scale in (scales if mode in ("lr", "ar") else [100])
        ]

    def evaluations(self, main_score: str | None = None) -> list[str]:
        """Return all files of confusion matrices, or those of ``miou`` or ``agreement`` alone."""
        return [
            f"{self.results}/evaluation/{run.path}/{mode}/scale{scale}/seed{run.seed}.npz"
            for run, mode, scale in self._evaluated()
            if main_score in (None, self.main_score(run.dataset))
        ]

    def tables(self) -> list[str]:
        """Return the tables of mIoU, of agreement, or both, and the folder of published files, which hold mIoU."""
        paths = [f"{self.results}/{score}.{suffix}" for score in self.main_scores for suffix in ("csv", "md")]
        return paths + ([f"{self.results}/published"] if "miou" in self.main_scores else [])

    def weights(self, mode: str, run: Run | Wildcards, scale: int | str) -> dict[str, str]:
        """Return the checkpoints that a mode needs: the HR branch, the LR baseline, or both branches of AR-Seg."""
        phase1 = f"{self.results}/phase1/{run.dataset}/{run.backbone}"
        phase2 = f"{self.results}/phase2/{run.dataset}/{run.encoding}/{run.backbone}"
        hr, lr, ar = (
            f"{folder}/scale{percent}/seed{run.seed}/weights.pt"
            for folder, percent in ((phase1, 100), (phase1, scale), (phase2, scale))
        )
        hr = self.finished_hr(run.dataset) or hr
        return {"hr": {"hr": hr}, "lr": {"lr": lr}, "warp": {"hr": hr}, "ar": {"hr": hr, "lr": ar}}[mode]

    def finished_hr(self, dataset: str) -> str | None:
        """Return the checkpoint of the HR branch that the configuration gives; None if phase 1 trains it.

        A ConfigError says that there is no such file.
        """
        hr = self.config.datasets[dataset].hr
        key = f"datasets.{dataset}.hr.checkpoint"
        return None if hr is None else existing(hr.checkpoint, key)

    def networks(self) -> list[str]:
        """Return the checkpoints of all networks that the evaluations need."""
        return sorted(
            {path for run, mode, scale in self._evaluated() for path in self.weights(mode, run, scale).values()}
        )

    def constants(self, phase: int, dataset: str, backbone: str) -> dict[str, Any]:
        """Return the constants of a training: the paper's, the data set's, and the exceptions that apply."""
        data = self.config.datasets[dataset]
        constants = asdict(TrainConfig()) | data.training
        for override in data.training_overrides:
            if override.phase in (None, phase) and override.backbone in (None, backbone):
                constants |= override.set
        meaningless = PHASE2_CONSTANTS if phase == 1 else frozenset()
        return {name: constants[name] for name in TRAINING if name not in meaningless}

    def clip_stores(
        self, dataset: str, encoding: str, role: str, backbone: str, *, every_distance: bool = False
    ) -> list[str]:
        """Return the clip stores of the split that serves a role, which is a field of `Splits`.

        They are those of the largest distance, the hardest case for AR-Seg, or of every distance, which trainings may
        want, too.
        """
        splits = self.splits(dataset)
        split, gop = getattr(splits, role), self.encodings[dataset][encoding].gop
        learnt = role == "phase2_train" and self.constants(2, dataset, backbone)["distances"] == "all"
        every = every_distance or learnt
        kind = "all-distances" if every or split == splits.test else "last-distance"
        return [
            f"{self.results}/clips/{dataset}/{encoding}/{kind}/{split}/shard{shard}/d{distance:02d}.h5"
            for shard in range(self.config.datasets[dataset].shards)
            for distance in (range(gop) if every else [gop - 1])
        ]

    def clips(self) -> list[str]:
        """Return everything that jobs with clips make."""
        roles = ["test", "phase2_train", "phase2_val"] if "ar" in self.config.modes else ["test"]
        paths = (
            path
            for dataset, table in self.encodings.items()
            for encoding in table
            for role in roles
            for backbone in self.config.datasets[dataset].backbones
            for path in clip_outputs(self.clip_stores(dataset, encoding, role, backbone))
        )
        return sorted({*paths})

    def figures(self) -> list[str]:
        """Return all curves and, if HR, LR and AR are there, a figure of examples per run."""
        paths = [f"{self.results}/figures/{name}_by_{x}.png" for name in self.curves for x in ("distance", "cost")]
        if self.config.has_all_modes:
            scale = round(self.config.panel_scale * 100)
            paths += [f"{self.results}/figures/panel/{run.path}/scale{scale}/seed{run.seed}.png" for run in self.runs()]
        return paths

    def comparisons(self) -> list[str]:
        """Return the comparison with published values, if there are any."""
        return [f"{self.results}/comparison.{suffix}" for suffix in ("csv", "md")] if self.published_values() else []

    def published_values(self) -> list[str]:
        """Return the sheet of published values if any run is in it, as far as names tell."""
        columns = ("dataset", "split", "backbone", "mode", "scale", "gop", "bitrate_mbps")
        with told_by_snakemake():
            rows = [row.cells for row in read_sheet(Path(self.published), columns, "")]
        published = {
            (row["dataset"], row["split"], row["backbone"], int(row["gop"]), float(row["bitrate_mbps"]))
            for row in rows
            if row["mode"].lower() in self.config.modes
            and (row["mode"] == "HR" or float(row["scale"]) in self.config.scales)
        }
        return [self.published] if any(self._published_name(run) in published for run in self.runs()) else []

    def _published_name(self, run: Run) -> tuple[str, str, str, int, float] | None:
        encoding = self.encodings[run.dataset][run.encoding]
        if encoding.name != Encoding(rate=encoding.rate, gop=encoding.gop).name or encoding.rate.mbps is None:
            return None
        return run.dataset, self.splits(run.dataset).test, run.backbone, encoding.gop, encoding.rate.mbps


def clip_outputs(stores: Sequence[str]) -> list[str]:
    """Return what the jobs that make clip stores declare: the folders of those with all distances, the others alone."""
    return sorted({str(Path(path).parent) if "/all-distances/" in path else path for path in stores})


def read_experiment(raw: Mapping[str, Any], files: Sequence[str | Path], root: str | Path) -> Experiment:
    """Return the experiment that Snakemake's configuration asks for.

    Parameters
    ----------
    raw : mapping
        The configuration.
    files : sequence of path
        Its files, for messages.
    root : path
        Folder of the Snakefile.

    Raises
    ------
    snakemake.exceptions.WorkflowError
        If anything does not fit; the message has one line per problem.
    """
    place = ", ".join(map(str, files)) or "config"
    with told_by_snakemake():
        experiment = Experiment(*read_config(raw, config_schema(), place), place, Path(root))
        experiment.encodings  # noqa: B018  (raises on settings that exclude one another)
        return experiment
