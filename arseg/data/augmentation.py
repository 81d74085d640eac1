"""What becomes of a training sample (docs/method.md, 'Augmentation'), drawn before a pixel is touched.

Each step takes its random source, so that the draws, and their order, are those of the published programs.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from arseg.config import TrainConfig
from arseg.errors import ConfigError

Size = tuple[int, int]


class Jitter(NamedTuple):
    """Factors of brightness, contrast and saturation, which are changed in this order."""

    brightness: float
    contrast: float
    saturation: float


AS_IT_IS = Jitter(1.0, 1.0, 1.0)


class Resize(NamedTuple):
    """A new size in pixels, and what motion is multiplied by on the way to it."""

    width: int
    height: int
    motion_factor: float


class Window(NamedTuple):
    """A part of a picture."""

    columns: range
    rows: range


@dataclass(frozen=True)
class Augmentation:
    """What becomes of a sample; frame and keyframe are treated alike.

    The steps are taken in the order of the fields. Without any, a sample stays as it is.
    """

    source: Size
    """Width and height of the sample in pixels."""
    jitter: Jitter = AS_IT_IS
    mirrored: bool = False
    """Whether left and right change sides."""
    resizes: tuple[Resize, ...] = ()
    crop: Window | None = None
    """Part of the resized picture that is kept; all of it if None."""

    @property
    def sizes(self) -> list[Size]:
        """Widths and heights in pixels of the whole picture: the source's, and one after each resize."""
        return [self.source, *((resize.width, resize.height) for resize in self.resizes)]

    @property
    def window(self) -> Window:
        """Part of the resized picture that is kept."""
        width, height = self.sizes[-1]
        return self.crop or Window(range(width), range(height))


def draw_augmentation(size: Size, rng: random.Random, train: TrainConfig) -> Augmentation:
    """Draw all that is done to a sample of `size` (width, height) pixels: colour jitter, flip, random scale and crop.

    A ConfigError is raised as by `random_crop`.
    """
    augmentation = color_jitter(Augmentation(size), rng, train.jitter)
    augmentation = flip(augmentation, rng)
    augmentation = random_scale(augmentation, rng, train.random_scales)
    return random_crop(augmentation, rng, train.crop_size, original=train.original_quirks)


def color_jitter(augmentation: Augmentation, rng: random.Random, jitter: float) -> Augmentation:
    """Add a change of brightness, contrast and saturation: three draws from 1 - `jitter` ... 1 + `jitter`."""
    return replace(augmentation, jitter=Jitter(*(rng.uniform(1 - jitter, 1 + jitter) for _ in range(3))))


def flip(augmentation: Augmentation, rng: random.Random) -> Augmentation:
    """Add mirroring left to right with probability 1/2 (one draw); the x components of the motion change sign."""
    return replace(augmentation, mirrored=rng.random() <= 0.5)


def random_scale(augmentation: Augmentation, rng: random.Random, scales: Sequence[float]) -> Augmentation:
    """Add a resize by one of `scales`, drawn evenly (one draw); motion is multiplied by the scale.

    Both sides are truncated to whole pixels, as in the published programs.
    """
    scale = rng.choice(scales)
    width, height = augmentation.sizes[-1]
    return replace(
        augmentation, resizes=(*augmentation.resizes, Resize(int(width * scale), int(height * scale), scale))
    )


def random_crop(augmentation: Augmentation, rng: random.Random, size: Size, *, original: bool = False) -> Augmentation:
    """Add the choice of a random window (two draws: x, then y); without any draw if the size fits already.

    What is smaller than the window is first enlarged to cover it. With `original`, do as the published programs: a
    portrait picture is enlarged to the window's width, any other to its height, and the motion is resized but keeps its
    values, which are then too short. Where that does not cover the window, they go on with pixels of class 0 around it;
    here it is a ConfigError.
    """
    crop_width, crop_height = size
    width, height = augmentation.sizes[-1]
    if (width, height) == size:
        return augmentation
    if width < crop_width or height < crop_height:
        scales = crop_width / width, crop_height / height
        scale = max(scales) if not original else scales[0] if width < height else scales[1]
        # One pixel more than needed, as in the published programs.
        enlarged = Resize(int(scale * width + 1), int(scale * height + 1), 1.0 if original else scale)
        if enlarged.width < crop_width or enlarged.height < crop_height:
            raise ConfigError(
                f"training.crop {crop_width}x{crop_height}: the published programs enlarge a frame of {width}x{height} "
                f"pixels (random scale included) to {enlarged.width}x{enlarged.height}, which does not cover the crop. "
                "Set original_quirks to false, or training.crop to the shape of the frames"
            )
        width, height = enlarged[:2]
        augmentation = replace(augmentation, resizes=(*augmentation.resizes, enlarged))
    left = int(rng.random() * (width - crop_width))
    top = int(rng.random() * (height - crop_height))
    return replace(augmentation, crop=Window(range(left, left + crop_width), range(top, top + crop_height)))
