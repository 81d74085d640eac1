"""Label maps in colours to class indices, by the colours of a classes sheet."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from arseg.config import IGNORE_INDEX
from arseg.data.archives import ImageSource
from arseg.data.images import decode_image
from arseg.errors import DataError
from arseg.files import atomic_path
from arseg.progress import track
from arseg.spec import SegmentationClass

COLOR_MODES = ("RGB", "RGBA", "P")
INDEX_LABELS = "Give labels in colours; index labels need no conversion."

SHOWN_COLORS = 5
"""Colours that a message names of many."""

logger = logging.getLogger(__name__)


def colors_to_indices(rgb: NDArray[np.uint8], classes: Sequence[SegmentationClass]) -> NDArray[np.uint8]:
    """Return the class indices of label colours, uint8, shape (H, W), from RGB, uint8, shape (H, W, 3).

    An index stands where a colour is exactly that of the class, 255 everywhere else.
    """
    indices = np.full(rgb.shape[:2], IGNORE_INDEX, np.uint8)
    packed = _pack(rgb)
    for cls in classes:
        indices[packed == _pack(np.array(cls.color))] = cls.index
    return indices


def write_index_labels(
    source: ImageSource,
    output: str | Path,
    classes: Sequence[SegmentationClass],
    *,
    names: Mapping[PurePosixPath, str | PurePosixPath] | None = None,
    ignores_unknown: bool = False,
    hint: str = INDEX_LABELS,
) -> float:
    """Convert label maps of a folder or zip archive; return the share of pixels, 0 to 1, of colours of no class.

    Parameters
    ----------
    source, output
        Label maps in colours, and the folder to write, whole or not at all.
    names : mapping, optional
        Which label maps are converted, and their places below `output`; by default all, at the same places.
    ignores_unknown : bool
        Whether pixels of other colours become 255, which is ignored in training and scoring; otherwise they are an
        error.
    hint : str
        What to give instead of what is not in colours; ends the error message.

    Raises
    ------
    DataError
        If two classes have one colour, or a label map is damaged, not in colours or, unless they are ignored, has
        colours of no class.
    """
    owners: dict[tuple[int, ...], str] = {}
    for cls in classes:
        if (other := owners.setdefault(tuple(cls.color), cls.name)) != cls.name:
            raise DataError(f"classes {other} and {cls.name} have the same colour {cls.color}. Give each its own.")
    places = {member: member for member in source.members} if names is None else names
    num_ignored = num_pixels = 0
    with atomic_path(Path(output)) as folder:
        folder.mkdir()
        for member, content in track(source.read(list(places)), "labels", len(places)):
            place = f"{source.path}: {member}"
            rgb = decode_image(content, place, "colour label", COLOR_MODES, hint)
            indices = colors_to_indices(rgb, classes)
            unknown = indices == IGNORE_INDEX
            if unknown.any() and not ignores_unknown:
                raise DataError(_unknown_colors(rgb[unknown], place))
            target = folder / places[member]
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(indices).save(target)
            num_ignored += int(np.count_nonzero(unknown))
            num_pixels += indices.size
    ignored = num_ignored / num_pixels
    if ignores_unknown:
        logger.info("%.2f %% of the pixels have other colours and are ignored", 100 * ignored)
    return ignored


def _unknown_colors(pixels: NDArray[np.uint8], place: str) -> str:
    colors, counts = np.unique(pixels, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:SHOWN_COLORS]
    shown = ", ".join(f"{','.join(map(str, colors[index]))} ({counts[index]} pixels)" for index in order)
    more = f" and {len(colors) - SHOWN_COLORS} more" if len(colors) > SHOWN_COLORS else ""
    return (
        f"{place}: colours of no class: {shown}{more}. Add their classes to the classes sheet, or ignore these pixels: "
        "--unknown ignore"
    )


def _pack(rgb: NDArray[np.integer]) -> NDArray[np.integer]:
    """Join the channels to one number per pixel, which compares faster than three."""
    return rgb.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
