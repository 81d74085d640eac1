"""Training augmentations on a frame, its keyframe, its labels and the motion between them.

What was drawn (`arseg.data.augmentation`) is done here to the pixels that the crop keeps, and to no others: at scale
2.5 they are a sixth. Resizing is Pillow's, whose rounding the golden data pin.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageStat

from arseg.codec.frame import BLOCK_SIZE
from arseg.data.augmentation import Augmentation, Window

Pixels = NDArray[np.uint8]
Motion = NDArray[np.int16] | NDArray[np.float32]
Indices = NDArray[np.intp]

RAMP = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
"""All levels of a channel, for look-up tables in Pillow's own arithmetic."""

LITTLE_MORE = 1.25
"""How many times the pixels of a part may be resized, if the result is exact then."""


@dataclass(frozen=True)
class PairSample:
    """One training sample; all arrays have the same height and width, but for the evidence as it is stored."""

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
    edges: Pixels | None = None
    """1 where classes meet, else 0, shape (H, W); None where no loss asks for it."""
    evidence: Pixels | None = None
    """How far the motion can be trusted, shape (ceil(H / 4), ceil(W / 4), 3) for 4x4 blocks; `apply` gives that of each
    pixel, (H, W, 3). None where no fusion asks for it."""


def evidence_of_pixels(sample: PairSample) -> Pixels | None:
    """Return the evidence of each pixel of a sample as it is stored, shape (H, W, 3)."""
    if sample.evidence is None:
        return None
    height, width = sample.labels.shape
    return sample.evidence.repeat(BLOCK_SIZE, axis=0).repeat(BLOCK_SIZE, axis=1)[:height, :width]


def apply(augmentation: Augmentation, sample: PairSample) -> PairSample:
    """Return the sample with what was drawn for its size done to it.

    Labels, edges and motion are exactly those of whole pictures, resized and then cut; images are within 2 of 255 (see
    `_exact_part`).
    """
    keyframe, motion, edges, evidence = sample.keyframe, sample.motion_qpel, sample.edges, evidence_of_pixels(sample)
    return PairSample(
        image=_augment_image(augmentation, sample.image),
        keyframe=None if keyframe is None else _augment_image(augmentation, keyframe),
        labels=_augment_labels(augmentation, sample.labels),
        motion_qpel=None if motion is None else _augment_motion(augmentation, motion),
        edges=None if edges is None else _augment_labels(augmentation, edges),
        evidence=None if evidence is None else _take(augmentation, evidence, _nearest_by_corners),  # as motion
    )


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
    """Return the part of an axis that Pillow's filter reads for a part of the resized axis."""
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
    """Return which pixel Pillow takes for each pixel of a resized axis: it shows it itself, down to its rounding."""
    numbers = Image.fromarray(np.arange(before, dtype=np.int32)[None])
    return np.asarray(numbers.resize((after, 1), Image.Resampling.NEAREST))[0]


def _nearest_by_corners(before: int, after: int) -> Indices:
    return np.arange(after) * before // after
