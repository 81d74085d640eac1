"""The keys of a configuration: their types, bounds and defaults, and how to choose them.

The schema in workflow/schemas/ and the tables in config/README.md are written from here; see `arseg.workflow.schema`. A
docstring's first paragraph says what a key is, also in messages; the rest, for readers of the table, how to choose it.
Training constants are those of `arseg.config.TrainConfig`.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from arseg.codecs import codecs
from arseg.config import Count, Name, bounds
from arseg.datasets import DatasetKind, Splits
from arseg.metrics.metric import metrics
from arseg.networks import networks
from arseg.spec import NORMALIZATIONS, ClipTail, Mode, Normalization, Rate

Scale = Annotated[float, bounds(exclusiveMinimum=0, exclusiveMaximum=1)]
RateText = Annotated[str, bounds(pattern=f"^({Rate.PATTERN.pattern})$")]
Preset = Annotated[str, bounds(pattern="^[a-z0-9]+$")]
CodecName = Annotated[str, codecs]
Backbone = Annotated[str, networks]
Training = dict[str, Any]
"""Training constants that are not left at the paper's values, by name."""


@dataclass(frozen=True)
class Encoder:
    """What all encodings have in common, beside codecs, gops and the data sets' rates and presets.

    See [Encoding](../docs/encoding.md).
    """

    references: Annotated[int, bounds(maximum=16, minimum=1)] | None = None
    """How many earlier frames a block may choose its reference from.

    Left out, x265 decides (3 at `medium`), and H.264 has 1, all that it can have."""
    parameters: dict[CodecName, str] = field(default_factory=dict)
    """More parameters of the encoders by codec, in their own words: `{hevc: aq-mode=1:psy-rd=0, h264: subme=9}`.

    What the reader or repeatability depends on is refused, with the reason."""


@dataclass(frozen=True)
class Motion:
    """How motion is composed from frame to frame."""

    subpixel: bool = False
    """Compose motion without rounding it to whole pixels; the paper rounds (false).

    True [predicts better](../docs/clip-store.md#whole-pixels-or-without-rounding), and takes more room."""


@dataclass(frozen=True)
class FinishedNetwork:
    """A finished HR network, which phase 1 then need not train."""

    checkpoint: str
    """Its checkpoint, of the one network in `backbones`; may name an environment variable."""


@dataclass(frozen=True)
class Override:
    """An exception to the training constants."""

    set: Training
    """The constants that it changes: keys of `training`."""
    phase: Literal[1, 2] | None = None
    """Only this phase; both if left out."""
    backbone: Backbone | None = None
    """Only this backbone; all if left out."""


@dataclass(frozen=True)
class Dataset:
    """A data set, and the experiments with it."""

    kind: str
    """What the data set is: `synthetic` scenes, your own folders of `frames`, `camvid`, `cityscapes`, or
    [a kind of your own](../docs/own-frames.md#a-kind-of-your-own)."""
    source: DatasetKind
    """Where the data comes from; the keys depend on kind, see below."""
    fps: float | str
    """Frames per second of the video: `30`, `12.5`, `30000/1001`. The rate control spreads the bitrate by it.

    `29.97` means 30000/1001, `23.976` and `23.98` mean 24000/1001."""
    rates: tuple[RateText, ...]
    """Rate controls: an average bitrate in kb/s (`3000k`), a constant quantiser (`qp27`) or quality (`crf23`).

    As many bits per pixel as the paper's 3 Mbit/s at 960x720 and 30 frames/s are `375k` at 480x360 and 15 frames/s."""
    backbones: tuple[Backbone, ...]
    """Networks: `psp18` (PSPNet-18, CamVid form), `psp18-cityscapes`, `bise18` (BiSeNet-18), `pidnet-s` (PIDNet-S),
    `small` and `tiny`.

    The last two are this project's own, 280 and 20 thousand parameters, for a first look and for tests; they need
    `initial_weights: none`. [Any other network](../docs/own-network.md) has a name, too: `smp/fpn/resnet18`,
    `transformers/segformer-b0`, `my_nets.py:build`."""
    splits: Splits | None = None
    """Which split of the manifest serves what: `phase1_train`, `phase1_val`, `phase2_train`, `phase2_val`, `test`.

    One split may serve several. Phase 2 and the test need video around each annotated frame; phase 1 takes stills.
    `camvid` and `cityscapes` have their own (`kaggle-train` …, or `train`, `val` and `val` again for the test), as
    kinds of other packages may; `synthetic` and `frames` need this key."""
    hr: FinishedNetwork | None = None
    """A finished HR network instead of one that phase 1 trains: `{checkpoint: PATH}`.

    It is of the one network in `backbones`. `videos` need one, which labels them.
    [Your own network](../docs/own-network.md) becomes a checkpoint by `arseg checkpoint create`."""
    presets: tuple[Preset, ...] = ("medium",)
    """Speed presets of the encoder.

    x264 and x265 have ultrafast, superfast, veryfast, faster, fast, medium, slow, slower, veryslow and placebo."""
    clip_tail: ClipTail = "gop"
    """Where a clip ends: after a whole GOP (`gop`, CamVid), or at its annotated frame (`annotated`, Cityscapes)."""
    shards: Annotated[int, bounds(minimum=1, maximum=999)] = 1
    """Into how many jobs the clips of a split are divided. Changes no result; on a cluster, take tens."""
    training: Training = field(default_factory=dict)
    """Training constants for all networks and both phases; what is not given is the paper's for CamVid. See below."""
    training_overrides: tuple[Override, ...] = ()
    """Exceptions to them, applied in order: `{phase: 2, backbone: bise18, set: {batch_size: 16}}`.

    `phase` and `backbone` may be left out; `set` takes the keys of `training`."""


