"""Training augmentations (spec section 6) on a frame, its keyframe, its labels and the motion between them.

Each function takes its random source, so that the draws, and their order, are those of the published
programs. Resizing is Pillow's, whose rounding the golden data pin.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from arseg.config import Normalization, TrainConfig

Pixels = NDArray[np.uint8]
Motion = NDArray[np.float32]


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

    Stored motion is int16; it is float32 here because a random scale leaves no whole quarter pixels.
    """


def augment(sample: PairSample, rng: random.Random, train: TrainConfig) -> PairSample:
    """Apply all augmentations in the published order: colour jitter, flip, random scale, random crop."""
    sample = color_jitter(sample, rng, train.jitter)
    sample = flip(sample, rng)
    sample = random_scale(sample, rng, train.random_scales)
    return random_crop(sample, rng, train.crop_size, original=train.original_quirks)


def color_jitter(sample: PairSample, rng: random.Random, jitter: float) -> PairSample:
    """Change brightness, then contrast, then saturation; frame and keyframe by the same factors.

    Parameters
    ----------
    sample : PairSample
        The sample.
    rng : random.Random
        Source of three uniform draws.
    jitter : float
        Half-width of the factors' range around 1.
    """
    brightness, contrast, saturation = (rng.uniform(1 - jitter, 1 + jitter) for _ in range(3))

    def enhance(pixels: Pixels) -> Pixels:
        image = Image.fromarray(pixels)
        image = ImageEnhance.Brightness(image).enhance(brightness)
        # Contrast pivots on each image's own mean luma: a pair shares the factors, not the pivot.
        image = ImageEnhance.Contrast(image).enhance(contrast)
        image = ImageEnhance.Color(image).enhance(saturation)
        return np.asarray(image)

    return _map_images(sample, enhance)


def flip(sample: PairSample, rng: random.Random) -> PairSample:
    """Mirror left to right with probability 1/2 (one draw); the x components of the motion change sign."""
    if rng.random() > 0.5:
        return sample
    motion = sample.motion_qpel
    if motion is not None:
        motion = motion[:, ::-1] * np.array([-1, 1], dtype=np.float32)

    def mirror(pixels: Pixels) -> Pixels:
        return np.ascontiguousarray(pixels[:, ::-1])

    return replace(_map_images(sample, mirror), labels=mirror(sample.labels), motion_qpel=motion)


def random_scale(sample: PairSample, rng: random.Random, scales: Sequence[float]) -> PairSample:
    """Resize by one of `scales`, drawn evenly (one draw); motion is multiplied by the scale.

    Both sides are truncated to whole pixels, as in the published programs.
    """
    scale = rng.choice(scales)
    height, width = sample.labels.shape
    return _resize(sample, int(width * scale), int(height * scale), motion_factor=scale)


def random_crop(sample: PairSample, rng: random.Random, size: tuple[int, int], *, original: bool = False) -> PairSample:
    """Cut out a random window (two draws: x, then y); without any draw if the size fits already.

    A sample smaller than the window is first enlarged to cover it.

    Parameters
    ----------
    sample : PairSample
        The sample.
    rng : random.Random
        Source of the two draws.
    size : (int, int)
        Width and height of the window in pixels.
    original : bool
        Do as the published programs: the enlarging step resizes the motion but leaves its values, which are
        then too short.
    """
    crop_width, crop_height = size
    height, width = sample.labels.shape
    if (width, height) == size:
        return sample
    if width < crop_width or height < crop_height:
        scale = max(crop_width / width, crop_height / height)
        # One pixel more than needed, as in the published programs.
        width, height = int(scale * width + 1), int(scale * height + 1)
        sample = _resize(sample, width, height, motion_factor=1.0 if original else scale)
    left = int(rng.random() * (width - crop_width))
    top = int(rng.random() * (height - crop_height))
    window = np.s_[top : top + crop_height, left : left + crop_width]
    cropped = _map_images(sample, lambda pixels: pixels[window])
    motion = sample.motion_qpel
    return replace(cropped, labels=sample.labels[window], motion_qpel=None if motion is None else motion[window])


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


def _map_images(sample: PairSample, change: Callable[[Pixels], Pixels]) -> PairSample:
    keyframe = None if sample.keyframe is None else change(sample.keyframe)
    return replace(sample, image=change(sample.image), keyframe=keyframe)


def _resize(sample: PairSample, width: int, height: int, motion_factor: float) -> PairSample:
    """Resize to a given size: images bilinear (antialiased when shrinking), labels and motion nearest."""

    def resize(pixels: Pixels, method: Image.Resampling) -> Pixels:
        return np.asarray(Image.fromarray(pixels).resize((width, height), method))

    motion = sample.motion_qpel
    if motion is not None:
        # Nearest by the corner rule floor(i n / m), as OpenCV does it, whereas Pillow's nearest takes pixel
        # centres for the labels: half a pixel apart, as in the published programs.
        rows = np.arange(height) * motion.shape[0] // height
        columns = np.arange(width) * motion.shape[1] // width
        motion = motion[rows[:, None], columns] * np.float32(motion_factor)
    return replace(
        _map_images(sample, lambda pixels: resize(pixels, Image.Resampling.BILINEAR)),
        labels=resize(sample.labels, Image.Resampling.NEAREST),
        motion_qpel=motion,
    )
