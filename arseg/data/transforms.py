"""Training augmentations (spec section 6) on a frame, its keyframe, its labels and the motion between them.

First everything is drawn (`draw_augmentation`), in the order of the published programs; then `apply` touches the
pixels that the crop keeps, and no others: at scale 2.5 that is a sixth of them. Resizing is Pillow's, whose rounding
the golden data pin.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageStat

from arseg.config import Normalization, TrainConfig
from arseg.errors import ConfigError

Pixels = NDArray[np.uint8]
Motion = NDArray[np.int16] | NDArray[np.float32]
Indices = NDArray[np.intp]
Size = tuple[int, int]

RAMP = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
"""All levels of a channel, for look-up tables in Pillow's own arithmetic."""

LITTLE_MORE = 1.25
"""How many times the pixels of a part may be resized, if the result is exact then."""


@dataclass(frozen=True)
class PairSample:
    """One training sample; all arrays have the same height and width."""

    image: Pixels
    """RGB frame, shape (H, W, 3)."""
    keyframe: Pixels | None
    """RGB keyframe of the frame's clip, shape (H, W, 3); None where a single frame is trained."""
    labels: Pixels
    """Class indices of the frame, 255 = ignored, shape (H, W)."""
    motion_qpel: Motion | None
    """Displacement (x, y) in quarter pixels from each pixel to its source in the keyframe, shape (H, W, 2).

    Stored motion is int16; `apply` gives float32 because a random scale leaves no whole quarter pixels.
    """


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
    """What shall become of a sample; frame and keyframe are treated alike.

    The steps are taken in the order of the fields. Without any, a sample stays as it is.
    """

    source: Size
    """Width and height of the sample in pixels."""
    jitter: Jitter = AS_IT_IS
    """Change of colours."""
    mirrored: bool = False
    """Whether left and right change sides."""
    resizes: tuple[Resize, ...] = ()
    """Changes of size, one after the other."""
    crop: Window | None = None
    """Part of the resized picture that is kept; all of it if None."""

    @property
    def sizes(self) -> list[Size]:
        """Widths and heights in pixels of the whole picture: the source's, and one behind each resize."""
        return [self.source, *((resize.width, resize.height) for resize in self.resizes)]

    @property
    def window(self) -> Window:
        """Part of the resized picture that is kept."""
        width, height = self.sizes[-1]
        return self.crop or Window(range(width), range(height))


def draw_augmentation(size: Size, rng: random.Random, train: TrainConfig) -> Augmentation:
    """Draw all that is done to a sample: colour jitter, flip, random scale, random crop.

    Parameters
    ----------
    size : (int, int)
        Width and height of the sample in pixels.
    rng : random.Random
        Source of the draws.
    train : TrainConfig
        What is drawn from.

    Returns
    -------
    augmentation : Augmentation

    Raises
    ------
    ConfigError
        As `random_crop`.
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

    What is smaller than the window is first enlarged to cover it.

    Parameters
    ----------
    augmentation : Augmentation
        What is done before.
    rng : random.Random
        Source of the two draws.
    size : (int, int)
        Width and height of the window in pixels.
    original : bool
        Do as the published programs: a portrait picture is enlarged to the window's width, any other to its height,
        and the motion is resized but keeps its values, which are then too short.

    Raises
    ------
    ConfigError
        If a picture that was enlarged as in the published programs does not cover the window. They go on with pixels
        of class 0 around it.
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
                f"pixels to {enlarged.width}x{enlarged.height}, which does not cover the crop. Set "
                "training.original_quirks to false, or training.crop to the shape of the frames"
            )
        width, height = enlarged[:2]
        augmentation = replace(augmentation, resizes=(*augmentation.resizes, enlarged))
    left = int(rng.random() * (width - crop_width))
    top = int(rng.random() * (height - crop_height))
    return replace(augmentation, crop=Window(range(left, left + crop_width), range(top, top + crop_height)))


def apply(augmentation: Augmentation, sample: PairSample) -> PairSample:
    """Do what was drawn.

    Parameters
    ----------
    augmentation : Augmentation
        Drawn for the sample's size.
    sample : PairSample
        The sample, unchanged.

    Returns
    -------
    augmented : PairSample
        Labels and motion are exactly those of whole pictures, resized and then cut; images within 2 of 255 (see
        `_exact_part`).
    """
    keyframe, motion = sample.keyframe, sample.motion_qpel
    return PairSample(
        image=_augment_image(augmentation, sample.image),
        keyframe=None if keyframe is None else _augment_image(augmentation, keyframe),
        labels=_augment_labels(augmentation, sample.labels),
        motion_qpel=None if motion is None else _augment_motion(augmentation, motion),
    )


def normalize(image: Pixels, normalization: Normalization) -> NDArray[np.float32]:
    """Bring an RGB image to the network's input range.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB.
    normalization : Normalization
        Mean and standard deviation of RGB in [0, 1].

    Returns
    -------
    normalized : ndarray of float32, shape (3, H, W)
        ``(image / 255 - mean) / std``.
    """
    mean = np.array(normalization.mean, dtype=np.float32)
    std = np.array(normalization.std, dtype=np.float32)
    normalized = (image.astype(np.float32) / np.float32(255) - mean) / std
    return np.ascontiguousarray(normalized.transpose(2, 0, 1))  # (3, H, W)


def _augment_image(augmentation: Augmentation, pixels: Pixels) -> Pixels:
    """Go from the window back to what it needs of the source, and forth again with that alone."""
    changes = [(before, after) for before, after in pairwise(augmentation.sizes) if before != after]
    wanted, parts = augmentation.window, []
    for before, after in reversed(changes):
        parts.append(Window(*map(_exact_part, wanted, before, after)))
        wanted = Window(*map(_read_part, parts[-1], before, after))
    image, have = _jittered_part(augmentation, pixels, wanted), wanted
    for (before, after), part in zip(changes, reversed(parts), strict=True):
        left, right, top, bottom = (
            edge * before[axis] / after[axis] - have[axis].start
            for axis in range(2)
            for edge in (part[axis].start, part[axis].stop)
        )
        size = len(part.columns), len(part.rows)
        image = image.resize(size, Image.Resampling.BILINEAR, (left, top, right, bottom))  # antialiased when shrinking
        have = part
    columns, rows = (
        slice(kept.start - had.start, kept.stop - had.start)
        for kept, had in zip(augmentation.window, have, strict=True)
    )
    return np.array(np.asarray(image)[rows, columns])  # of its own: Pillow's may not be written to


def _exact_part(wanted: range, before: int, after: int) -> range:
    """Widen a part of a resized axis to whole pixels of the axis before, where that adds little.

    Pillow takes the edges of what it reads as numbers of 24 bits. Where those are not exact, it may round sums that lie
    half-way between two levels to the other one.
    """
    period = after // math.gcd(before, after)
    part = range(wanted.start // period * period, -(-wanted.stop // period) * period)
    return part if len(part) <= LITTLE_MORE * len(wanted) else wanted


def _read_part(part: range, before: int, after: int) -> range:
    """Give the part of an axis that Pillow's filter reads for a part of the resized axis."""
    margin = math.ceil(max(1.0, before / after)) + 1  # the filter's reach, and one pixel for rounding
    first, last = part.start * before // after, -(-part.stop * before // after)
    return range(max(0, first - margin), min(before, last + margin))