@dataclass(frozen=True)
class Segment:
    """Videos to segment by finished networks."""

    videos: tuple[str, ...]
    """Files, patterns in quotes (`"/data/**/*.mp4"`) and CSV sheets with the column `video` and, if wanted, `name`.

    They may name environment variables. A video is called by its path from the first folder on that the pattern leaves
    open: `/data/cam0/front.mp4` is `cam0-front`."""
    outputs: tuple[Annotated[str, bounds(pattern="^[A-Za-z0-9_-]+([.][a-z0-9]+)?$")], ...] = (
        "overlay.mp4",
        "areas.csv",
    )
    """Files, or folders for PNGs, for each video, which their names [say what to write](../docs/segment.md) to."""
    checkpoints: tuple[str, ...] = ()
    """The LR branch and its HR branch, or HR alone, or a folder of results that has them; finished before.

    All is made again when a checkpoint appears in such a folder: name the files."""
    network: str = ""
    """Instead of checkpoints, [a finished network by name](../docs/own-network.md), on every frame."""
    scale: Scale | None = None
    """Resolution of the LR branch, where a folder has several."""
    keyframes: str = "coded,distance,cut"
    """[Policies](../docs/keyframes.md), any of which makes a frame a keyframe."""
    every: Count = 1
    """Write every n-th frame only."""
    options: str = ""
    """More options of `arseg segment`, in its own words: `--overlay.codec hevc --motion stream`."""
    part_minutes: Annotated[int, bounds(minimum=0)] = 0
    """Videos that are longer are cut into parts of so many minutes, which are jobs of their own; 0 cuts none."""


