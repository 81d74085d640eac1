"""An experiment: what a configuration multiplies out to, as files of the workflow.

Everything that is made for the experiment alone lies below results/<name>/; what experiments share, below resources/.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from arseg.configured import existing, expanded
from arseg.datasets import Splits
from arseg.errors import ConfigError
from arseg.networks import networks
from arseg.spec import Encoding, Rate, parse_fps
from arseg.workflow.keys import Config, Dataset
from arseg.workflow.reading import read_config, read_sheet, told_by_snakemake
from arseg.workflow.schema import config_schema

IMAGENET_WEIGHTS = "resources/imagenet/resnet18.pth"
NATIVE_READER = "resources/native/hevc-motion.json"


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

    @property
    def has_all_modes(self) -> bool:
        """Whether HR, LR and AR are evaluated, so that they can be shown side by side."""
        return {*self.config.modes} == {"hr", "lr", "ar"}

    @cached_property
    def encodings(self) -> dict[str, dict[str, Encoding]]:
        """How the clips of each data set are made, by data set and by name of the encoding.

        Raises
        ------
        ConfigError
            If some settings exclude one another.
        """
        return {
            name: {encoding.name: encoding for encoding in self._encodings_of(data)}
            for name, data in self.config.datasets.items()
        }

    def _encodings_of(self, dataset: Dataset) -> list[Encoding]:
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
                    parameters=getattr(config.encoder.parameters, codec),
                    tail=dataset.clip_tail,
                    subpixel=config.motion.subpixel,
                )
                for codec, rate, gop, preset in product(config.codecs, dataset.rates, config.gops, dataset.presets)
            ]
        except ConfigError as error:
            raise ConfigError(f"{self.place}: encoder.{error}") from None

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
            "backbone": "|".join(networks.names()),
            "mode": "hr|lr|ar",
            "scale": r"\d+",
            "seed": r"\d+",
        }

    def datasets_of(self, *kinds: str) -> str:
        """Return a wildcard constraint: the names of the data sets of some kinds, or what no name can be."""
        names = [name for name, dataset in self.config.datasets.items() if dataset.kind in kinds]
        return "|".join(names) or "(?!)"

    def runs(self) -> list[Run]:
        """Return everything that is trained and evaluated."""
        return [
            Run(name, encoding, backbone, seed)
            for name, dataset in self.config.datasets.items()
            for encoding in self.encodings[name]
            for backbone in dataset.backbones
            for seed in self.config.seeds
        ]

    def modes_and_scales(self) -> list[tuple[str, int]]:
        """Return the modes, each with the scales, in percent, that it is evaluated at."""
        scales = [round(scale * 100) for scale in self.config.scales]
        return [(mode, scale) for mode in self.config.modes for scale in ([100] if mode == "hr" else scales)]

    def evaluations(self) -> list[str]:
        """Return all files of confusion matrices."""
        return [
            f"{self.results}/evaluation/{run.path}/{mode}/scale{scale}/seed{run.seed}.npz"
            for run in self.runs()
            for mode, scale in self.modes_and_scales()
        ]

    def phase1_weights(self, dataset: str, backbone: str, scale: int | str, seed: int | str) -> str:
        """Return the checkpoint of the HR branch (scale 100) or of an LR baseline."""
        if str(scale) == "100" and (path := self.finished_hr(dataset)):
            return path
        return f"{self.results}/phase1/{dataset}/{backbone}/scale{scale}/seed{seed}/weights.pt"

    def finished_hr(self, dataset: str) -> str | None:
        """Return the checkpoint of the HR branch that the configuration gives; None if phase 1 trains it.

        Raises
        ------
        ConfigError
            If it does not exist.
        """
        hr = self.config.datasets[dataset].hr
        key = f"datasets.{dataset}.hr.checkpoint"
        return None if hr is None else existing(expanded(hr.checkpoint, key), key)

    def phase2_weights(self, dataset: str, encoding: str, backbone: str, scale: int | str, seed: int | str) -> str:
        """Return the checkpoint of AR-Seg's LR branch."""
        return f"{self.results}/phase2/{dataset}/{encoding}/{backbone}/scale{scale}/seed{seed}/weights.pt"

    def networks(self) -> list[str]:
        """Return the checkpoints of all networks that the evaluations need."""
        names = set()
        for run in self.runs():
            for mode, scale in self.modes_and_scales():
                if mode == "ar":
                    names.add(self.phase1_weights(run.dataset, run.backbone, 100, run.seed))
                    names.add(self.phase2_weights(run.dataset, run.encoding, run.backbone, scale, run.seed))
                else:
                    names.add(self.phase1_weights(run.dataset, run.backbone, scale, run.seed))
        return sorted(names)

    def clip_stores(self, dataset: str, encoding: str, role: str, distances: Sequence[int] | None = None) -> list[str]:
        """Return the clip stores of a split.

        Parameters
        ----------
        dataset, encoding : str
            Names of both.
        role : str
            What the split serves; a field of `arseg.datasets.Splits`.
        distances : sequence of int, optional
            Reference distances; the largest alone by default.
        """
        splits = self.splits(dataset)
        split = getattr(splits, role)
        last = self.encodings[dataset][encoding].gop - 1
        kind = "all-distances" if split == splits.test else "last-distance"
        return [
            f"{self.results}/clips/{dataset}/{encoding}/{kind}/{split}/shard{shard}/d{distance:02d}.h5"
            for shard in range(self.config.datasets[dataset].shards)
            for distance in ([last] if distances is None else distances)
        ]

    def clips(self) -> list[str]:
        """Return everything that jobs with clips make."""
        roles = ["test", "phase2_train", "phase2_val"] if "ar" in self.config.modes else ["test"]
        paths = (
            path
            for dataset, table in self.encodings.items()
            for encoding in table
            for role in roles
            for path in clip_outputs(self.clip_stores(dataset, encoding, role))
        )
        return sorted({*paths})

    def figures(self) -> list[str]:
        """Return curves for the whole experiment and, if all modes are there, a figure of examples per run."""
        paths = [f"{self.results}/figures/miou_by_{name}.png" for name in ("distance", "cost")]
        if self.has_all_modes:
            scale = round(self.config.panel_scale * 100)
            paths += [f"{self.results}/figures/panel/{run.path}/scale{scale}/seed{run.seed}.png" for run in self.runs()]
        return paths

    def comparisons(self) -> list[str]:
        """Return the comparison with published values, if there are any."""
        return [f"{self.results}/comparison.{suffix}" for suffix in ("csv", "md")] if self.published_values() else []

    def published_values(self) -> list[str]:
        """Return the sheet of published values if any run is in it, as far as names tell."""
        published = {
            (row["dataset"], row["split"], row["backbone"], int(row["gop"]), float(row["bitrate_mbps"]))
            for row in read_sheet(
                self.published, ("dataset", "split", "backbone", "mode", "scale", "gop", "bitrate_mbps")
            )
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
    """Read an experiment from Snakemake's configuration.

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
