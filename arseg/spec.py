"""The description of a run: its encoding, its networks, and what they were trained on.

There is no other. The values are made from the configuration or from flags, checked when they are made, stored whole
in clip stores, checkpoints, evaluations and exported files, and read back from there. Names in paths, columns of tables
and labels of figures are derived from them.
"""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from fractions import Fraction
from typing import Any, ClassVar, Literal, Self

from arseg.codecs import MAX_REFERENCES, codecs
from arseg.errors import ConfigError

ClipTail = Literal["gop", "annotated"]
WarpAlignment = Literal["published", "consistent"]
Role = Literal["hr", "lr", "ar"]
"""What a network is for: HR branch, constant-resolution baseline, LR branch of AR-Seg."""

Mode = Literal["hr", "lr", "warp", "ar"]
"""What is evaluated: a network of the first two roles, the HR branch's propagation alone, AR-Seg."""

NTSC_TOLERANCE = 2e-4
"""Relative error of 23.98, the coarsest abbreviation of an NTSC rate; a whole number is 1e-3 away from one."""

PAPER_FUSION = "creff"
"""Fusion of the published experiments, by its name in `arseg.fusions.fusions`."""

PAPER_GOP = 12
"""Frames in a group of pictures of the published experiments."""

PAPER_MAX_REF_BACK = 3
"""Furthest reference, in frames, that the published programs follow; x265's preset medium makes no further one."""


class Rate(str):
    """Rate control: an average bitrate (``3000k``), a constant quantiser (``qp27``) or quality (``crf23``).

    A string in the configuration's own spelling, checked, that knows its parts.
    """

    PATTERN = re.compile(r"[1-9][0-9]*k|qp[0-9]+|crf[0-9]+")

    def __new__(cls, text: str) -> Self:  # noqa: D102
        if not cls.PATTERN.fullmatch(text):
            raise ConfigError(f"rate {text!r}: expected a bitrate like 3000k, or qp27, or crf23")
        return super().__new__(cls, text)

    @classmethod
    def from_mbps(cls, megabits: float) -> Self:
        """Return the rate of an average bitrate in Mbit/s."""
        return cls(f"{round(1000 * megabits)}k")

    @property
    def kind(self) -> Literal["kbps", "qp", "crf"]:
        """Which of the three forms."""
        return "kbps" if self.endswith("k") else "qp" if self.startswith("qp") else "crf"

    @property
    def value(self) -> int:
        """Bitrate in kbit/s, quantiser or quality."""
        return int(self.strip("kqpcrf"))

    @property
    def mbps(self) -> float | None:
        """Average bitrate in Mbit/s; None for the other two forms."""
        return self.value / 1000 if self.kind == "kbps" else None

    @property
    def label(self) -> str:
        """Name with unit for figures: "3 Mbit/s", "375 kbit/s", "QP 27"."""
        if self.kind != "kbps":
            return f"{self.kind.upper()} {self.value}"
        return f"{self.mbps:g} Mbit/s" if self.value >= 1000 else f"{self.value} kbit/s"

    @property
    def sort_key(self) -> str:
        """Text that sorts rates of one form by number."""
        return f"{self.kind}{self.value:09}"


def parse_fps(value: Fraction | float | str) -> Fraction:
    """Return a number of frames per second as the fraction that is meant.

    It is written as a number (30, 12.5), a fraction ("30000/1001"), or the usual abbreviation of an NTSC rate, which is
    a whole number times 1000/1001: 29.97 is 30000/1001, and 23.976 and 23.98 are 24000/1001.

    Raises
    ------
    ConfigError
        If it is not a positive number.
    """
    try:
        fps = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        fps = Fraction(0)
    if fps <= 0:
        raise ConfigError(f"fps {value}: expected a positive number, like 30, 29.97 or 30000/1001")
    ntsc = Fraction(math.ceil(fps) * 1000, 1001)
    return ntsc if abs(fps / ntsc - 1) < NTSC_TOLERANCE else fps


@dataclass(frozen=True)
class MotionRules:
    """How motion to the keyframe is composed; the defaults are the paper's.

    An LR branch expects motion that was composed by the rules it was trained with.
    """

    subpixel: bool = False
    """Whether motion is composed without rounding vectors to whole pixels."""
    gop: int = PAPER_GOP
    """Most frames from one keyframe to the next."""
    max_ref_back: int = PAPER_MAX_REF_BACK
    """Furthest reference that is followed, in frames; a block with a further one counts as still."""

    @property
    def max_distance(self) -> int:
        """Largest reference distance, in frames: that of the last frame before the next keyframe."""
        return self.gop - 1

    def difference(self, trained: "MotionRules") -> str:
        """Return what differs from the rules of a training, with both values; empty if nothing does."""
        pairs = {name: (value, getattr(trained, name)) for name, value in vars(self).items()}
        return ", ".join(
            f"{name} {ours} instead of {theirs}" for name, (ours, theirs) in pairs.items() if ours != theirs
        )

    def __str__(self) -> str:
        exactness = "quarter" if self.subpixel else "whole"
        return (
            f"in {exactness} pixels, up to {self.max_distance} frames from the keyframe, along references up to "
            f"{self.max_ref_back} frames back"
        )


