"""How the published programs name a network's tensors, and how well the tensors of a file fit one of our networks.

Our networks name their tensors as the published programs do, so the lists of names are taken from the networks
themselves; nothing here repeats them. What is particular to published files are second names: some tensors are
listed twice, and some files list them under one of the two names only (docs/method.md, 'Files of the authors').
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from arseg.models.registry import build_network
from arseg.networks import networks

PREFIX = "module."
"""What data parallelism puts before every name."""

COUNTER = ".num_batches_tracked"
"""End of the names of batch norm's counters, which PyTorch before 0.4.1 did not store and nothing here reads."""

MAX_LINES = 8
"""Lines that a message spends on each kind of misfit."""


def without_prefix(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take ``module.`` from the names, if all of them begin with it."""
    prefixed = all(name.startswith(PREFIX) for name in state_dict)
    return {name.removeprefix(PREFIX) if prefixed else name: tensor for name, tensor in state_dict.items()}


@cache
def published_entries(backbone: str, num_classes: int, fusion: bool) -> Mapping[str, Tensor]:
    """List what a published checkpoint of a network holds, in its order, without the prefix of every name.

    Parameters
    ----------
    backbone : str
        Name in `arseg.networks.networks`.
    num_classes : int
        Number K of classes.
    fusion : bool
        Form of an LR branch (True), or of an HR branch or LR baseline.

    Returns
    -------
    entries : mapping of str to Tensor
        Tensors without storage. The names of a shared tensor have one and the same object.

    Raises
    ------
    ConfigError
        If the name is unknown, or there is no class.
    """
    with torch.device("meta"):
        return build_network(backbone, num_classes, fusion).state_dict(keep_vars=True)


@cache
def first_names(backbone: str) -> Mapping[str, str]:
    """Give for every name of a network's tensors the one under which the tensor is listed first.

    The names are those of the form with fusion, which has all of them: a file of the other form may carry the
    second names too, because the published conversion of HR checkpoints adds them (docs/method.md, 'Files of the
    authors').
    """
    first: dict[int, str] = {}
    entries = published_entries(backbone, 1, fusion=True)
    return {name: first.setdefault(id(tensor), name) for name, tensor in entries.items()}


@dataclass(frozen=True)
class Fit:
    """The tensors of a file as those of one network, and what does not fit."""

    backbone: str
    """Name in the registry."""
    fusion: bool
    """Whether the network has the fusion of an LR branch."""
    num_classes: int | None
    """Number of classes by the last convolution's shape; None if the file lacks it."""
    tensors: Mapping[str, Tensor]
    """What fits, by first name."""
    second_names: tuple[str, ...]
    """Second names whose values were taken, because the file lists them last, or alone."""
    differing_twins: tuple[str, ...]
    """Names whose tensor has another value under its other name; the one that the file lists last is named."""
    left_out: tuple[str, ...]
    """Names of tensors that only the form with fusion has, in a network without it."""
    absent_counters: tuple[str, ...]
    """Names of counters that the file lacks."""
    missing: tuple[str, ...]
    """Names of other tensors that the file lacks."""
    unknown: tuple[str, ...]
    """Names that the network does not know."""
    unlike: tuple[str, ...]
    """Tensors of another shape or kind: name, what was found, what was expected."""

    @property
    def num_problems(self) -> int:
        """Tensors that keep the file from being this network's."""
        return len(self.missing) + len(self.unknown) + len(self.unlike)

    def describe(self) -> str:
        """Name the network: backbone, form and number of classes."""
        form = "with fusion" if self.fusion else "without fusion"
        classes = "" if self.num_classes is None else f", {self.num_classes} classes"
        return f"{self.backbone} {form}{classes}"

    def difference(self) -> str:
        """Tell what does not fit in a few lines, grouped by module."""
        lines = [
            *_grouped(self.missing, "missing"),
            *_grouped(self.unknown, "unknown"),
            *self.unlike[:MAX_LINES],
        ]
        if len(self.unlike) > MAX_LINES:
            lines.append(f"{len(self.unlike) - MAX_LINES} more of another shape")
        return "\n".join(f"  {line}" for line in lines)


def fit_network(state_dict: Mapping[str, Tensor], backbone: str, *, fusion: bool) -> Fit:
    """Find the tensors of a network in a file.

    Of two values for one tensor, the last listed wins, as in the published programs.

    Parameters
    ----------
    state_dict : mapping of str to Tensor
        Tensors by published name, without prefix, in the order of the file.
    backbone : str
        Name in `arseg.networks.networks`.
    fusion : bool
        Whether the network has the fusion of an LR branch.

    Returns
    -------
    fit : Fit
        What fits and what does not.

    Raises
    ------
    ConfigError
        If the backbone is unknown.
    """
    first = first_names(backbone)
    source: dict[str, str] = {}  # first name -> name in the file
    differing = []
    for name in state_dict:
        earlier = source.get(first.get(name, name))
        if earlier is not None and not _equal(state_dict[earlier], state_dict[name]):
            differing.append(name)
        source[first.get(name, name)] = name

    classifier = state_dict.get(source.get(_classifier(backbone), ""))
    num_classes = len(classifier) if classifier is not None and classifier.ndim and len(classifier) else None
    expected = {first[name]: tensor for name, tensor in published_entries(backbone, num_classes or 1, fusion).items()}
    tensors, unlike = {}, []
    for name, tensor in expected.items():
        if name not in source:
            continue
        found = state_dict[source[name]]
        if _likeness(found) == _likeness(tensor):
            tensors[name] = found
        else:
            unlike.append(f"{source[name]}: found {_describe(found)}, expected {_describe(tensor)}")
    absent = [name for name in expected if name not in source]
    strangers = [name for name in source if name not in expected]
    return Fit(
        backbone=backbone,
        fusion=fusion,
        num_classes=num_classes,
        tensors=tensors,
        second_names=tuple(source[name] for name in tensors if source[name] != name),
        differing_twins=tuple(differing),
        left_out=tuple(name for name in strangers if name in first),
        absent_counters=tuple(name for name in absent if name.endswith(COUNTER)),
        missing=tuple(name for name in absent if not name.endswith(COUNTER)),
        unknown=tuple(name for name in strangers if name not in first),
        unlike=tuple(unlike),
    )


def guess_network(state_dict: Mapping[str, Tensor]) -> Fit | None:
    """Find the network and form whose tensors a file most likely holds.

    Parameters
    ----------
    state_dict : mapping of str to Tensor
        Tensors by published name, without prefix.

    Returns
    -------
    fit : Fit or None
        The best fit; None if the file has less than half of the tensors of every network.
    """
    fits = [
        fit_network(state_dict, backbone, fusion=fusion) for backbone in networks.names() for fusion in (False, True)
    ]
    # A file with fusion fits the form without it too, but only by leaving tensors out.
    best = min(fits, key=lambda fit: (fit.num_problems, len(fit.left_out)))
    return best if len(best.tensors) > len(best.missing) + len(best.unlike) else None


@cache
def _classifier(backbone: str) -> str:
    """First name of the weight of the last convolution, whose shape tells the number of classes."""
    with torch.device("meta"):
        network = build_network(backbone, 1, fusion=True)
    weight = network.last_convolution.weight
    return next(name for name, tensor in network.state_dict(keep_vars=True).items() if tensor is weight)


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)


def _likeness(tensor: Tensor) -> tuple[torch.Size, bool]:
    # Half-precision weights are as good as single-precision ones; integers in their place are something else.
    return tensor.shape, tensor.is_floating_point()


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _grouped(names: Sequence[str], problem: str) -> list[str]:
    """Count names by module, in modules as small as the lines allow: "layer4.*: 20 missing"."""
    deepest = max((name.count(".") for name in names), default=0)
    for depth in range(deepest + 1, 0, -1):
        groups = Counter(".".join(name.split(".")[:depth]) for name in names)
        if len(groups) <= MAX_LINES:
            break
    lines = [
        f"{group}: {problem}" if group in names else f"{group}.*: {count} {problem}"
        for group, count in list(groups.items())[:MAX_LINES]
    ]
    rest = sum(list(groups.values())[MAX_LINES:])
    return [*lines, f"{rest} more {problem}"] if rest else lines
