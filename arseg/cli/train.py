"""``arseg train phase1`` and ``arseg train phase2``.

PyTorch is imported in the functions: two processes that need it should import it side by side.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from arseg.cli.recorded import classes
from arseg.config import TrainConfig
from arseg.data.manifest import read_manifest
from arseg.files import refuse_filled
from arseg.networks import name_of
from arseg.provenance.recording import Arguments, records
from arseg.workers import start_server

if TYPE_CHECKING:
    from arseg.train.fit import Machine


@dataclass(frozen=True)
class Run:
    """Options of both phases: the seed, the machine, and what is kept beside the weights."""

    history: Path | None = None
    """CSV of losses and scores per epoch; <output's folder>/history.csv by default."""
    resume: Path | None = None
    """Folder of the resumable state; <output's folder>/resume by default. The same command goes on from it. SIGTERM,
    SIGUSR1 and Ctrl-C save it first and exit with 75."""
    seed: int = 233
    """Seed of all randomness."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    devices: int = 1
    """How many GPUs train together (with --device cpu, processes); they share each batch."""
    workers: int = 2
    """Processes that load samples for each device; changes no result."""
    save_minutes: float = 5.0
    """Longest time between two saved states."""

    def history_beside(self, output: Path) -> Path:
        """Return the file of losses and scores of a training that writes `output`."""
        return self.history or output.parent / "history.csv"

    def resume_beside(self, output: Path) -> Path:
        """Return the folder of the state of a training that writes `output`."""
        return self.resume or output.parent / "resume"


Options = Annotated[Run, Parameter(name="*")]
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
    manifest: Path,
    train_split: str,
    val_split: str,
    backbone: str,
    output: Path,
    scale_percent: int = 100,
    run: Options = Run(),
    config: Constants = TrainConfig(),
) -> None:
    """Train the HR branch (--scale-percent 100) or the constant-resolution LR baseline (below 100).

    Parameters
    ----------
    manifest : Path
        Manifest of the data set.
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
    refuse_filled(output)
    _start_server(manifest, run.workers, config)
    from arseg.train.phase1 import train_phase1  # noqa: PLC0415

    miou = train_phase1(
        manifest=manifest,
        train_split=train_split,
        val_split=val_split,
        backbone=name_of(backbone),
        scale_percent=scale_percent,
        seed=run.seed,
        config=config,
        machine=_machine(run, output),
        workers=run.workers,
        output=output,
        history=run.history_beside(output),
    )
    print(f"wrote {output} (validation mIoU {100 * miou:.2f})")


@records(
    "train phase2",
    inputs=["manifest", classes, "hr", "train_stores", "val_stores", initial_weights],
    outputs=["output", history_file],
    facts=whether_resumed,
)
def phase2(
    *,
    manifest: Path,
    hr: Path,
    train_stores: list[Path],
    val_stores: list[Path],
    scale_percent: int,
    output: Path,
    run: Options = Run(),
    config: Constants = TrainConfig(),
) -> None:
    """Train the LR branch of AR-Seg beside a frozen HR branch.

    Parameters
    ----------
    manifest : Path
        Manifest of the data set.
    hr : Path
        Checkpoint of the HR branch; it names the backbone, too.
    train_stores : list of Path
        Clip stores to learn from, all shards, at the largest distance.
    val_stores : list of Path
        Clip stores that choose the best epoch.
    scale_percent : int
        Resolution that the LR branch sees, in percent.
    output : Path
        Checkpoint to write.
    """
    refuse_filled(output)
    _start_server(manifest, run.workers, config)
    from arseg.train.phase2 import train_phase2  # noqa: PLC0415

    miou = train_phase2(
        manifest=manifest,
        hr=hr,
        train_stores=train_stores,
        val_stores=val_stores,
        scale_percent=scale_percent,
        seed=run.seed,
        config=config,
        machine=_machine(run, output),
        workers=run.workers,
        output=output,
        history=run.history_beside(output),
    )
    print(f"wrote {output} (validation mIoU {100 * miou:.2f})")


def _start_server(manifest: Path, workers: int, config: TrainConfig) -> None:
    """Let loader processes import PyTorch while this one does; the splits have at most all samples."""
    start_server(workers, len(read_manifest(manifest).rows) * config.epochs, "arseg.train.data")


def _machine(run: Run, output: Path) -> "Machine":
    from arseg.models.device import resolve_devices  # noqa: PLC0415
    from arseg.models.processes import process_index  # noqa: PLC0415
    from arseg.train.fit import Machine  # noqa: PLC0415

    if process_index():  # started by the first process, which speaks for all
        logging.disable(logging.INFO)
    return Machine(resolve_devices(run.device, run.devices), run.resume_beside(output), run.save_minutes)
