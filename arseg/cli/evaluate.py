"""``arseg evaluate``.

PyTorch is imported in the function: processes that need it should import it side by side.
"""

from pathlib import Path

from arseg.cli.recorded import classes
from arseg.data.manifest import read_manifest
from arseg.errors import ConfigError
from arseg.metrics.iou import AbsentRule
from arseg.metrics.metric import describe_score, main_score
from arseg.options import Device, ManifestFile
from arseg.provenance.recording import records
from arseg.spec import Mode
from arseg.workers import start_server


@records("evaluate", inputs=["manifest", classes, "stores", "hr", "lr"], outputs=["output"])
def evaluate(
    *,
    mode: Mode,
    manifest: ManifestFile,
    stores: list[Path],
    output: Path,
    hr: Path | None = None,
    lr: Path | None = None,
    scale_percent: int = 100,
    seed: int = 233,
    device: Device = "auto",
    workers: int = 1,
    absent: AbsentRule = "skip",
    metrics: list[str] | None = None,
) -> None:
    """Score networks on decoded frames at every reference distance and save what was counted.

    Parameters
    ----------
    mode : str
        hr: full resolution on each frame. lr: a constant low one. warp: keyframes' features, warped. ar: AR-Seg.
    stores : list of Path
        Clip stores of the test split, all shards, all distances.
    output : Path
        Evaluation to write (.npz).
    hr : Path
        Checkpoint of the HR branch; all modes but lr.
    lr : Path
        Checkpoint of the LR baseline (mode lr) or of the LR branch (mode ar).
    scale_percent : int
        Resolution of the low-resolution network, in percent; 100 in modes hr and warp.
    seed : int
        Seed that the networks were trained with; names the result.
    workers : int
        Processes that read frames; changes no result.
    absent : str
        A class in neither labels nor predictions: skip it in the mean, or let it make the mean nan as published.
    metrics : list of str
        Registered metrics to count beside mIoU (docs/extending.md).
    """
    if output.suffix != ".npz":
        raise ConfigError(f"--output {output}: an evaluation is a file whose name ends in .npz")
    # Each store has at most one sample of each annotated frame.
    start_server(workers, len(read_manifest(manifest).rows) * len(stores), "arseg.split")
    from arseg.evaluate.protocol import evaluate as evaluate_networks  # noqa: PLC0415

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
        metrics=metrics or (),
    )
    result.save(output)
    score = main_score(result.columns)
    print(f"wrote {output} (mean {describe_score(score)} {100 * result.columns[score].mean():.2f})")
