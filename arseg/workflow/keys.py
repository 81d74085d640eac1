"""The keys of a configuration: their types, bounds and defaults, and how to choose them.

The schema in workflow/schemas/ and the tables in config/README.md are written from here; see `arseg.workflow.schema`. A
docstring's first paragraph says what a key is, also in messages; the rest, for readers of the table, how to choose it.
Training constants are those of `arseg.config.TrainConfig`.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from arseg.metrics.metric import metrics
from arseg.networks import networks
from arseg.spec import ClipTail, Codec, Mode, Rate


def bounds(**words: Any) -> tuple[tuple[str, Any], ...]:
    """Return words of JSON schema as what an annotation can hold."""
    return tuple(words.items())


Count = Annotated[int, bounds(minimum=1)]
Name = Annotated[str, bounds(pattern="^[A-Za-z0-9_-]+$")]
Scale = Annotated[float, bounds(exclusiveMinimum=0, exclusiveMaximum=1)]
RateText = Annotated[str, bounds(pattern=f"^({Rate.PATTERN.pattern})$")]
Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]
Backbone = Annotated[str, networks]
Kind = Literal["synthetic", "frames", "camvid", "cityscapes"]
Training = dict[str, Any]
"""Training constants that are not left at the paper's values, by name."""


@dataclass(frozen=True)
class Parameters:
    """More parameters of the encoders, in their own words: name=value, joined by colons.

    What the reader or repeatability depends on is refused, with the reason.
    """

    hevc: str = ""
    """Parameters of x265, for example `aq-mode=1:psy-rd=0`."""
    h264: str = ""
    """Parameters of x264, for example `subme=9`."""


@dataclass(frozen=True)
class Encoder:
    """What all encodings have in common, beside codecs, gops and the data sets' rates and presets.

    See [Encoding](../docs/encoding.md).
    """

    references: Annotated[int, bounds(maximum=16, minimum=1)] | None = None
    """How many earlier frames a block may choose its reference from.

    Left out, x265 decides (3 at `medium`), and H.264 has 1, all that it can have."""
    parameters: Parameters = field(default_factory=Parameters)
    """More parameters of the encoders, in their own words: `hevc` for x265 (`aq-mode=1:psy-rd=0`), `h264` for x264.

    What the reader or repeatability depends on is refused, with the reason."""


@dataclass(frozen=True)
class Motion:
    """How motion is composed from frame to frame."""

    subpixel: bool = False
    """Compose motion without rounding it to whole pixels; the paper rounds (false).

    True [predicts better](../docs/clip-store.md#whole-pixels-or-without-rounding), and takes more room."""


@dataclass(frozen=True)
class Synthetic:
    """Synthetic street scenes."""

    seed: Annotated[int, bounds(minimum=0)] = 0
    """Seed of the scenes."""
    num_train_sequences: Count = 12
    """Videos to train on."""
    num_val_sequences: Count = 2
    """Videos to choose the best epoch by."""
    num_test_sequences: Count = 4
    """Videos to test on."""
    frames_per_sequence: Annotated[int, bounds(minimum=3)] = 27
    """Length of a video; at least 2 gop - 1."""
    annotate_every: Count = 2
    """Step from one annotated frame to the next."""
    width: Annotated[int, bounds(minimum=32, multipleOf=2)] = 192
    """Width of the frames in pixels."""
    height: Annotated[int, bounds(minimum=32, multipleOf=2)] = 128
    """Height of the frames in pixels."""


@dataclass(frozen=True)
class Frames:
    """Your own folders of frames and index labels ([Own frames](../docs/own-frames.md))."""

    root: str
    """Folder that the folders in the splits sheet lie in; may name an environment variable (`$ARSEG_CAMVID`)."""
    classes: str
    """CSV of the classes (index, name, red, green, blue, void)."""
    splits: str
    """CSV of the rules that choose frames for splits."""


@dataclass(frozen=True)
class CamVid:
    """CamVid; what is not given of package, stills, labels and videos is downloaded."""

    split: Literal["kaggle", "official"] = "kaggle"
    """Division into train, val and test: kaggle (369/100/232, the paper's) or official (367/101/233).

    See [Reproduce the paper](../docs/reproduce-paper.md#two-splits-of-camvid)."""
    package: str = ""
    """The Kaggle package that you have, a zip archive or its unpacked folder."""
    stills: str = ""
    """The annotated stills that you have, a zip archive or a folder."""
    labels: str = ""
    """The colour labels that you have, a zip archive or a folder."""
    videos: str = ""
    """Folder of the videos that you have; what it lacks is downloaded."""
    files: str = "config/camvid-files.csv"
    """CSV of the files to download (file, url, sha256, bytes); several rows of one file are mirrors."""
    sequences: str = "config/camvid-sequences.csv"
    """CSV that relates the numbers of stills to those of decoded frames."""


@dataclass(frozen=True)
class Cityscapes:
    """Cityscapes."""

    root: str = ""
    """Your folder with gtFine and leftImg8bit_sequence; empty downloads them with your login."""


Source = Synthetic | Frames | CamVid | Cityscapes
SOURCES: dict[Kind, type] = {"synthetic": Synthetic, "frames": Frames, "camvid": CamVid, "cityscapes": Cityscapes}
WITH_SPLITS = (CamVid, Cityscapes)
"""Sources whose splits are known; all others need the key `splits`."""


