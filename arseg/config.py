"""Settings as frozen dataclasses, checked when they are made.

The flow is YAML -> schema -> Snakemake parameters -> command-line flags -> these classes -> stored in the output.
Nothing here reads YAML. Field docstrings are what ``arseg ... --help`` shows.
"""

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from arseg.encoder_parameters import digest_parameters, read_parameters
from arseg.errors import ConfigError

IGNORE_INDEX = 255
"""Label value of pixels that count neither in a loss nor in a score."""

Codec = Literal["h264", "hevc"]
Backbone = Literal["psp18", "psp18-cityscapes", "bise18", "tiny", "small"]
Mode = Literal["hr", "lr", "ar"]
WarpAlignment = Literal["published", "consistent"]

RATE_PATTERN = re.compile(r"(?P<kbps>[1-9]\d*)k|qp(?P<qp>\d+)|crf(?P<crf>\d+)")

NTSC_TOLERANCE = 2e-4
"""Relative error of 23.98, the coarsest abbreviation of an NTSC rate; a whole number is 1e-3 away from one."""

MAX_REFERENCES = 16
"""Pictures that a decoder of either standard can hold."""


def parse_fps(value: int | float | str | Fraction) -> Fraction:
    """Return a number of frames per second as the fraction that is meant.

    Parameters
    ----------
    value : int, float, str or Fraction
        A number (30, 12.5), a fraction ("30000/1001"), or the usual abbreviation of an NTSC rate, which is a whole
        number times 1000/1001: 29.97 is 30000/1001, and 23.976 and 23.98 are 24000/1001.

    Returns
    -------
    fps : Fraction
        Exact frames per second.

    Raises
    ------
    ConfigError
        If it is no positive number.
    """
    try:
        fps = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        fps = Fraction(0)
    if fps <= 0:
        raise ConfigError(f"fps {value}: expected a positive number, like 30, 29.97 or 30000/1001")
    ntsc = Fraction(math.ceil(fps) * 1000, 1001)
    return ntsc if abs(fps / ntsc - 1) < NTSC_TOLERANCE else fps


def plain_fps(fps: Fraction) -> int | str:
    """Return a number of frames per second as files store it: a whole number, or a text like "30000/1001"."""
    return fps.numerator if fps.denominator == 1 else str(fps)


@dataclass(frozen=True)
class EncodeConfig:
    """How clips are compressed (spec section 3)."""

    codec: Codec = "hevc"
    """Video coding standard."""
    rate: str = "3000k"
    """Rate control: an average bitrate in kb/s ("3000k"), a constant quantiser ("qp27") or quality ("crf23")."""
    gop: int = 12
    """Length L of a group of pictures, in frames: one keyframe and L - 1 inter frames."""
    fps: Fraction = Fraction(30)
    """Frames per second that the rate control assumes: 30, 30000/1001, or 29.97, which means the same fraction."""
    preset: str = "medium"
    """The encoder's own speed preset."""
    references: int | None = None
    """Earlier pictures that a block may choose its reference from. By default HEVC's encoder decides (x265's preset
    medium: 3), and H.264 has 1, which its motion reader needs."""
    parameters: str = ""
    """More parameters of x264 or x265, as they write them: "aq-mode=1:psy-rd=0"."""

    def __post_init__(self) -> None:
        if not RATE_PATTERN.fullmatch(self.rate):
            raise ConfigError(f"rate {self.rate!r}: expected a bitrate like 3000k, or qp27, or crf23")
        if self.gop < 2:
            raise ConfigError(f"gop {self.gop}: a group of pictures has at least 2 frames")
        object.__setattr__(self, "fps", parse_fps(self.fps))
        if self.references is not None and not 1 <= self.references <= MAX_REFERENCES:
            raise ConfigError(f"references {self.references}: expected 1 to {MAX_REFERENCES}")
        if self.codec == "h264" and self.references not in (None, 1):
            raise ConfigError(
                f"references {self.references}: H.264 needs exactly 1, because decoders do not tell which of several "
                "pictures a vector points to. Leave it out, or use codec hevc"
            )
        read_parameters(self.parameters, self.codec)  # raises on what cannot be

    @property
    def name(self) -> str:
        """Name of the encoding in paths and tables, for example ``hevc-3000k-gop12-medium``."""
        words = [self.codec, self.rate, f"gop{self.gop}", self.preset]
        if self.references is not None:
            words.append(f"ref{self.references}")
        if self.parameters:
            words.append(f"x{digest_parameters(self.parameters)}")
        return "-".join(words)


def encoding_name(encode: EncodeConfig, *, subpixel: bool = False) -> str:
    """Name of a way to compress clips and to compose their motion: what one clip store has and another has not.

    Parameters
    ----------
    encode : EncodeConfig
        How clips are compressed.
    subpixel : bool
        Whether motion is composed without rounding to whole pixels.

    Returns
    -------
    name : str
        The compression's own name, with ``-subpixel`` behind it if motion is not composed as in the paper.
    """
    return f"{encode.name}-subpixel" if subpixel else encode.name


