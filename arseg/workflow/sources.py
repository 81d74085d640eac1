"""What rules ask the data sets' kinds: their files and folders, and options of the commands that prepare them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from arseg.datasets import DATASETS, DatasetKind, Place
from arseg.workflow.experiment import Experiment
from arseg.workflow.folders import digest_folders
from arseg.workflow.reading import told_by_snakemake
from arseg.workflow.wildcards import Wildcards


@dataclass(frozen=True)
class Sources:
    """The sources of an experiment's data sets."""

    experiment: Experiment
    watches: bool = True
    """Whether to look for changes in folders. A job's own process plans and records nothing: it need not."""

    digests: dict[str, str] = field(default_factory=dict)
    """Digests by data set: a folder is walked once in a process, for all jobs that read it."""

    def ask(self, method: str) -> Callable[[Wildcards], Any]:
        """Return a function of the wildcards for a rule: it calls a method of the data set's kind.

        Parameters
        ----------
        method : str
            Name of a method of the kind, which takes an `arseg.datasets.Place`.
        """

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
