"""``arseg evaluate`` and ``arseg tabulate``."""

from pathlib import Path

from arseg.config import Mode
from arseg.evaluate.iou import AbsentRule
from arseg.evaluate.protocol import evaluate as evaluate_networks
from arseg.evaluate.published import from_evaluation, write_published
from arseg.evaluate.result import load_evaluation
from arseg.evaluate.tables import collect_table, write_summary, write_table
from arseg.files import atomic_path


def evaluate(
    *,
    mode: Mode,
    manifest: Path,
    stores: list[Path],
    output: Path,
    hr: Path | None = None,
    lr: Path | None = None,
    scale_percent: int = 100,
    seed: int = 233,
    device: str = "auto",
    workers: int = 1,
    absent: AbsentRule = "skip",
) -> None:
    """Score networks on decoded frames at every reference distance and save the confusion matrices.

    Parameters
    ----------
    mode : str
        hr: full resolution on each frame. lr: a constant low resolution. ar: AR-Seg.
    manifest : Path
        Manifest of the data set.
    stores : list of Path
        Clip stores of the test split, all shards, all distances.
    output : Path
        Evaluation to write (.npz).
    hr : Path
        Checkpoint of the HR branch; modes hr and ar.
    lr : Path
        Checkpoint of the LR baseline (mode lr) or of the LR branch (mode ar).
    scale_percent : int
        Resolution of the low-resolution network, in percent; 100 in mode hr.
    seed : int
        Seed that the networks were trained with; names the result.
    device : str
        auto, cpu, cuda or cuda:N.
    workers : int
        Processes that read frames; changes no result.
    absent : str
        A class in neither labels nor predictions: skip it in the mean, or let it make the mean nan as published.
    """
    result = evaluate_networks(
        stores=stores,
        manifest=manifest,
        mode=mode,
        scale_percent=scale_percent,
        hr=hr,
        lr=lr,
        seed=seed,
        device=device,
        workers=workers,
        absent=absent,
    )
    result.save(output)
    print(f"wrote {output} (mean mIoU {100 * result.miou.mean():.2f})")


def tabulate(evaluations: list[Path], *, csv: Path, summary: Path, published: Path) -> None:
    """Collect evaluations into one tidy CSV, a Markdown summary, and result files under the authors' names.

    Parameters
    ----------
    evaluations : list of Path
        Evaluations (.npz); shards of one run are added up.
    csv : Path
        Tidy table to write, a row per distance.
    summary : Path
        Markdown table to write.
    published : Path
        Folder to write, with a folder per encoding and seed in it.
    """
    table = collect_table(evaluations)
    write_table(table, csv)
    write_summary(table, summary)
    with atomic_path(published) as folder:
        for path in evaluations:
            result = load_evaluation(path)
            settings = result.settings
            encoding = f"{settings.codec}-{settings.rate}-gop{settings.gop}"
            write_published(from_evaluation(result), folder / encoding / f"seed{settings.seed}")
    for path in (csv, summary, published):
        print(f"wrote {path}")
