"""``arseg adapt``: from videos and a network to a pair of branches, by the workflow."""

import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from arseg.adapt.experiment import NAME, SHEET, Adaptation, configuration, run_workflow, write_folder
from arseg.adapt.network import hr_checkpoint
from arseg.adapt.outcome import describe_outcome
from arseg.evaluate.tables import read_table
from arseg.machine import usable_cores
from arseg.models.checkpoint import read_checkpoint
from arseg.options import Count

DEFAULT = Adaptation()


def adapt(
    videos: Annotated[list[str], Parameter(negative=())],
    /,
    *,
    network: str,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    classes: Path | None = None,
    weights: Path | None = None,
    normalization: str | None = None,
    options: Annotated[Adaptation, Parameter(name="*")] = DEFAULT,
    device: str = "auto",
    cores: Count | None = None,
    snakemake: str = "",
) -> None:
    """Train an LR branch beside a finished network, on your own videos without labels, and say what it loses and saves.

    The network labels sampled frames; the LR branch learns from these labels and from the network's features. All files
    lie in the output folder, with the configuration of the experiment; the same command goes on after a stop.

    Parameters
    ----------
    videos : list of str
        Videos, patterns in quotes, or CSV sheets with the column video.
    network : str
        The finished network: a checkpoint, or a name as for arseg checkpoint create (my_nets.py:build).
    output : Path
        Folder to work in.
    classes : Path
        With a name: CSV of its classes (index, name, red, green, blue, void), as for arseg checkpoint create.
    weights : Path
        With a name: its weights, as for arseg checkpoint create.
    normalization : str
        With a name: what images are normalised with, as for arseg checkpoint create.
    device : str
        auto, cpu, cuda or cuda:N.
    cores : int
        Cores to use; all by default.
    snakemake : str
        More options of Snakemake, for example "--executor slurm".
    """
    hr = hr_checkpoint(network, output, classes=classes, weights=weights, normalization=normalization)
    config = configuration(videos, hr.resolve(), read_checkpoint(hr).spec, options, device, output.resolve() / SHEET)
    path = write_folder(output.resolve(), videos, config)
    run_workflow(path, cores or usable_cores(), shlex.split(snakemake))
    results = path.parent / "results" / NAME
    print(describe_outcome(read_table(results / "agreement.csv")))
    print(f"figures: {results / 'figures'}")
    print(f"segment: arseg segment VIDEO --checkpoint {shlex.join([str(results), str(hr)])} --output OUT.mp4")
