"""Writing a synthetic data set as a tree of files that the frames adapter reads."""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product, starmap
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from arseg.data.frames import SPLIT_COLUMNS
from arseg.data.manifest import write_classes
from arseg.data.sheets import write_sheet
from arseg.data.synthetic.layout import random_scene
from arseg.data.synthetic.render import render
from arseg.data.synthetic.scene import CLASSES
from arseg.data.synthetic.street import make_textures
from arseg.errors import ConfigError
from arseg.files import atomic_path

FRAME_STEP = 1
COMPRESSION = 1
"""Level of the PNG files: 1 takes a third of the time of Pillow's default for files a fifth larger."""


def synthesize(
    output_dir: str | Path,
    *,
    seed: int = 0,
    num_train_sequences: int = 12,
    num_val_sequences: int = 2,
    num_test_sequences: int = 4,
    frames_per_sequence: int = 27,
    width: int = 192,
    height: int = 128,
    gop: int = 12,
    annotate_every: int = 2,
    num_workers: int = 1,
) -> None:
    """Write synthetic street videos, every frame with exact labels.

    The folder `output_dir` gets ``images/`` and ``labels/`` (``{split}{number}_{frame}.png``),
    ``classes.csv``, and ``splits.csv`` with the splits train, val and test and, in ``lists/``, the names of
    their annotated frames. The frames adapter makes a manifest of it.

    A sequence's annotated frames have the ``gop - 1`` frames before them that a clip of the longest reference
    distance needs; those of the test split have as many after them, because a clip of distance 0 begins at
    its annotated frame.

    Parameters
    ----------
    output_dir : path
        Where to write: a new or an empty folder.
    seed : int
        The same seed and sizes give the same files. Sequences do not depend on how many there are.
    num_train_sequences, num_val_sequences, num_test_sequences : int
        Videos in each split; no video is in two.
    frames_per_sequence : int
        Length of a video.
    width, height : int
        Size of the frames in pixels.
    gop : int
        Length of a group of pictures.
    annotate_every : int
        Step from one annotated frame of a sequence to the next.
    num_workers : int
        Processes that render; the files do not depend on it.

    Raises
    ------
    ConfigError
        If the sequences are too short for the GOP, or a number is not positive.
    DataError
        If there is something in `output_dir`.
    """
    counts = {"train": num_train_sequences, "val": num_val_sequences, "test": num_test_sequences}
    positive = {
        **{f"num_{split}_sequences": count for split, count in counts.items()},
        "width": width,
        "height": height,
        "gop": gop,
        "annotate_every": annotate_every,
        "num_workers": num_workers,
    }
    for name, value in positive.items():
        if value < 1:
            raise ConfigError(f"{name} {value}: must be at least 1")
    if frames_per_sequence < 2 * gop - 1:
        raise ConfigError(
            f"frames_per_sequence {frames_per_sequence}: a test frame needs gop - 1 = {gop - 1} frames "
            f"before and after it. Set frames_per_sequence to {2 * gop - 1} or more, or gop lower."
        )
    with atomic_path(Path(output_dir)) as tree:
        for folder in ("images", "labels", "lists"):
            (tree / folder).mkdir(parents=True)
        write_sequence = partial(_write_sequence, tree, frames_per_sequence, (width, height))
        sequences = [
            (_sequence_name(split, number), (seed, split_index, number))
            for split_index, (split, count) in enumerate(counts.items())
            for number in range(count)
        ]
        if num_workers == 1:
            list(starmap(write_sequence, sequences))
        else:
            # Spawned, not forked: a fork of a process that runs threads may hang.
            with ProcessPoolExecutor(num_workers, mp_context=get_context("spawn")) as pool:
                list(pool.map(write_sequence, *zip(*sequences, strict=True)))
        for split, count in counts.items():
            last = frames_per_sequence - (gop if split == "test" else 1)
            annotated = range(gop - 1, last + 1, annotate_every)
            stems = [
                f"{_sequence_name(split, number)}_{frame:03d}" for number, frame in product(range(count), annotated)
            ]
            (tree / "lists" / f"{split}.txt").write_text("\n".join(stems) + "\n", encoding="utf-8")
        rules = [(split, "images", "labels", f"lists/{split}.txt", "", "", "", FRAME_STEP) for split in counts]
        write_sheet(tree / "splits.csv", SPLIT_COLUMNS, rules)
        write_classes(tree / "classes.csv", CLASSES)


def _sequence_name(split: str, number: int) -> str:
    return f"{split}{number:02d}"


def _write_sequence(tree: Path, num_frames: int, size: tuple[int, int], name: str, seed: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(seed)
    scene = random_scene(rng, num_frames)
    textures = make_textures(scene, *size)
    for frame in range(num_frames):
        image, label = render(scene, textures, frame, size, rng)
        for folder, pixels in (("images", image), ("labels", label)):
            Image.fromarray(pixels).save(tree / folder / f"{name}_{frame:03d}.png", compress_level=COMPRESSION)