PAPER_RULES = MotionRules()
"""Those of the published experiments."""


@dataclass(frozen=True)
class Encoding:
    """How clips are compressed, and how their motion is composed."""

    codec: str = "hevc"
    """How clips are compressed: h264, hevc, or a codec of your own."""
    rate: Rate = Rate("3000k")  # noqa: RUF009  (immutable)
    """Rate control: an average bitrate in kbit/s ("3000k"), a constant quantiser ("qp27") or quality ("crf23")."""
    gop: int = PAPER_GOP
    """Length L of a group of pictures, in frames: one keyframe and L - 1 inter frames."""
    fps: Fraction = Fraction(30)
    """Frames per second that the rate control assumes: 30, 30000/1001, or 29.97, which means the same fraction."""
    preset: str = "medium"
    """The encoder's own speed preset."""
    references: int | None = None
    """Earlier frames that a block may choose its reference from. By default HEVC's encoder decides (x265's preset
    medium: 3), and H.264 has 1, which its motion reader needs."""
    parameters: str = ""
    """More parameters of the encoder, as x264 and x265 write them: "aq-mode=1:psy-rd=0"."""
    tail: ClipTail = "gop"
    """Where clips end: after a whole GOP, or at their annotated frame."""
    subpixel: bool = False
    """Compose motion without rounding it to whole pixels; the paper rounds."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", Rate(self.rate))
        object.__setattr__(self, "fps", parse_fps(self.fps))
        if self.gop < 2:
            raise ConfigError(f"gop {self.gop}: a group of pictures has at least 2 frames")
        if self.references is not None and not 1 <= self.references <= MAX_REFERENCES:
            raise ConfigError(f"references {self.references}: expected 1 to {MAX_REFERENCES}")
        codecs.get(self.codec).check(self)

    @property
    def name(self) -> str:
        """Name in paths and tables, for example ``hevc-3000k-gop12-medium``."""
        return f"{self.codec}-{self.rate}-gop{self.gop}-{self.details}"

    @property
    def details(self) -> str:
        """What the name says after codec, rate and GOP: preset, and settings that are not the default."""
        words = [self.preset]
        if self.references is not None:
            words.append(f"ref{self.references}")
        if self.parameters:
            words.append(f"x{hashlib.sha256(self.parameters.encode()).hexdigest()[:8]}")
        if self.subpixel:
            words.append("subpixel")
        return "-".join(words)

    @property
    def motion(self) -> MotionRules:
        """How motion is composed: never along shorter references than the published programs follow."""
        return MotionRules(self.subpixel, self.gop, max(PAPER_MAX_REF_BACK, self.references or 0))

    def difference(self, other: "Encoding") -> str:
        """Return the settings that differ, with both values; empty if none does."""
        pairs = ((name, value, getattr(other, name)) for name, value in vars(self).items())
        return ", ".join(f"{name} {ours} and {theirs}" for name, ours, theirs in pairs if ours != theirs)

    def to_dict(self) -> dict[str, Any]:
        """Return all settings as builtins."""
        return asdict(self) | {"rate": str(self.rate), "fps": str(self.fps)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Return the encoding that `to_dict` gave, in this version or an earlier one; other entries are passed over.

        A setting that is added later gets here the value that files without it imply.

        Raises
        ------
        KeyError
            If a setting is missing.
        ConfigError
            If a value is invalid.
        """
        settings = {field.name: stored[field.name] for field in fields(cls)}
        return cls(**settings | {"references": settings["references"] or None})  # earlier versions wrote 0 for None


@dataclass(frozen=True)
class SegmentationClass:
    """One class of a data set."""

    index: int
    """Value in the label maps, 0 ... K - 1."""
    name: str
    """Name in tables and figures."""
    color: tuple[int, int, int]
    """RGB, 0 ... 255, in overlays."""
    void: bool
    """Whether the class means "none of the others"; scores are given with and without such classes."""