PUBLISHED_SPLITS = {"camvid": "kaggle-test", "cityscapes": "val"}
"""Split of each data set that the published values were measured on, as the adapters name it."""


def published_backbone(dataset: str, backbone: str) -> str:
    """Name a network as the authors' result files do: there, psp18 is the form that was published on the data set.

    Parameters
    ----------
    dataset, backbone : str
        As they are named here.

    Returns
    -------
    name : str
        Without a hyphen. The form that was not published on a data set has a name that no published value has.
    """
    names = {("cityscapes", "psp18-cityscapes"): "psp18", ("cityscapes", "psp18"): "psp18camvid"}
    return names.get((dataset, backbone), backbone.replace("-", ""))


@dataclass(frozen=True)
class TrainConfig:
    """Constants of a training run (spec section 6); the defaults are the paper's for CamVid."""

    crop: str = "960x720"
    """Size of a training sample, WIDTHxHEIGHT in pixels."""
    random_scales: tuple[float, ...] = (0.5, 0.675, 0.75, 0.875, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5)
    """Factors of the random resize, drawn evenly."""
    jitter: float = 0.5
    """Half-width of the colour jitter's factors: brightness, contrast, saturation in 1 - jitter ... 1 + jitter."""
    normalization: Literal["camvid", "imagenet", "bisenet"] = "camvid"
    """Mean and standard deviation that images are normalised with."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """Adam, or SGD with momentum 0.9 and weight decay 5e-4."""
    learning_rate: float = 1e-3
    """Learning rate at the first iteration; a cosine schedule lowers it in every iteration."""
    epochs: int = 100
    """Passes over the training split."""
    batch_size: int = 8
    """Samples per optimisation step; an incomplete last batch is dropped."""
    unfused_epochs: int = 50
    """Phase 2 only: first epochs, in which the LR branch runs without fusion."""
    feature_similarity: bool = True
    """Phase 2 only: supervise the fused feature with the HR branch's own (FST)."""
    warp_alignment: WarpAlignment = "published"
    """Phase 2 only: the half-pixel convention of the warp; "published" is what released checkpoints expect."""
    initial_weights: str = "imagenet"
    """Backbone weights to start from: "imagenet" (by torchvision), "none", or the path of a state dict."""
    start_from: Literal["backbone", "hr"] = "backbone"
    """Phase 2 only: start from initial_weights (the paper's CamVid) or from the whole HR branch (Cityscapes)."""
    validate_every: int = 1
    """Epochs between two validations."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Arithmetic of the training step: float32, or products in bfloat16 or float16 with float32 weights."""
    channels_last: bool = False
    """Keep the channels of a pixel side by side in memory, which GPUs with tensor cores prefer; with bf16-mixed."""
    original_quirks: bool = False
    """Restore, for comparison, what the published training did wrong (spec section 10, second list)."""

    def __post_init__(self) -> None:
        self.crop_size  # noqa: B018  (raises on a malformed crop)
        for name in ("epochs", "batch_size", "validate_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} {getattr(self, name)}: must be at least 1")
        if not self.unfused_epochs >= 0:
            raise ConfigError(f"unfused_epochs {self.unfused_epochs}: must not be negative")
        if not self.random_scales or min(self.random_scales) <= 0:
            raise ConfigError(f"random_scales {self.random_scales}: one or more positive factors are needed")

    @property
    def crop_size(self) -> tuple[int, int]:
        """Width and height of the crop in pixels."""
        match = re.fullmatch(r"(\d+)x(\d+)", self.crop)
        if not match or not min(int(n) for n in match.groups()):
            raise ConfigError(f"crop {self.crop!r}: expected WIDTHxHEIGHT in pixels, for example 960x720")
        return int(match[1]), int(match[2])


@dataclass(frozen=True)
class Normalization:
    """Per-channel mean and standard deviation of RGB images in [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


NORMALIZATIONS: dict[str, Normalization] = {
    "camvid": Normalization((0.39068785, 0.40521392, 0.41434407), (0.29652068, 0.30514979, 0.30080369)),
    "imagenet": Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "bisenet": Normalization((0.3257, 0.3690, 0.3223), (0.2112, 0.2148, 0.2115)),
}
"""Spec section 2: CamVid's own, ImageNet's (PSPNet on Cityscapes) and the public BiSeNet's (Cityscapes)."""


def scaled_size(height: int, width: int, scale_percent: int) -> tuple[int, int]:
    """Low-resolution size, truncated as in the published programs: 720 rows at 70 % are 503, not 504.

    The truncated product is of binary floating-point numbers: ``int(720 * 0.7)`` is 503 because 0.7 is a little
    less than seven tenths. Published features and tables depend on it.
    """
    scale = scale_percent / 100
    return int(height * scale), int(width * scale)
