"""What a kind of data set is to the configuration, to the workflow and to ``arseg manifest``."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from arseg.config import Name, existing
from arseg.data.sheets import read_sheet
from arseg.plugins import Registry
from arseg.spec import ClipTail


@dataclass(frozen=True)
class Splits:
    """Which split of the manifest serves which purpose; one may serve several."""

    phase1_train: Name
    """Trains the HR branch and the LR baseline; may be stills."""
    phase1_val: Name
    """Chooses the best epoch of phase 1; may be stills."""
    phase2_train: Name
    """Trains the LR branch; needs video before each annotated frame."""
    phase2_val: Name
    """Chooses the best epoch of phase 2; needs video, too."""
    test: Name
    """Evaluated at all distances; needs video, too."""

    @classmethod
    def of(cls, train: str, val: str, test: str) -> "Splits":
        """Return splits that serve both phases alike."""
        return cls(phase1_train=train, phase1_val=val, phase2_train=train, phase2_val=val, test=test)


@dataclass(frozen=True)
class Place:
    """A data set of an experiment, as a rule of the workflow asks for it."""

    dataset: str
    """Name of the data set."""
    results: str
    """Folder of the experiment's results."""
    longest_gop: int
    """The largest GOP of the experiment, in frames."""
    clip_tail: ClipTail
    """Where the clips of the data set end."""
    wildcards: Any
    """The wildcards of the rule."""

    @property
    def resources(self) -> str:
        """Folder of what experiments share of the data set."""
        return f"resources/{self.dataset}"


@dataclass(frozen=True)
class DatasetKind(ABC):
    """A kind of data set, which a subclass describes.

    A subclass is a frozen dataclass. Its fields are the keys of ``source`` in a configuration, of the types int, float,
    str, bool and `Literal`; each needs a docstring, which the schema and messages show. It is registered by
    the decorator ``DATASETS.register(name)``; docs/extending.md says how those of others are found.
    """

    title: ClassVar[str] = ""
    """Help of ``arseg manifest <name>``."""
    manifest: ClassVar[str | Callable[..., None] | None] = None
    """Command ``arseg manifest <name>``, or where it is (``module:function``); None if another kind's does it.

    It takes ``--dataset`` and ``--output`` beside the options in `manifest_words`, and ends with
    `arseg.data.checks.write_checked_manifest`."""
    needs_teacher: ClassVar[bool] = False
    """Whether the data has no labels, so that a finished HR network must make them.

    Its scores are agreement with that network then, never mIoU: its manifest says whose the labels are
    (`ManifestRow.labelled_by`), and its results are in files of their own."""
    rules: ClassVar[str] = ""
    """Rule file that the Snakefile includes: an absolute path, or one in the checkout; empty if none is needed.

    What workflow/rules/experiment.smk defines is at hand: ``experiment.datasets_of(name)`` is the wildcard constraint
    of its rules, ``sources.ask(method)`` an input or parameter that a method of the kind returns."""

    def own_splits(self) -> Splits | None:
        """Return the splits that the data set has by itself; None if the configuration must name them."""
        return None

    def own_folders(self, place: Place) -> tuple[list[str], dict[str, Any]]:
        """Return the user's folders that are read, and which of their files `digest_folders` counts."""
        return [], {}

    def color_labels(self, place: Place) -> dict[str, str]:
        """Return ``source`` and ``classes`` of ``arseg labels``; a kind whose labels have colours defines it."""
        return {}

    def unknown_colors(self, place: Place) -> str:
        """Return what happens to colours of no class in them: ``refuse`` or ``ignore``."""
        return "refuse"

    def converted_labels(self, place: Place) -> str:
        """Return the folder of what becomes of `color_labels`."""
        return f"{place.results}/labels/{place.dataset}"

    @abstractmethod
    def manifest_inputs(self, place: Place) -> dict[str, str | list[str]]:
        """Return the files and folders that the manifest is made from, by names of the kind's choice."""

    @abstractmethod
    def manifest_words(self, place: Place) -> list[str]:
        """Return the words of ``arseg manifest`` that say which kind of data set it is, and where."""

    def path(self, place: Place, key: str) -> str:
        """Return the path that a key of the source holds.

        A ConfigError with the key says that it names an unset environment variable, or that nothing is there.
        """
        name = f"datasets.{place.dataset}.source.{key}"
        return existing(getattr(self, key), name)

    def sheet(self, place: Place, key: str, *columns: str) -> list[dict[str, str]]:
        """Return the rows of the CSV sheet that a key of the source names, by its columns."""
        hint = f"Or name another sheet: datasets.{place.dataset}.source.{key}"
        return [row.cells for row in read_sheet(Path(self.path(place, key)), columns, hint)]


DATASETS: Registry[type[DatasetKind]] = Registry("kind of data set", "arseg.datasets")
"""Kinds of data sets by the name that a configuration calls them."""


def words(kind: str, **options: Any) -> list[str]:
    """Return the words of ``arseg manifest`` for a kind and its options."""
    return [kind, *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