def _jittered_part(augmentation: Augmentation, pixels: Pixels, part: Window) -> Image.Image:
    """Cut a part out of the mirrored source, with its colours changed.

    Brightness and contrast are look-up tables. The contrast pivots on the mean luma of the whole picture: a pair shares
    the factors, not the pivot.
    """
    brightness, contrast, saturation = augmentation.jitter
    whole = Image.fromarray(pixels)
    brightened = Image.blend(Image.new("L", RAMP.size, 0), RAMP, brightness)
    luma = whole.point(brightened.tobytes() * 3).convert("L")
    pivot = int(ImageStat.Stat(luma).mean[0] + 0.5)
    table = Image.blend(Image.new("L", RAMP.size, pivot), brightened, contrast).tobytes()
    left, right = part.columns.start, part.columns.stop
    if augmentation.mirrored:
        left, right = whole.width - right, whole.width - left
    image = whole.crop((left, part.rows.start, right, part.rows.stop)).point(table * 3)
    image = Image.blend(image.convert("L").convert("RGB"), image, saturation)
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if augmentation.mirrored else image


def _augment_labels(augmentation: Augmentation, labels: Pixels) -> Pixels:
    return _take(augmentation, labels, _nearest_by_centres)


def _augment_motion(augmentation: Augmentation, motion_qpel: Motion) -> NDArray[np.float32]:
    # Nearest by the corner rule, as OpenCV does it, whereas Pillow's nearest takes pixel centres for the labels: half a
    # pixel apart, as in the published programs.
    motion = _take(augmentation, motion_qpel, _nearest_by_corners).astype(np.float32)
    if augmentation.mirrored:
        motion[..., 0] *= -1
    for resize in augmentation.resizes:
        motion *= np.float32(resize.motion_factor)
    return motion


def _take(augmentation: Augmentation, array: NDArray[Any], nearest: Callable[[int, int], Indices]) -> NDArray[Any]:
    """Take the pixels of the source that are nearest to the window's."""
    columns, rows = (np.arange(kept.start, kept.stop) for kept in augmentation.window)
    for before, after in reversed(list(pairwise(augmentation.sizes))):
        columns, rows = nearest(before[0], after[0])[columns], nearest(before[1], after[1])[rows]
    if augmentation.mirrored:
        columns = augmentation.source[0] - 1 - columns
    first = rows[0]  # the rows between the outermost go first, because a step along rows is the costly one
    return array[first : rows[-1] + 1].take(columns, axis=1).take(rows - first, axis=0)


def _nearest_by_centres(before: int, after: int) -> Indices:
    """Tell which pixel Pillow takes for each pixel of a resized axis: it says it itself, down to its rounding."""
    numbers = Image.fromarray(np.arange(before, dtype=np.int32)[None])
    return np.asarray(numbers.resize((after, 1), Image.Resampling.NEAREST))[0]


def _nearest_by_corners(before: int, after: int) -> Indices:
    return np.arange(after) * before // after