@dataclass(frozen=True)
class Config:
    """What to run. How a machine runs it (cores, GPUs, partitions) belongs to profiles/."""

    name: Name
    """Name of the experiment: results go to `results/<name>/`, logs to `logs/<name>/`."""
    datasets: dict[Annotated[str, bounds(pattern="^[A-Za-z0-9][A-Za-z0-9-]*$")], Dataset] = field(default_factory=dict)
    """The data sets, each under a name of your choice (letters, digits, `-`).

    Needed unless there is `segment`."""
    segment: Segment | None = None
    """[Videos to segment](../docs/many-videos.md) by finished networks, see below."""
    seeds: tuple[Annotated[int, bounds(minimum=0)], ...] = (233,)
    """Seeds; each trains its own networks. All randomness comes from here.

    The paper has one; three show the spread."""
    codecs: tuple[CodecName, ...] = ("hevc",)
    """Video coding standards to compress with: `h264`, `hevc`.

    The paper's is `hevc`, whose [reader](../docs/native-reader.md) is compiled once and needs a C++ compiler; `h264`
    needs none and encodes several times faster. [Your own](../docs/extending.md#a-codec) have their names here, too."""
    gops: tuple[Annotated[int, bounds(minimum=2, maximum=99)], ...] = (12,)
    """Frames from one keyframe to the next, L. Distances run from 0 to L - 1. Longer: cheaper, and harder."""
    scales: tuple[Scale, ...] = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    """Resolutions of the LR branch and of the LR baseline: whole percentages between 0 and 1."""
    modes: tuple[Mode, ...] = ("hr", "lr", "ar")
    """What to evaluate: full resolution on each frame (`hr`), a constant low resolution (`lr`), AR-Seg (`ar`).

    Also `warp`, which shows what the LR branch of AR-Seg adds: the keyframe's feature, warped and classified. It needs
    no training of its own."""
    metrics: tuple[Annotated[str, metrics], ...] = ()
    """Metrics beside mIoU, each with columns of its own in `miou.csv` and the summary, and with figures.

    [Your own](../docs/extending.md) have their names here."""
    panel_scale: Scale = 0.5
    """The scale in the figure of examples, which is drawn when `hr`, `lr` and `ar` are evaluated; one of `scales`."""
    device: Annotated[str, bounds(pattern="^(auto|cpu|cuda|cuda:[0-9]+)$")] = "auto"
    """Where networks run: `auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:1`."""
    encoder: Encoder = field(default_factory=Encoder)
    """What all encodings have in common, beside codecs, gops and the data sets' rates and presets, see below."""
    motion: Motion = field(default_factory=Motion)
    """How motion is composed from frame to frame, see below."""
    ffmpeg: str = ""
    """FFmpeg to encode with; empty means the one in the Python environment."""
    native_source: str = ""
    """libde265's source for the HEVC reader, a folder, an archive or a URL; empty means the package index."""
    restarts: Annotated[int, bounds(minimum=0)] = 3
    """How often a training that was stopped (time limit, preemption, lost node) is started again.

    It [goes on](../docs/cluster.md) from its saved state; no result depends on it."""
    original_quirks: bool = False
    """Repeat what the published programs did wrong in training and scoring, to compare with them (see below)."""

    @property
    def has_all_modes(self) -> bool:
        """Whether HR, LR and AR are evaluated, so that they can be shown side by side."""
        return {*self.modes} >= {"hr", "lr", "ar"}


TRAINING: dict[str, tuple[dict[str, Any], str]] = {
    "augmentation": ({}, "`pidnet` for [PIDNet-S](../docs/method.md#pidnet-s)."),
    "crop": ({"pattern": "^[1-9][0-9]*x[1-9][0-9]*$"}, "Best the size of the frames."),
    "random_scales": ({"items": {"exclusiveMinimum": 0}}, ""),
    "jitter": ({"minimum": 0, "maximum": 1}, ""),
    "normalization": (
        {"pattern": f"^({'|'.join(NORMALIZATIONS)}|{Normalization.PATTERN})$"},
        "`imagenet` for PSPNet and `bisenet` for BiSeNet on Cityscapes. One for both phases.",
    ),
    "optimizer": ({}, "`sgd` for Cityscapes."),
    "learning_rate": ({"exclusiveMinimum": 0}, ""),
    "schedule": ({}, "`poly` for PIDNet-S."),
    "epochs": ({"minimum": 1}, ""),
    "batch_size": ({"minimum": 1}, ""),
    "class_weights": ({"items": {"minimum": 0}}, "Cityscapes' are in [The method](../docs/method.md#losses)."),
    "edge_margin": ({"minimum": 0}, "6 for Cityscapes."),
    "fusion": ({}, "`gated` learns in few epochs, from few frames."),
    "distances": ({}, "`all` suits `gated`. Its clips take L times the room."),
    "unfused_epochs": ({"minimum": 0}, ""),
    "feature_similarity": ({}, ""),
    "warp_alignment": ({}, "`consistent` makes zero motion the identity."),
    "initial_weights": ({}, "ImageNet's are fetched once, into `resources/imagenet`, before any training."),
    "start_from": ({}, "`hr` is also the quicker start."),
    "validate_every": ({"minimum": 1}, "The best validated epoch is kept."),
    "precision": ({}, "The mixed ones on GPUs that have them."),
    "channels_last": ({}, ""),
}
"""Bounds of each training constant, and how to choose it: what `TrainConfig` does not say of it."""
PHASE2_CONSTANTS = frozenset(
    {"fusion", "distances", "unfused_epochs", "feature_similarity", "warp_alignment", "start_from"}
)
"""Training constants without a meaning in phase 1, which a change of them must not train again."""