@dataclass(frozen=True)
class Splits:
    """Which split of the manifest serves which purpose; one may serve several."""

    phase1_train: Name
    """Trains the HR branch and the LR baseline; may be stills."""
    phase1_val: Name
    """Chooses the best epoch of phase 1; may be stills."""
    phase2_train: Name
    """Trains the LR branch; needs video before each annotated frame."""
    phase2_val: Name
    """Chooses the best epoch of phase 2; needs video, too."""
    test: Name
    """Evaluated at all distances; needs video, too."""

    @classmethod
    def of_source(cls, source: "Source") -> "Splits | None":
        """Return the splits that a source has by itself; None if it has none."""
        if isinstance(source, CamVid):
            train, val, test = (f"{source.split}-{name}" for name in ("train", "val", "test"))
        elif isinstance(source, Cityscapes):
            train, val, test = "train", "val", "val"  # the labels of its own test split are not public
        else:
            return None
        return cls(phase1_train=train, phase1_val=val, phase2_train=train, phase2_val=val, test=test)


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

    kind: Kind
    """What the data set is: `synthetic` scenes, your own folders of `frames`, `camvid` or `cityscapes`."""
    source: Source
    """Where the data comes from; the keys depend on kind, see below."""
    fps: float | str
    """Frames per second of the video: `30`, `12.5`, `30000/1001`. The rate control spreads the bitrate by it.

    `29.97` means 30000/1001, `23.976` and `23.98` mean 24000/1001."""
    rates: tuple[RateText, ...]
    """Rate controls: an average bitrate in kb/s (`3000k`), a constant quantiser (`qp27`) or quality (`crf23`).

    As many bits per pixel as the paper's 3 Mbit/s at 960x720 and 30 frames/s are `375k` at 480x360 and 15 frames/s."""
    backbones: tuple[Backbone, ...]
    """Networks: `psp18` (PSPNet-18, CamVid form), `psp18-cityscapes`, `bise18` (BiSeNet-18), `small` and `tiny`.

    The last two are this project's own, 280 and 20 thousand parameters, for a first look and for tests; they need
    `initial_weights: none`. [Your own](../docs/extending.md) have their names here, too."""
    splits: Splits | None = None
    """Which split of the manifest serves what: `phase1_train`, `phase1_val`, `phase2_train`, `phase2_val`, `test`.

    One split may serve several. Phase 2 and the test need video around each annotated frame; phase 1 takes stills.
    `camvid` and `cityscapes` have their own (`kaggle-train` …, or `train`, `val` and `val` again for the test); all
    other kinds need this key."""
    presets: tuple[Preset, ...] = ("medium",)
    """Speed presets of the encoder."""
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
class Config:
    """What to run. How a machine runs it (cores, GPUs, partitions) belongs to profiles/."""

    name: Name
    """Name of the experiment: results go to `results/<name>/`, logs to `logs/<name>/`."""
    datasets: dict[Annotated[str, bounds(pattern="^[A-Za-z0-9][A-Za-z0-9-]*$")], Dataset]
    """The data sets, each under a name of your choice (letters, digits, `-`)."""
    seeds: tuple[Annotated[int, bounds(minimum=0)], ...] = (233,)
    """Seeds; each trains its own networks. All randomness comes from here.

    The paper has one; three show the spread."""
    codecs: tuple[Codec, ...] = ("hevc",)
    """Video coding standards to compress with: `h264`, `hevc`.

    The paper's is `hevc`, whose [reader](../docs/native-reader.md) is compiled once and needs a C++ compiler; `h264`
    needs none and encodes several times faster."""
    gops: tuple[Annotated[int, bounds(minimum=2, maximum=99)], ...] = (12,)
    """Frames from one keyframe to the next, L. Distances run from 0 to L - 1. Longer: cheaper, and harder."""
    scales: tuple[Scale, ...] = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    """Resolutions of the LR branch and of the LR baseline: whole percentages between 0 and 1."""
    modes: tuple[Mode, ...] = ("hr", "lr", "ar")
    """What to evaluate: full resolution on each frame (`hr`), a constant low resolution (`lr`), AR-Seg (`ar`)."""
    metrics: tuple[Annotated[str, metrics], ...] = ()
    """Metrics beside mIoU, each with columns of its own in `miou.csv` and the summary.

    [Your own](../docs/extending.md) have their names here."""
    panel_scale: Scale = 0.5
    """The scale in the figure of examples, which is drawn when all three modes are evaluated; one of `scales`."""
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


TRAINING: dict[str, tuple[dict[str, Any], str]] = {
    "crop": ({"pattern": "^[1-9][0-9]*x[1-9][0-9]*$"}, "Best the size of the frames."),
    "random_scales": ({"items": {"exclusiveMinimum": 0}}, ""),
    "jitter": ({"minimum": 0, "maximum": 1}, ""),
    "normalization": ({}, "`imagenet` for PSPNet and `bisenet` for BiSeNet on Cityscapes. One for both phases."),
    "optimizer": ({}, "`sgd` for Cityscapes."),
    "learning_rate": ({"exclusiveMinimum": 0}, ""),
    "epochs": ({"minimum": 1}, ""),
    "batch_size": ({"minimum": 1}, ""),
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
PHASE2_CONSTANTS = frozenset({"unfused_epochs", "feature_similarity", "warp_alignment", "start_from"})
"""Training constants without a meaning in phase 1, which a change of them must not train again."""
