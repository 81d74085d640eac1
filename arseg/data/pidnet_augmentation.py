"""The augmentation of the public PIDNet (docs/method.md, 'PIDNet-S'), for frames, keyframes, labels and motion."""

import random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from arseg.config import IGNORE_INDEX, TrainConfig
from arseg.data.transforms import PairSample, Pixels, evidence_of_pixels


def augment_as_pidnet(sample: PairSample, rng: random.Random, train: TrainConfig) -> PairSample:
    """Return a sample randomly scaled, padded where it is smaller than the crop, cropped and mirrored.

    Four draws, in the published order: scale, x and y of the crop, mirroring. Around the picture, images are black,
    labels ignored, and edges, motion and its evidence zero.

    Parameters
    ----------
    sample : PairSample
        The sample, unchanged.
    rng : random.Random
        Source of the draws.
    train : TrainConfig
        Random scales and crop; nothing changes colours.
    """
    height, width = sample.labels.shape
    crop = train.crop_size
    longer = int(max(width, height) * rng.choice(train.random_scales) + 0.5)
    shorter = int(min(width, height) * longer / max(width, height) + 0.5)
    scaled = (longer, shorter) if width > height else (shorter, longer)
    left, top = (rng.randint(0, max(0, side - kept)) for side, kept in zip(scaled, crop, strict=True))
    mirrored = rng.choice((True, False))
    columns, rows = (
        _nearest(before, after, range(start, start + kept))
        for before, after, start, kept in zip((width, height), scaled, (left, top), crop, strict=True)
    )

    def image(pixels: Pixels) -> Pixels:
        across, down = width / scaled[0], height / scaled[1]
        affine = (across, 0, left * across, 0, down, top * down)
        return np.array(
            Image.fromarray(pixels).transform(crop, Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
        )

    def taken(array: NDArray[Any], outside: int) -> NDArray[Any]:
        kept = np.full((crop[1], crop[0], *array.shape[2:]), outside, array.dtype)
        kept[: len(rows), : len(columns)] = array[rows[:, None], columns]
        return kept

    parts: dict[str, NDArray[Any]] = {"image": image(sample.image), "labels": taken(sample.labels, IGNORE_INDEX)}
    if sample.keyframe is not None:
        parts["keyframe"] = image(sample.keyframe)
    if sample.edges is not None:
        parts["edges"] = taken(sample.edges, 0)
    if (evidence := evidence_of_pixels(sample)) is not None:
        parts["evidence"] = taken(evidence, 0)
    if sample.motion_qpel is not None:
        factors = np.array([scaled[0] / width * (-1 if mirrored else 1), scaled[1] / height], np.float32)
        parts["motion_qpel"] = taken(sample.motion_qpel, 0).astype(np.float32) * factors
    if mirrored:
        parts = {name: np.ascontiguousarray(array[:, ::-1]) for name, array in parts.items()}
    return PairSample(**{name: parts.get(name) for name in vars(sample)})  # type: ignore[arg-type]


def _nearest(before: int, after: int, kept: range) -> NDArray[np.intp]:
    """Return the source of each kept pixel of an axis, by OpenCV's corner rule; of those beside the picture, none."""
    inside = np.arange(kept.start, min(kept.stop, after))
    return np.minimum(np.floor(inside * (1 / (after / before))).astype(np.intp), before - 1)
