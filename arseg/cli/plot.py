"""``arseg plot curves`` and ``arseg plot panel``."""

from pathlib import Path

from arseg.evaluate.tables import read_table
from arseg.plots.curves import accuracy_by_cost, miou_by_distance
from arseg.plots.panel import qualitative_panel


def curves(table: Path, *, by_distance: Path, by_cost: Path) -> None:
    """Draw mIoU by reference distance, and mean mIoU by cost.

    Parameters
    ----------
    table : Path
        Tidy table that `arseg tabulate` wrote.
    by_distance : Path
        Figure to write: mIoU against the frames since the keyframe.
    by_cost : Path
        Figure to write: mean mIoU against multiply-accumulates per frame.
    """
    data = read_table(table)
    miou_by_distance(data, by_distance)
    accuracy_by_cost(data, by_cost)
    for path in (by_distance, by_cost):
        print(f"wrote {path}")


def panel(
    *,
    manifest: Path,
    stores: list[Path],
    hr: Path,
    lr: Path,
    ar: Path,
    output: Path,
    device: str = "auto",
) -> None:
    """Draw examples: keyframe, frame, label, the three predictions, the warped keyframe and the motion.

    Parameters
    ----------
    manifest : Path
        Manifest of the data set.
    stores : list of Path
        Clip stores at the largest distance, all shards.
    hr : Path
        Checkpoint of the HR branch.
    lr : Path
        Checkpoint of the LR baseline.
    ar : Path
        Checkpoint of AR-Seg's LR branch, at the baseline's scale.
    output : Path
        Figure to write.
    device : str
        auto, cpu, cuda or cuda:N.
    """
    qualitative_panel(
        stores=stores, manifest=manifest, hr_path=hr, lr_path=lr, ar_path=ar, output=output, device=device
    )
    print(f"wrote {output}")
