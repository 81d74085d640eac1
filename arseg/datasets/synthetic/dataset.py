"""Writing a synthetic data set as a tree of files that the frames adapter reads."""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product, starmap
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from arseg.data.manifest import write_classes
from arseg.data.sheets import write_sheet
from arseg.datasets.frames.manifest import SPLIT_COLUMNS
from arseg.datasets.synthetic.kind import Synthetic
from arseg.datasets.synthetic.render import Street
from arseg.datasets.synthetic.scene import CLASSES
from arseg.errors import ConfigError
from arseg.files import atomic_path

COMPRESSION = 1
"""Level of the PNG files: 1 takes a third of the time of Pillow's default for files a fifth larger."""


def synthesize(output_dir: str | Path, *, gop: int = 12, num_workers: int = 1, **options: int) -> None:
    """Write synthetic street videos, every frame with exact labels.

    The folder `output_dir` gets ``images/`` and ``labels/`` (``{split}{number}_{frame}.png``),
    ``classes.csv``, and ``splits.csv`` with the splits train, val and test and, in ``lists/``, the names of
    their annotated frames. The frames adapter makes a manifest of it.

    A sequence's annotated frames have the ``gop - 1`` frames before them that a clip of the longest reference
    distance needs; those of the test split have as many after them, because a clip of distance 0 begins at
    its annotated frame. Sequences do not depend on how many there are.

    Parameters
    ----------
    output_dir : path
        Where to write: a new or an empty folder.
    gop : int
        Largest GOP that clips shall have room for.
    num_workers : int
        Processes that render; the files do not depend on it.
    **options : int
        Fields of `Synthetic`.

    Raises
    ------
    ConfigError
        If the sequences are too short for the GOP, or a number is not positive.
    DataError
        If there is something in `output_dir`.
    """
    told = Synthetic(**options)
    for name, value in (vars(told) | {"gop": gop, "num_workers": num_workers}).items():
        if value < 1 and name != "seed":
            raise ConfigError(f"{name} {value}: must be at least 1")
    if told.frames_per_sequence < 2 * gop - 1:
        raise ConfigError(
            f"frames_per_sequence {told.frames_per_sequence}: a test frame needs gop - 1 = {gop - 1} frames before and "
            f"after it. Set frames_per_sequence to {2 * gop - 1} or more, or gop lower"
        )
    counts = {"train": told.num_train_sequences, "val": told.num_val_sequences, "test": told.num_test_sequences}
    names = {split: [f"{split}{number:02d}" for number in range(count)] for split, count in counts.items()}
    with atomic_path(Path(output_dir)) as tree:
        for folder in ("images", "labels", "lists"):
            (tree / folder).mkdir(parents=True)
        write_sequence = partial(_write_sequence, tree, told)
        sequences = [
            (name, (told.seed, split_index, number))
            for split_index, split in enumerate(names)
            for number, name in enumerate(names[split])
        ]
        if num_workers == 1:
            list(starmap(write_sequence, sequences))
        else:
            # Spawned, not forked: a fork of a process that runs threads may hang.
            with ProcessPoolExecutor(num_workers, mp_context=get_context("spawn")) as pool:
                list(pool.map(write_sequence, *zip(*sequences, strict=True)))
        for split, own in names.items():
            last = told.frames_per_sequence - (gop if split == "test" else 1)
            annotated = range(gop - 1, last + 1, told.annotate_every)
            lines = [f"{name}_{frame:03d}\n" for name, frame in product(own, annotated)]
            (tree / "lists" / f"{split}.txt").write_text("".join(lines), encoding="utf-8")
        rules = [(split, "images", "labels", f"lists/{split}.txt", "", "", "", 1) for split in names]
        write_sheet(tree / "splits.csv", SPLIT_COLUMNS, rules)
        write_classes(tree / "classes.csv", CLASSES)


def _write_sequence(tree: Path, told: Synthetic, name: str, seed: tuple[int, int, int]) -> None:
    street = Street(np.random.default_rng(seed), told.frames_per_sequence * told.speed, told.width, told.height)
    for frame in range(told.frames_per_sequence):
        for folder, pixels in zip(("images", "labels"), street.render(frame * told.speed), strict=True):
            Image.fromarray(pixels).save(tree / folder / f"{name}_{frame:03d}.png", compress_level=COMPRESSION)
