"""``arseg train phase1`` and ``arseg train phase2``.

PyTorch is imported in the functions: two processes that need it should import it side by side.
"""

import logging
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from arseg.cli.recorded import classes
from arseg.config import TrainConfig
from arseg.data.manifest import read_manifest
from arseg.files import refuse_filled
from arseg.networks import name_of
from arseg.options import ManifestFile
from arseg.provenance.recording import Arguments, records
from arseg.train.options import RunOptions
from arseg.workers import start_server

Options = Annotated[RunOptions, Parameter(name="*")]
Constants = Annotated[TrainConfig, Parameter(name="*", group="Training constants")]


def history_file(arguments: Arguments) -> list[Path]:
    """Return the table of losses and scores that a training writes."""
    return [arguments["run"].history_beside(arguments["output"])]


def whether_resumed(arguments: Arguments) -> dict[str, bool]:
    """Return whether a training goes on from a state: its time is then that of its last part alone."""
    folder = arguments["run"].resume_beside(arguments["output"])
    # As `arseg.train.state` names them, whose import takes a second; others were set aside.
    return {"resumed": any((folder / name).exists() for name in ("last.ckpt", "previous.ckpt"))}


def initial_weights(arguments: Arguments) -> list[Path]:
    """Return the file that a backbone starts from, if it is one of the user's."""
    source = arguments["config"].initial_weights
    return [] if source in ("imagenet", "none") else [Path(source)]


@records(
    "train phase1",
    inputs=["manifest", classes, initial_weights],
    outputs=["output", history_file],
    facts=whether_resumed,
)
def phase1(
    *,
    manifest: ManifestFile,
    train_split: str,
    val_split: str,
    backbone: str,
    output: Path,
    scale_percent: int = 100,
    run: Options = RunOptions(),
    config: Constants = TrainConfig(),
) -> None:
    """Train the HR branch (--scale-percent 100) or the constant-resolution LR baseline (below 100).

    Parameters
    ----------
    train_split : str
        Split to learn from.
    val_split : str
        Split that chooses the best epoch.
    backbone : str
        Network to train, by its name or as its folders are called.
    output : Path
        Checkpoint to write.
    scale_percent : int
        Resolution that the network sees, in percent.
    """
    _prepare(manifest, output, run, config)
    from arseg.models.describe import describe_validation  # noqa: PLC0415
    from arseg.train.run import train_phase1  # noqa: PLC0415

    trained_on = train_phase1(
        manifest=manifest,
        train_split=train_split,
        val_split=val_split,
        backbone=name_of(backbone),
        scale_percent=scale_percent,
        output=output,
        run=run,
        config=config,
    )
    print(f"wrote {output} ({describe_validation(trained_on)})")


@records(
    "train phase2",
    inputs=["manifest", classes, "hr", "train_stores", "val_stores", initial_weights],
    outputs=["output", history_file],
    facts=whether_resumed,
)
def phase2(
    *,
    manifest: ManifestFile,
    hr: Path,
    train_stores: list[Path],
    val_stores: list[Path],
    scale_percent: int,
    output: Path,
    run: Options = RunOptions(),
    config: Constants = TrainConfig(),
) -> None:
    """Train the LR branch of AR-Seg beside a frozen HR branch.

    Parameters
    ----------
    hr : Path
        Checkpoint of the HR branch; it names the backbone, too.
    train_stores : list of Path
        Clip stores to learn from, all shards, at the largest distance; at all distances with --distances all.
    val_stores : list of Path
        Clip stores that choose the best epoch, all shards, at the largest distance.
    scale_percent : int
        Resolution that the LR branch sees, in percent.
    output : Path
        Checkpoint to write.
    """
    _prepare(manifest, output, run, config)
    from arseg.models.describe import describe_validation  # noqa: PLC0415
    from arseg.train.run import train_phase2  # noqa: PLC0415

    trained_on = train_phase2(
        manifest=manifest,
        hr=hr,
        train_stores=train_stores,
        val_stores=val_stores,
        scale_percent=scale_percent,
        output=output,
        run=run,
        config=config,
    )
    print(f"wrote {output} ({describe_validation(trained_on)})")


def _prepare(manifest: Path, output: Path, run: RunOptions, config: TrainConfig) -> None:
    """Look at the output, and let loader processes import PyTorch while this one does."""
    refuse_filled(output)
    # The splits have at most all samples.
    start_server(run.workers, len(read_manifest(manifest).rows) * config.epochs, "arseg.train.data")
    from arseg.models.processes import process_index  # noqa: PLC0415

    if process_index():  # started by the first process, which speaks for all
        logging.disable(logging.INFO)
