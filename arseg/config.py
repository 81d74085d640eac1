"""Settings: training constants, sizes, and what keys of a configuration have in common.

The flow is YAML -> schema -> Snakemake parameters -> command-line flags -> dataclasses, checked when they are made ->
stored in the output. Nothing here reads YAML. Field docstrings are what ``arseg ... --help`` shows.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from arseg.errors import ConfigError
from arseg.fusions import fusions
from arseg.spec import PAPER_FUSION, Normalization, WarpAlignment

IGNORE_INDEX = 255
"""Label value of pixels that count neither in a loss nor in a score."""


def bounds(**words: Any) -> tuple[tuple[str, Any], ...]:
    """Return words of JSON schema as what the annotation of a key can hold."""
    return tuple(words.items())


Count = Annotated[int, bounds(minimum=1)]
Name = Annotated[str, bounds(pattern="^[A-Za-z0-9_-]+$")]


def expanded(path: str, key: str) -> str:
    """Return a configured path with its environment variables replaced; raise `ConfigError` if one is not set."""
    result = os.path.expandvars(Path(path).expanduser())
    if "$" in result:
        raise ConfigError(
            f"{key}: {path!r} names an environment variable that is not set. Export it, or write the path."
        )
    return result


def existing(path: str, key: str) -> str:
    """Return a configured path likewise; raise `ConfigError` also if nothing is there."""
    result = expanded(path, key)
    if not Path(result).exists():
        raise ConfigError(f"{key}: {result} does not exist. Correct the path.")
    return result


def parse_size(text: str, key: str = "--size", least: int = 1) -> tuple[int, int]:
    """Return height and width of ``WIDTHxHEIGHT``, in pixels.

    Raises
    ------
    ConfigError
        If it has another form, or a side is less than `least`; the message names the key.
    """
    sides = re.fullmatch(r"(\d+)x(\d+)", text)
    if sides is None or min(map(int, sides.groups())) < least:
        bound = f", {least} or more each" if least > 1 else ""
        raise ConfigError(f"{key} {text}: expected WIDTHxHEIGHT in pixels{bound}, for example 960x720")
    return int(sides[2]), int(sides[1])


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
    normalization: str = "camvid"
    """What images are normalised with: camvid, imagenet or bisenet, or numbers as mean/deviation of red,green,blue in
    0 ... 1: 0.5,0.5,0.5/0.5,0.5,0.5."""
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
    fusion: Annotated[str, fusions] = PAPER_FUSION
    """Phase 2 only: how the LR branch fuses the keyframe's feature: "creff", the paper's, or "gated", which starts as
    propagation and learns where to distrust it, also by the codec's own evidence in "gated-codec"."""
    distances: Literal["last", "all"] = "last"
    """Phase 2 only: reference distances that are learnt from: the largest alone, as in the paper, or all from 1 on, of
    which each sample draws one."""
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
        Normalization.parse(self.normalization)
        fusions.get(self.fusion)
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
        return parse_size(self.crop, "crop")[::-1]


def scaled_size(height: int, width: int, scale_percent: int) -> tuple[int, int]:
    """Return height and width in low resolution, truncated as in the published programs: 720 rows at 70 % are 503.

    The truncated product is of binary floating-point numbers: ``int(720 * 0.7)`` is 503 because 0.7 is a little
    less than seven tenths. Published features and tables depend on it.
    """
    scale = scale_percent / 100
    return int(height * scale), int(width * scale)
