"""What an evaluation found: what its metrics counted by reference distance, and everything that it depends on.

Scores are made from the counts when asked for, so that shards add up exactly and a table can be made with
another rule without running a network again. This module owns the file layout; NumPy only.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arseg.access import reading, zip_damage
from arseg.errors import DataError
from arseg.files import atomic_path
from arseg.metrics.iou import AbsentRule
from arseg.metrics.metric import Context, agreement_columns, metrics
from arseg.spec import Encoding, Mode
from arseg.store import IMPORTED_ENCODER

FORMAT_VERSION = 3
"""Version of the file layout. Version 2, which is still read, had an entry for each setting of the encoding."""

OTHER_METRIC = "metric_"
"""What the names of arrays begin with that hold the counts of another metric than mIoU."""


@dataclass(frozen=True)
class EvaluationSettings:
    """What was evaluated; two evaluations with equal settings may be parts of one split."""

    dataset: str
    """Name of the data set."""
    split: str
    """Split of the data set."""
    backbone: str
    """Network, as the registry names it."""
    encoding: Encoding
    """How the clips were compressed, and their motion composed."""
    mode: Mode
    """HR on every frame, constant LR, the warp alone, or AR."""
    scale_percent: int
    """Resolution of the LR branch; 100 in modes "hr" and "warp"."""
    seed: int
    """Seed that the networks were trained with."""
    absent: AbsentRule
    """What a class does that occurs in neither labels nor predictions, see `mean_iou`."""
    class_names: tuple[str, ...]
    """Names of the K classes."""
    void: tuple[bool, ...]
    """Whether each class means "none of the others"."""
    manifest_digest: str
    """SHA-256 of the manifest that the clips were made from."""
    num_shards: int
    """Number of shards that the split was cut into."""
    checkpoints: Mapping[str, str]
    """SHA-256 of each checkpoint file used, by branch ("hr", "lr")."""
    versions: Mapping[str, str]
    """Versions of arseg, of its evaluation stage, and of PyTorch."""
    labelled_by: str = ""
    """``HR`` if the HR branch made the labels; empty if they are true."""

    @property
    def context(self) -> Context:
        """What the metrics know of it."""
        return Context(self.class_names, self.void, self.absent)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What metrics counted in one split, or in some of its shards, by reference distance.

    Parameters
    ----------
    settings : EvaluationSettings
        What was evaluated.
    shards : tuple of int
        Which shards of the split are counted in.
    counts : mapping of str to ndarray, shapes (L, ...)
        Counts of each metric by distance. Those of "miou" are always there: int64 of shape (L, K, K), numbers of
        pixels, [distance, target, predicted].
    num_frames : ndarray of int64, shape (L,)
        Frames counted at each distance.
    gmacs_per_frame : float
        Multiply-accumulates per frame, averaged over a GOP, in 10^9; NaN if there was no frame.
    encoders : tuple of str
        Names and versions of the encoders of the clips; empty if there was no frame.
    """

    settings: EvaluationSettings
    shards: tuple[int, ...]
    counts: Mapping[str, NDArray[Any]]
    num_frames: NDArray[np.int64]
    gmacs_per_frame: float
    encoders: tuple[str, ...]

    def __post_init__(self) -> None:
        length, classes = self.settings.encoding.gop, len(self.settings.class_names)
        if (
            self.confusions.shape != (length, classes, classes)
            or self.confusions.dtype != np.int64
            or self.num_frames.shape != (length,)
            or any(len(counts) != length for counts in self.counts.values())
            or len(self.settings.void) != classes
        ):
            raise DataError(
                f"evaluation with {self.confusions.dtype} confusions of shape {self.confusions.shape} and "
                f"{self.num_frames.shape} frame counts; expected int64 {(length, classes, classes)} and "
                f"{(length,)} for gop {length} and {classes} classes"
            )

    @property
    def confusions(self) -> NDArray[np.int64]:
        """Counts of mIoU, shape (L, K, K)."""
        return self.counts["miou"]

    @cached_property
    def columns(self) -> dict[str, Any]:
        """Columns of all metrics, each with a value by distance; where HR made the labels, scores are agreement.

        Raises
        ------
        ConfigError
            If a metric is not registered here.
        """
        columns = {
            name: values
            for metric, counts in self.counts.items()
            for name, values in metrics.get(metric)().columns(counts, self.settings.context).items()
        }
        return agreement_columns(columns) if self.settings.labelled_by else columns

    @property
    def miou(self) -> NDArray[np.float64]:
        """mIoU_d over all classes, shape (L,); only true labels have it."""
        return self.columns["miou"]

    @property
    def encoding_name(self) -> str:
        """Name of the clips' encoding; that of imported clips is told from one made here with the same settings."""
        imported = "-imported" if self.encoders == (IMPORTED_ENCODER,) else ""
        return self.settings.encoding.name + imported

    @property
    def is_complete(self) -> bool:
        """Whether all shards of the split are counted in."""
        return self.shards == tuple(range(self.settings.num_shards))

    def save(self, path: str | Path) -> None:
        """Write the evaluation to one ``.npz`` file, whole or not at all."""
        settings = vars(self.settings) | {"encoding": self.settings.encoding.to_dict()}
        if not self.settings.labelled_by:
            del settings["labelled_by"]
        description = {
            "format_version": FORMAT_VERSION,
            "settings": settings,
            "shards": self.shards,
            "gmacs_per_frame": self.gmacs_per_frame,
            "encoders": self.encoders,
        }
        arrays: dict[str, Any] = {
            "confusions": self.confusions,
            "num_frames": self.num_frames,
            "description": np.array(json.dumps(description)),
            **{f"{OTHER_METRIC}{name}": counts for name, counts in self.counts.items() if name != "miou"},
        }
        with atomic_path(Path(path)) as temporary:
            np.savez_compressed(temporary, **arrays)


