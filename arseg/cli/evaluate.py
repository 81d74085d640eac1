"""``arseg evaluate``.

PyTorch is imported in the function: processes that need it should import it side by side.
"""

from pathlib import Path
from typing import Annotated, Literal, cast

from cyclopts import Parameter

from arseg.cli.recorded import classes
from arseg.data.manifest import read_manifest
from arseg.errors import ConfigError
from arseg.evaluate.authors_setup import PublishedSetup
from arseg.metrics.iou import AbsentRule
from arseg.provenance.recording import Arguments, records
from arseg.spec import Mode
from arseg.workers import start_server

OWN, AUTHORS = "--manifest and --stores", "--checkpoint-root and --data-root"
"""Options that tell the two forms of the command apart."""

AUTHORS_FILES = "The authors' own files"
PUBLISHED_OUTPUT = Path("results/published-evaluation")


def results(arguments: Arguments) -> list[Path]:
    """Name what is written: one evaluation, or the authors' files, of which there may be several."""
    output: Path | None = arguments["output"]
    if arguments["manifest"] is not None:
        return [output] if output else []
    return sorted((output or PUBLISHED_OUTPUT).glob("*.txt"))


@records(
    "evaluate", inputs=["manifest", classes, "stores", "hr", "lr", "checkpoint_root", "data_root"], outputs=[results]
)
def evaluate(
    *,
    mode: list[Literal["hr", "lr", "ar", "HR", "LR", "AR"]],
    manifest: Path | None = None,
    stores: list[Path] | None = None,
    output: Path | None = None,
    hr: Path | None = None,
    lr: Path | None = None,
    scale_percent: int | None = None,
    seed: int = 233,
    device: str = "auto",
    workers: int = 1,
    absent: AbsentRule = "skip",
    metrics: list[str] | None = None,
    checkpoint_root: Annotated[Path | None, Parameter(group=AUTHORS_FILES)] = None,
    data_root: Annotated[Path | None, Parameter(group=AUTHORS_FILES)] = None,
    work: Annotated[Path | None, Parameter(group=AUTHORS_FILES)] = None,
    published: Annotated[PublishedSetup, Parameter(name="*", group=AUTHORS_FILES)] = PublishedSetup(),
) -> None:
    """Score networks on decoded frames at every reference distance and save what was counted.

    Either one network of arseg on clip stores (--manifest, --stores), or the AR-Seg authors' checkpoints on their
    processed data (--checkpoint-root, --data-root), both of which are converted first.

    Parameters
    ----------
    mode : list of str
        hr: full resolution on each frame. lr: a constant low resolution. ar: AR-Seg. The authors' files may be
        evaluated in several.
    manifest : Path
        Manifest of the data set.
    stores : list of Path
        Clip stores of the test split, all shards, all distances.
    output : Path
        Evaluation to write (.npz); of the authors' files a folder, results/published-evaluation by default.
    hr : Path
        Checkpoint of the HR branch; modes hr and ar.
    lr : Path
        Checkpoint of the LR baseline (mode lr) or of the LR branch (mode ar).
    scale_percent : int
        Resolution of the low-resolution network, in percent; 100 by default, and in mode hr.
    seed : int
        Seed that the networks were trained with; names the result.
    device : str
        auto, cpu, cuda or cuda:N.
    workers : int
        Processes that read frames; changes no result.
    absent : str
        A class in neither labels nor predictions: skip it in the mean, or let it make the mean nan as published.
    metrics : list of str
        Registered metrics to count beside mIoU (docs/extending.md); not of the authors' files.
    checkpoint_root : Path
        Folder of the authors' checkpoints: camvid-psp18/AR/PSPNet_resnet18_0.5_99_.pth and others in it.
    data_root : Path
        Folder of the authors' processed data: camvid-sequence/3M-GOP12 or leftImg8bit_sequence/5M-GOP12 in it.
    work : Path
        Folder that keeps what was converted of the authors' files; the folder work in --output by default.
    """
    modes = [cast(Mode, name.lower()) for name in mode]
    if checkpoint_root is None and data_root is None:
        _refuse(AUTHORS, {"--work": work is not None, "--dataset, --scale ...": published != PublishedSetup()})
        if manifest is None or not stores or output is None:
            raise ConfigError(f"give {OWN} and --output, or {AUTHORS}: arseg evaluate --help tells which is which")
        if output.suffix != ".npz":
            raise ConfigError(f"--output {output}: an evaluation is a file whose name ends in .npz")
        if len(modes) > 1:
            raise ConfigError(f"--mode {' '.join(mode)}: expected one mode; several go only with {AUTHORS}")
        # Each store has at most one sample of each annotated frame.
        start_server(workers, len(read_manifest(manifest).rows) * len(stores), "arseg.split")
        from arseg.evaluate.protocol import evaluate as evaluate_networks  # noqa: PLC0415

        result = evaluate_networks(
            stores=stores,
            manifest=manifest,
            mode=modes[0],
            scale_percent=100 if scale_percent is None else scale_percent,
            hr=hr,
            lr=lr,
            seed=seed,
            device=device,
            workers=workers,
            absent=absent,
            metrics=metrics or (),
        )
        result.save(output)
        print(f"wrote {output} (mean mIoU {100 * result.miou.mean():.2f})")
        return
    own_only = {"--manifest": manifest, "--stores": stores, "--hr": hr, "--lr": lr, "--scale-percent": scale_percent}
    _refuse(OWN, {option: value is not None for option, value in own_only.items()} | {"--metrics": bool(metrics)})
    if checkpoint_root is None or data_root is None:
        raise ConfigError(f"give both {AUTHORS}")
    from arseg.evaluate.authors_run import evaluate_authors_files  # noqa: PLC0415

    output = output or PUBLISHED_OUTPUT
    for published_result in evaluate_authors_files(
        checkpoint_root,
        data_root,
        published,
        modes=modes,
        output=output,
        work=work or output / "work",
        seed=seed,
        device=device,
        workers=workers,
        absent=absent,
    ):
        score = 100 * published_result.evaluation.miou.mean()
        print(f"wrote {published_result.published_path} (mean mIoU {score:.2f})")


def _refuse(partners: str, given: dict[str, bool]) -> None:
    """Refuse options that belong to the other form of the command."""
    if strays := [option for option, is_given in given.items() if is_given]:
        raise ConfigError(f"{', '.join(strays)}: goes only with {partners}. arseg evaluate --help tells which is which")
