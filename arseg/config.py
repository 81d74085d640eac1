"""Settings as frozen dataclasses, checked when they are made.

The flow is YAML -> schema -> Snakemake parameters -> command-line flags -> these classes -> stored in the output.
Nothing here reads YAML. Field docstrings are what ``arseg ... --help`` shows.
"""

import re
from dataclasses import dataclass
from typing import Literal

from arseg.errors import ConfigError
from arseg.spec import WarpAlignment

IGNORE_INDEX = 255
"""Label value of pixels that count neither in a loss nor in a score."""

Backbone = str
"""Name of a network in `arseg.networks.networks`."""


@dataclass(frozen=True)
class TrainConfig:
    """Constants of a training run (docs/method.md, 'Training'); the defaults are the paper's for CamVid."""

    augmentation: Literal["paper", "pidnet"] = "paper"
    """How samples are scaled and cropped: as the paper's programs do, or as the public PIDNet does, which pads frames
    that are smaller than the crop, mirrors last, and leaves colours alone."""
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
    """Learning rate at the first iteration; the schedule lowers it in every iteration."""
    schedule: Literal["cosine", "poly"] = "cosine"
    """Course of the learning rate: half a cosine, or PIDNet's power 0.9 of the iterations left."""
    epochs: int = 100
    """Passes over the training split."""
    batch_size: int = 8
    """Samples per optimisation step; an incomplete last batch is dropped."""
    class_weights: tuple[float, ...] = ()
    """Networks with a boundary branch only: weight of each class in the loss; empty for 1."""
    edge_margin: int = 0
    """Networks with a boundary branch only: pixels along the frame's sides without boundaries."""
    unfused_epochs: int = 50
    """Phase 2 only: first epochs, in which the LR branch runs without fusion."""
    feature_similarity: bool = True
    """Phase 2 only: supervise the fused feature with the HR branch's own (FST)."""
    warp_alignment: WarpAlignment = "published"
    """Phase 2 only: the half-pixel convention of the warp; "published" is what released checkpoints expect."""
    initial_weights: str = "imagenet"
    """Weights to start from: "imagenet" (the backbone's, by torchvision), "none", or the path of the backbone's or of
    a checkpoint of the same network for any classes."""
    start_from: Literal["backbone", "hr"] = "backbone"
    """Phase 2 only: start from initial_weights (the paper's CamVid) or from the whole HR branch (Cityscapes)."""
    validate_every: int = 1
    """Epochs between two validations."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Arithmetic of the training step: float32, or products in bfloat16 or float16 with float32 weights."""
    channels_last: bool = False
    """Keep the channels of a pixel side by side in memory, which GPUs with tensor cores prefer; with bf16-mixed."""
    original_quirks: bool = False
    """Restore, for comparison, what the published training did wrong (docs/method.md, 'Fixed')."""

    def __post_init__(self) -> None:
        self.crop_size  # noqa: B018  (raises on a malformed crop)
        for name in ("epochs", "batch_size", "validate_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} {getattr(self, name)}: must be at least 1")
        for name in ("unfused_epochs", "edge_margin"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} {getattr(self, name)}: must not be negative")
        if not self.random_scales or min(self.random_scales) <= 0:
            raise ConfigError(f"random_scales {self.random_scales}: one or more positive factors are needed")

    @property
    def crop_size(self) -> tuple[int, int]:
        """Width and height of the crop in pixels."""
        match = re.fullmatch(r"(\d+)x(\d+)", self.crop)
        if not match or not min(int(n) for n in match.groups()):
            raise ConfigError(f"crop {self.crop!r}: expected WIDTHxHEIGHT in pixels, for example 960x720")
        return int(match[1]), int(match[2])


def scaled_size(height: int, width: int, scale_percent: int) -> tuple[int, int]:
    """Low-resolution size, truncated as in the published programs: 720 rows at 70 % are 503, not 504.

    The truncated product is of binary floating-point numbers: ``int(720 * 0.7)`` is 503 because 0.7 is a little
    less than seven tenths. Published features and tables depend on it.
    """
    scale = scale_percent / 100
    return int(height * scale), int(width * scale)
