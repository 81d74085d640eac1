"""What rules ask the data sets' kinds: their files and folders, and options of the commands that prepare them.

Snakemake compares the time of an input. That of a folder changes when a file is added or removed, but not when a file
in it is edited. Rules that read a user's folder therefore have the digest of its files as a parameter.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakemake.exceptions import WorkflowError  # type: ignore[import-untyped]

from arseg.datasets import DATASETS, DatasetKind, Place
from arseg.workflow.experiment import Experiment, Wildcards
from arseg.workflow.reading import told_by_snakemake

IMAGES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Sources:
    """The sources of an experiment's data sets."""

    experiment: Experiment
    watches: bool = True
    """Whether to look for changes in folders. A job's own process plans and records nothing: it need not."""

    digests: dict[str, str] = field(default_factory=dict)
    """Digests by data set: a folder is walked once in a process, for all jobs that read it."""

    def ask(self, method: str) -> Callable[[Wildcards], Any]:
        """Return a function of the wildcards for a rule: it calls the method of the data set's kind with a `Place`."""

        @told_by_snakemake()
        def answer(wildcards: Wildcards) -> Any:
            experiment, dataset = self.experiment, wildcards.dataset
            config = experiment.config.datasets[dataset]
            place = Place(dataset, experiment.results, max(experiment.config.gops), config.clip_tail, wildcards)
            return getattr(config.source, method)(place)

        return answer

    def digest(self, wildcards: Wildcards) -> str:
        """Return a digest of the user's folders that a data set is read from, for the rules that read them."""
        dataset = wildcards.dataset
        if self.watches and dataset not in self.digests:
            folders, options = self.ask("own_folders")(wildcards)
            self.digests[dataset] = digest_folders(folders, **options)
        return self.digests.get(dataset, "")

    def with_color_labels(self) -> str:
        """Return a wildcard constraint: the names of the data sets whose labels `arseg labels` converts."""
        kinds = [name for name in DATASETS.names() if DATASETS.get(name).color_labels is not DatasetKind.color_labels]
        return self.experiment.datasets_of(*kinds)


def rule_files() -> list[str]:
    """Return the rule files that kinds of data sets bring."""
    return [kind.rules for kind in map(DATASETS.get, DATASETS.names()) if kind.rules]


def digest_folders(folders: Iterable[str | Path], *, suffixes: tuple[str, ...] = IMAGES, recursive: bool = True) -> str:
    """Return a digest of the files in some folders: of their names, sizes and modification times.

    Nothing is opened: 25,000 files take a tenth of a second. Modification times count as they do
    for Snakemake itself, so that a copy which does not keep them is another folder.

    Parameters
    ----------
    folders : iterable of path
        Folders. What is none adds nothing to the digest: Snakemake itself watches files.
    suffixes : tuple of str
        Ends of the names of the files that count, in any case; hidden files never do.
    recursive : bool
        Whether files in folders of the folders count, too.

    Returns
    -------
    digest : str
        Hexadecimal digits; empty if none is a folder.

    Raises
    ------
    WorkflowError
        If a folder cannot be read.
    """
    paths = sorted({str(folder) for folder in folders if Path(folder).is_dir()})
    digests = [_digest_folder(path, suffixes, recursive) for path in paths]
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:16] if digests else ""


def _digest_folder(folder: str, suffixes: tuple[str, ...], recursive: bool) -> str:
    facts, waiting = [], [folder]
    try:
        while waiting:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.name.lower().endswith(suffixes):
                        status = entry.stat()
                        facts.append(f"{entry.path[len(folder) :]}\0{status.st_size}\0{status.st_mtime_ns}\n")
                    elif recursive and entry.is_dir():
                        waiting.append(entry.path)
    except OSError as error:
        raise WorkflowError(f"{error.filename}: {error.strerror}. Make the folder's files readable.") from error
    return hashlib.sha256("".join(sorted(facts)).encode(errors="surrogateescape")).hexdigest()
