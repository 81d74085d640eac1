"""Cityscapes' label ids to train ids: what is converted, and what is taken for the other."""

import logging
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from arseg.config import IGNORE_INDEX
from arseg.data.images import read_label
from arseg.datasets.cityscapes.manifest import SPLITS, annotated_frames, official_labels
from arseg.errors import ConfigError, DataError
from arseg.files import atomic_path
from arseg.progress import track

LARGEST_TRAIN_ID = 18
"""Label ids go up to 33; those of vegetation, sky and cars, which nearly all frames have, are larger."""

_UNKNOWN_ID = -1

logger = logging.getLogger(__name__)


def write_train_ids(root: str | Path, output: str | Path, *, num_workers: int = 1) -> None:
    """Turn label ids into train ids: 0 ... 18, and 255 for all that is not evaluated.

    ``gtFine/{split}/{city}/*_gtFine_labelIds.png`` below `root` becomes ``{split}/{city}/*_gtFine_labelTrainIds.png``
    below `output`, in `num_workers` processes. Maps that are there are kept, so that a killed run goes on where it was.
    A DataError says that there is no ``gtFine``, that a label map is damaged or holds a value that is no label id, or
    that those of a split hold train ids already.
    """
    if num_workers < 1:
        raise ConfigError(f"num_workers {num_workers}: must be at least 1")
    root, output = Path(root), Path(output)
    frames = annotated_frames(root)
    maps = [(frame.label_ids_path(root), frame.train_ids_path(output)) for frame in frames]
    todo = [(source, converted) for source, converted in maps if not converted.exists()]
    for split in SPLITS:
        check_label_ids([frame.label_ids_path(root) for frame in frames if frame.split == split])
    if len(todo) < len(frames):
        logger.info("%s: %d of %d label maps are there already", output, len(frames) - len(todo), len(frames))
    if num_workers == 1 or not todo:
        for source, converted in track(todo, "label maps"):
            convert_label_map(source, converted)
    else:
        # Spawned, not forked: a fork of a process that runs threads may hang.
        with ProcessPoolExecutor(num_workers, mp_context=get_context("spawn")) as pool:
            for _ in track(pool.map(convert_label_map, *zip(*todo, strict=True), chunksize=8), "label maps", len(todo)):
                pass


def convert_label_map(source: Path, output: Path) -> None:
    """Convert the label ids of one map; a DataError says that it is damaged, or holds a value that is no label id."""
    label_ids = read_label(source, num_classes=256)
    train_ids = _train_ids()[label_ids]
    if (train_ids == _UNKNOWN_ID).any():
        row, column = np.argwhere(train_ids == _UNKNOWN_ID)[0]
        raise DataError(
            f"{source}: label value {label_ids[row, column]} at row {row}, column {column} is no label id of "
            "Cityscapes (0 to 33, and 255 for -1). Replace the file by the original."
        )
    with atomic_path(output) as temporary:
        Image.fromarray(train_ids.astype(np.uint8)).save(temporary)


def check_label_ids(paths: Sequence[Path]) -> None:
    """Check that label maps, together, hold a label id that no train id is; mostly the first one does.

    A DataError says that they hold none, or that one of them is damaged.
    """
    for path in paths:
        label_ids = read_label(path, num_classes=256)
        if ((label_ids > LARGEST_TRAIN_ID) & (label_ids != IGNORE_INDEX)).any():
            return
    if paths:
        raise DataError(
            f"{paths[0]}: none of the {len(paths)} label maps of its split has a value above {LARGEST_TRAIN_ID}, so "
            "these are train ids under the name of label ids. Unpack the original gtFine_trainvaltest.zip again: "
            "arseg cityscapes unpack"
        )


def train_ids_hint(root: Path, labels: Path) -> str:
    """Return what to do about label maps that do not hold train ids, for errors."""
    return (
        "Train ids are 0 to 18, label ids go up to 33: one was taken for the other. Delete the folder and make it "
        f"again from the original labels: arseg cityscapes labels --root {root} --output {labels}"
    )


@cache
def _train_ids() -> NDArray[np.int16]:
    """Train id of each value that a label map may hold, -1 where the official table has none; shape (256,)."""
    table = np.full(256, _UNKNOWN_ID, dtype=np.int16)
    for row in official_labels():
        # Licence plates have the id -1, which is 255 in the eight bits of a PNG, and the train id -1.
        table[int(row.cells["id"]) % 256] = int(row.cells["train_id"]) % 256
    return table
