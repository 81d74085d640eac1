"""What a training may be told beside its data and its constants; without PyTorch, so that the command starts fast."""

from dataclasses import dataclass
from pathlib import Path

from arseg.options import Device


@dataclass(frozen=True)
class RunOptions:
    """The seed, the machine, and what is kept beside the weights."""

    history: Path | None = None
    """CSV of losses and scores per epoch; <output's folder>/history.csv by default."""
    resume: Path | None = None
    """Folder of the resumable state; <output's folder>/resume by default. The same command goes on from it. SIGTERM,
    SIGUSR1 and Ctrl-C save it first and exit with 75."""
    seed: int = 233
    """Seed of all randomness."""
    device: Device = "auto"
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