def load_evaluation(path: str | Path) -> Evaluation:
    """Read an evaluation that `Evaluation.save` wrote.

    Raises
    ------
    DataError
        If the file is missing, damaged, no evaluation, or of another format version.
    FileAccessError
        If the operating system does not let it be read.
    """
    path = Path(path)
    hint = "Make it again: arseg evaluate ..."
    try:
        damage = zip_damage(path)  # NumPy may stop reading just before the place where it would notice
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such evaluation. {hint}") from error
    if damage:
        raise DataError(f"{path}: not an evaluation, or a damaged one ({damage}). Delete it. {hint}")
    other = f"{path}: not an evaluation of arseg"
    with (
        reading(path, lambda error: DataError(f"{other} ({error}). Name another file. {hint}"), ValueError),
        np.load(path, allow_pickle=False) as arrays,
    ):
        if not {"description", "confusions", "num_frames"} <= set(arrays):
            raise DataError(f"{other}: it holds {', '.join(arrays) or 'nothing'}. Name another file. {hint}")
        description = json.loads(str(arrays["description"]))
        others = {name.removeprefix(OTHER_METRIC): arrays[name] for name in arrays if name.startswith(OTHER_METRIC)}
        counts, num_frames = {"miou": arrays["confusions"]} | others, arrays["num_frames"]
    version = description.get("format_version") if isinstance(description, dict) else None
    if version not in (2, FORMAT_VERSION):
        raise DataError(f"{path}: format version {version}, expected {FORMAT_VERSION}. {hint}")
    return _assemble(path, description, counts, num_frames)


def merge_evaluations(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Add up evaluations of different shards of one split.

    Parameters
    ----------
    evaluations : sequence of Evaluation
        One or more, with equal settings and no shard in common; in any order.

    Returns
    -------
    merged : Evaluation
        The sum.

    Raises
    ------
    DataError
        If settings, metrics or cost differ, or a shard occurs twice.
    """
    return reduce(_add, evaluations)


def _add(first: Evaluation, second: Evaluation) -> Evaluation:
    place = f"evaluations of {first.settings.dataset} {first.settings.split}"
    for field in fields(EvaluationSettings):
        ours, theirs = getattr(first.settings, field.name), getattr(second.settings, field.name)
        if ours != theirs:
            raise DataError(
                f"{place}: shards {first.shards} and {second.shards} differ in {field.name}: {ours!r} and "
                f"{theirs!r}. Evaluate all shards with the same networks, clips and versions."
            )
    if differing := set(first.counts) ^ set(second.counts):
        raise DataError(
            f"{place}: one of the shards {first.shards} and {second.shards} lacks the metric {min(differing)}. "
            "Evaluate all shards with the same metrics."
        )
    if twice := set(first.shards) & set(second.shards):
        raise DataError(f"{place}: shard {min(twice)} occurs twice. Give each shard's evaluation once.")
    costs = {cost for cost in (first.gmacs_per_frame, second.gmacs_per_frame) if not np.isnan(cost)}
    if len(costs) > 1:
        raise DataError(
            f"{place}: {min(costs)} and {max(costs)} GMACs per frame. The frames of all shards must have one size."
        )
    return replace(
        first,
        shards=tuple(sorted(first.shards + second.shards)),
        counts={name: metrics.get(name)().merge(counts, second.counts[name]) for name, counts in first.counts.items()},
        num_frames=first.num_frames + second.num_frames,
        gmacs_per_frame=costs.pop() if costs else float("nan"),
        encoders=tuple(sorted({*first.encoders, *second.encoders})),
    )


def _assemble(
    path: Path, description: Mapping[str, Any], counts: Mapping[str, NDArray[Any]], num_frames: NDArray[np.int64]
) -> Evaluation:
    stored = {"labelled_by": "", **description["settings"]}
    if description["format_version"] == 2:
        earlier = {field.name for field in fields(Encoding)}
        stored["encoding"] = Encoding.from_dict(stored).to_dict()
        stored = {name: value for name, value in stored.items() if name not in earlier}
    if differing := {field.name for field in fields(EvaluationSettings)} ^ set(stored):
        raise DataError(
            f"{path}: its settings differ from this version's in {', '.join(sorted(differing))}. Read it with the "
            "version of arseg that wrote it, or make it again: arseg evaluate ..."
        )
    sequences = {name: tuple(stored[name]) for name in ("class_names", "void")}  # JSON knows lists only
    return Evaluation(
        settings=EvaluationSettings(**stored | sequences | {"encoding": Encoding.from_dict(stored["encoding"])}),
        shards=tuple(description["shards"]),
        counts=counts,
        num_frames=num_frames,
        gmacs_per_frame=description["gmacs_per_frame"],
        encoders=tuple(description["encoders"]),
    )
