"""The evaluation of published checkpoints on published data, in several modes.

Finds both by their published names (docs/method.md, 'Published files'), converts them into files that are kept, so
that a second run starts at once, and runs the protocol on them.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from arseg.compat.checkpoints import import_checkpoint
from arseg.compat.clips import import_published_clips
from arseg.compat.naming import PublishedSetup, parse_checkpoint_name, published_normalization
from arseg.compat.results import write_published
from arseg.compat.tree import LAYOUTS, find_tree
from arseg.errors import CheckpointError
from arseg.evaluate.protocol import evaluate
from arseg.evaluate.result import Evaluation
from arseg.files import file_digest
from arseg.metrics.iou import AbsentRule
from arseg.spec import Role

logger = logging.getLogger(__name__)


def evaluate_published(
    checkpoint_root: Path,
    data_root: Path,
    setup: PublishedSetup,
    *,
    modes: Sequence[Role],
    output: Path,
    work: Path,
    seed: int,
    device: str = "auto",
    workers: int = 2,
    absent: AbsentRule = "skip",
) -> Iterator[tuple[Path, Evaluation]]:
    """Evaluate published checkpoints on published data; yield each text file when it is written, and its counts.

    All checkpoints are found and converted first and the data imported next, before hours go into the first mode.
    Modes "lr" and "ar" are evaluated at each scale, "hr" once. `output` gets the text files under their published
    names, and the confusion matrices beside them under the same names with ``.npz``; `work` keeps imported clips and
    converted checkpoints. The rest is as in `arseg.evaluate.protocol.evaluate`.

    A ConfigError says that a scale or the device cannot be, a CheckpointError that a checkpoint is missing or belongs
    to another network, a DataError, MotionError or StoreError that the data are incomplete.
    """
    runs = [(mode, percent) for mode in dict.fromkeys(modes) for percent in setup.scales_percent_of(mode)]
    hr_branch: list[tuple[Role, int]] = [("hr", 100)] if "ar" in modes else []
    checkpoints = {
        (mode, percent): _convert(checkpoint_root, setup, mode, percent, work)
        for mode, percent in dict.fromkeys(hr_branch + runs)
    }
    tree = find_tree(data_root, setup.dataset, setup.megabits, setup.gop)
    folder = work / "clips" / setup.dataset / setup.data_split / f"{tree.encoding.rate}-gop{tree.gop}"
    clips = import_published_clips(tree.root, dataset=setup.dataset, split=setup.data_split, output=folder)
    for mode, percent in runs:
        evaluation = evaluate(
            stores=clips.stores,
            manifest=clips.manifest,
            mode=mode,
            scale_percent=percent,
            hr=None if mode == "lr" else checkpoints["hr", 100],
            lr=None if mode == "hr" else checkpoints[mode, percent],
            seed=seed,
            device=device,
            workers=workers,
            absent=absent,
        )
        path = write_published(evaluation, output)
        evaluation.save(path.with_suffix(".npz"))
        yield path, evaluation


def find_checkpoint(folder: Path, scale_percent: int) -> Path:
    """Return the published checkpoint of one scale, for example in ``camvid-psp18/AR``.

    Several epochs of a scale are successive bests of one training, so the latest is the one to take. If there is none,
    a CheckpointError lists what is there.
    """
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    named = [(path, parse_checkpoint_name(path)) for path in paths]
    epochs = {name.epoch: path for path, name in named if name is not None and name.scale_percent == scale_percent}
    if not epochs:
        there = ", ".join(path.name for path in paths) or ("nothing" if folder.is_dir() else "no such folder")
        raise CheckpointError(
            f"{folder}: expected a checkpoint PSPNet_resnet18_{scale_percent / 100}_{{epoch}}_.pth, found: {there}. "
            "Put it there, or choose other scales, modes or another backbone: --scale, --mode, --backbone"
        )
    chosen = epochs[max(epochs)]
    if len(epochs) > 1:
        logger.info("%s is taken, the latest of epochs %s", chosen, ", ".join(map(str, sorted(epochs))))
    return chosen


def _convert(root: Path, setup: PublishedSetup, mode: Role, scale_percent: int, work: Path) -> Path:
    """Convert a checkpoint unless the same file was converted before; return the path of ours."""
    model = f"{setup.dataset}-{setup.backbone}"
    source = find_checkpoint(root / model / mode.upper(), scale_percent)
    # The digest in its name tells whose conversion a file is, also after the source was replaced.
    converted = work / f"checkpoints/{model}/{mode}/scale{scale_percent}-{file_digest(source)[:16]}.pt"
    if not converted.is_file():
        report = import_checkpoint(
            source,
            converted,
            backbone=setup.network,
            mode=mode,
            scale_percent=scale_percent,
            classes=LAYOUTS[setup.dataset].classes(),
            normalization=published_normalization(setup.dataset, setup.network),
        )
        logger.info("%s: %s", source, report)
    return converted