@dataclass(frozen=True)
class Normalization:
    """Per-channel mean and standard deviation of RGB images in [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    PATTERN: ClassVar[str] = r"[0-9.]+,[0-9.]+,[0-9.]+/[0-9.]+,[0-9.]+,[0-9.]+"
    """Numbers instead of a name: mean/standard deviation, each as red,green,blue."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what a name in `NORMALIZATIONS`, or a text like ``0.5,0.5,0.5/0.5,0.5,0.5``, stands for.

        A ConfigError says that it is neither, or a deviation is not positive.
        """
        if text in NORMALIZATIONS:
            return cls(*vars(NORMALIZATIONS[text]).values())
        try:
            mean, std = (tuple(map(float, part.split(","))) for part in text.split("/"))
            (red, green, blue), (*deviations,) = mean, std
            if re.fullmatch(cls.PATTERN, text) and min(deviations) > 0:
                return cls((red, green, blue), (deviations[0], deviations[1], deviations[2]))
        except ValueError:
            pass
        raise ConfigError(
            f"normalization {text!r}: expected one of {', '.join(NORMALIZATIONS)}, or numbers between 0 and 1 as "
            "mean/deviation of red,green,blue: 0.5,0.5,0.5/0.5,0.5,0.5"
        )


NORMALIZATIONS: dict[str, Normalization] = {
    "camvid": Normalization((0.39068785, 0.40521392, 0.41434407), (0.29652068, 0.30514979, 0.30080369)),
    "imagenet": Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "bisenet": Normalization((0.3257, 0.3690, 0.3223), (0.2112, 0.2148, 0.2115)),
}
"""CamVid's own, ImageNet's (PSPNet on Cityscapes), and that of the public BiSeNet (Cityscapes)."""


@dataclass(frozen=True)
class NetworkSpec:
    """What a network is: enough to build it, to feed it, and to read its output."""

    backbone: str
    """Architecture, as the registry names it."""
    num_classes: int
    """Number K of classes."""
    fusion: str | bool | None = None
    """How an LR branch of AR-Seg fuses the keyframe's feature, by a name in `arseg.fusions.fusions`; True, as in files
    of earlier versions, is CReFF. None in any other network."""
    scale_percent: int = 100
    """Resolution that it sees, in percent."""
    normalization: str = "camvid"
    """What its images are normalised with, as `Normalization.parse` takes it."""
    warp_alignment: WarpAlignment = "published"
    """Half-pixel convention of the warp; means nothing in a network without fusion."""
    classes: tuple[SegmentationClass, ...] = ()
    """The classes; empty where a file does not describe them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "fusion", PAPER_FUSION if self.fusion is True else self.fusion or None)

    @property
    def role(self) -> Role:
        """Which of AR-Seg's networks it is."""
        return "ar" if self.fusion else "hr" if self.scale_percent == 100 else "lr"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in order."""
        return tuple(cls.name for cls in self.classes)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as builtins."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Return the description that `to_dict` gave; other entries are passed over.

        Raises
        ------
        KeyError
            If the backbone, the number of classes or the fusion is missing.
        """
        required = {name: stored[name] for name in ("backbone", "num_classes", "fusion")}
        classes = (SegmentationClass(**cls | {"color": tuple(cls["color"])}) for cls in stored.get("classes", ()))
        return cls(**_known(cls, stored) | required | {"classes": tuple(classes)})


@dataclass(frozen=True)
class TrainedOn:
    """How a network came to be: everything beside its own description that its weights depend on, and its score."""

    stage: int | None = None
    """Version of the training stage."""
    seed: int | None = None
    """Seed of initial weights, order, augmentation and dropout."""
    manifest_digest: str | None = None
    """SHA-256 of the manifest."""
    train_split: str | None = None
    """Split that it has learnt from."""
    val_split: str | None = None
    """Split that its best epoch was chosen by."""
    encoding: Encoding | None = None
    """Phase 2: the clips, whose motion the branch expects."""
    hr_digest: str | None = None
    """Phase 2: SHA-256 of the checkpoint of the HR branch that it was trained beside."""
    constants: Mapping[str, Any] = field(default_factory=dict)
    """Constants of the training, see `arseg.config.TrainConfig`."""
    frame_size: tuple[int, int] | None = None
    """Width and height of the frames, before they were cropped."""
    initialized_from: Mapping[str, Any] | None = None
    """The network that it started from, and what of it was left out, see `arseg.models.imagenet.initialize_network`."""
    imported_from: Mapping[str, str] | None = None
    """Name and SHA-256 of the file, where another program has trained it."""
    epoch: int | None = None
    """Epoch of the weights, the best one in validation, from 0."""
    score: float | None = None
    """Its mIoU in validation, or its agreement with HR, 0 ... 1."""
    labelled_by: str | None = None
    """Who labelled the split of the validation, if it was a network."""
    arseg_version: str | None = None
    """Version of the package that wrote the file."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything that is known as builtins."""
        encoding = None if self.encoding is None else self.encoding.to_dict()
        return {name: value for name, value in (vars(self) | {"encoding": encoding}).items() if value is not None}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Return the description that `to_dict` gave; other entries are passed over.

        Raises
        ------
        KeyError
            If the encoding lacks a setting.
        """
        encoding = Encoding.from_dict(stored["encoding"]) if stored.get("encoding") else None
        return cls(**_known(cls, stored) | {"encoding": encoding})


def _known(cls: type[NetworkSpec | TrainedOn], stored: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: stored[field.name] for field in fields(cls) if field.name in stored}
