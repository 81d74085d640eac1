"""``arseg evaluate-published``."""

from pathlib import Path
from typing import Annotated, Literal, cast

from cyclopts import Parameter

from arseg.compat.naming import PublishedSetup
from arseg.metrics.iou import AbsentRule
from arseg.options import Device
from arseg.provenance.recording import Arguments, records
from arseg.spec import Role


def results(arguments: Arguments) -> list[Path]:
    """Return the result files that were written."""
    output: Path = arguments["output"]
    return sorted(output.glob("*.txt"))


@records("evaluate-published", inputs=["checkpoint_root", "data_root"], outputs=[results])
def evaluate_published(
    *,
    checkpoint_root: Path,
    data_root: Path,
    mode: list[Literal["hr", "lr", "ar", "HR", "LR", "AR"]],
    published: Annotated[PublishedSetup, Parameter(name="*")] = PublishedSetup(),
    output: Path = Path("results/published-evaluation"),
    work: Path | None = None,
    seed: int = 233,
    device: Device = "auto",
    workers: int = 1,
    absent: AbsentRule = "skip",
) -> None:
    """Score published checkpoints on published data at every reference distance.

    Parameters
    ----------
    checkpoint_root : Path
        Folder of published checkpoints: camvid-psp18/AR/PSPNet_resnet18_0.5_99_.pth and others in it.
    data_root : Path
        Folder of published data: camvid-sequence/3M-GOP12 or leftImg8bit_sequence/5M-GOP12 in it.
    mode : list of str
        hr: full resolution on each frame. lr: a constant low resolution. ar: AR-Seg.
    output : Path
        Folder to write: a result file for each mode and scale, and its confusion matrices (.npz).
    work : Path
        Folder that keeps converted checkpoints and data; the folder work in --output by default.
    seed : int
        Seed that the networks were trained with; names the results.
    workers : int
        Processes that read frames; changes no result.
    absent : str
        A class in neither labels nor predictions: skip it in the mean, or let it make the mean nan as published.
    """
    from arseg.compat import evaluation  # noqa: PLC0415  (PyTorch is slow to import)

    for path, result in evaluation.evaluate_published(
        checkpoint_root,
        data_root,
        published,
        modes=[cast(Role, name.lower()) for name in mode],
        output=output,
        work=work or output / "work",
        seed=seed,
        device=device,
        workers=workers,
        absent=absent,
    ):
        print(f"wrote {path} (mean mIoU {100 * result.miou.mean():.2f})")
