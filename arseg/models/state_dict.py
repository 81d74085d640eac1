"""Networks from plain state dicts, which say nothing about themselves.

Names are compared with those of our networks, of which some list a tensor under two: a file may have either of them.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from textwrap import shorten
from typing import NamedTuple

import torch
from torch import Tensor

from arseg.errors import CheckpointError
from arseg.models.checkpoint import read_tensors
from arseg.models.network import SegmentationNetwork
from arseg.models.registry import build_network, get_architecture
from arseg.networks import networks

PREFIX = "module."
"""What data parallelism puts before every name."""

PIDNET_PREFIX = "model."
"""What the public PIDNet's training puts before the names of the network in it."""

OF_LOSS = "sem_loss."
"""Beginning of the names of the class weights that its files have beside the network."""

NESTS = ("state_dict", "model", "net")
"""Entries under which other programs keep the state dict, beside an optimiser's or an epoch."""

COUNTER = ".num_batches_tracked"
"""End of the names of batch norm's counters, which PyTorch before 0.4.1 did not store and nothing here reads."""

FUSION = "fuse_attention."
"""Beginning of the names of tensors that only a network with fusion has."""

HINT = "expected a state dict: torch.save(network.state_dict(), FILE)"

MAX_LINES, MAX_LENGTH = 8, 300
"""Lines that a message quotes of PyTorch's, and their length."""


class LoadedNetwork(NamedTuple):
    """A network made of a state dict."""

    network: SegmentationNetwork
    """On the CPU, in evaluation mode."""
    description: str
    """Backbone, form and number of classes."""
    num_tensors: int
    """Tensors of the network that the file has; one with two names counts once."""
    left_out: tuple[str, ...]
    """Names in the file of the fusion, in a network without it, and of the loss."""
    differing_twins: tuple[str, ...]
    """Names whose value was preferred to another one under the tensor's other name."""


class Guess(NamedTuple):
    """The network that a state dict most likely is of."""

    backbone: str
    """Name in the registry."""
    fusion: bool
    """Whether it has the fusion of an LR branch."""
    description: str
    """Backbone, form and number of classes."""
    agreement: float
    """Tensors whose names and shapes agree, divided by all of the network and the file."""


def is_own_checkpoint(content: object) -> bool:
    """Return whether the content of a file is a checkpoint of arseg."""
    return isinstance(content, Mapping) and {"format_version", "state_dict"} <= content.keys()


def read_state_dict(path: Path, hint: str = HINT) -> dict[str, Tensor]:
    """Read a state dict that another program wrote, without running code that the file may contain.

    Parameters
    ----------
    path : Path
        File of ``torch.save``: a state dict, or a dictionary that has one under "state_dict", "model" or "net".
    hint : str
        What to do if it is unreadable, for the message.

    Returns
    -------
    state_dict : dict of str to Tensor
        On the CPU; names and their order as in the file, but see `without_prefix`.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, a checkpoint of arseg, or holds anything but tensors.
    """
    content = read_tensors(path, hint)
    if is_own_checkpoint(content):
        raise CheckpointError(
            f"{path}: is a checkpoint of arseg already, which needs no import (arseg checkpoint export makes a plain "
            f"state dict of it); {hint}"
        )
    if isinstance(content, Mapping):
        content = next((content[key] for key in NESTS if isinstance(content.get(key), Mapping)), content)
    if not isinstance(content, Mapping) or not content:
        found = "nothing" if isinstance(content, Mapping) else f"a {type(content).__name__}"
        raise CheckpointError(f"{path}: holds {found} where tensors by name were expected; {hint}")
    strangers = [
        f"{name!r} is a {type(value).__name__}"
        for name, value in content.items()
        if not (isinstance(name, str) and isinstance(value, Tensor))
    ]
    if strangers:
        raise CheckpointError(
            f"{path}: of its {len(content)} entries, {len(strangers)} are not tensors with a name ({strangers[0]}); "
            f"{hint}"
        )
    return without_prefix(content)


def without_prefix(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors without the ``module.`` or ``model.`` that all names of the network begin with."""
    for prefix in (PREFIX, PIDNET_PREFIX):
        if all(name.startswith((prefix, OF_LOSS)) for name in state_dict):
            return {name.removeprefix(prefix): tensor for name, tensor in state_dict.items()}
    return dict(state_dict)


@cache
def network_entries(backbone: str, num_classes: int, fusion: str | bool | None) -> Mapping[str, Tensor]:
    """Return the entries of a network's state dict, in order, as tensors without storage.

    Both names of a tensor that has two have one and the same object.

    Raises
    ------
    ConfigError
        If the backbone is unknown, or there is no class.
    """
    with torch.device("meta"):
        return build_network(backbone, _possible(backbone, num_classes), fusion).state_dict(keep_vars=True)


def _possible(backbone: str, num_classes: int) -> int:
    """Return a number of classes, or the only one that a network can be built for: names of tensors are the same."""
    return get_architecture(backbone).num_classes or num_classes


@cache
def first_names(backbone: str, num_classes: int = 1) -> Mapping[str, str]:
    """Return for every name of a network's tensors the one under which the tensor is listed first.

    They are those of the form with CReFF, which has all names: a file of the other form may have them, too. What
    another fusion adds has one name. They do not depend on the number of classes, for which the network is built to
    find them.
    """
    first: dict[int, str] = {}
    entries = network_entries(backbone, num_classes, fusion=True)
    return {name: first.setdefault(id(tensor), name) for name, tensor in entries.items()}


def network_from_state_dict(state_dict: Mapping[str, Tensor], backbone: str, *, fusion: bool) -> LoadedNetwork:
    """Build a network with the tensors of a state dict, for as many classes as its last convolution has.

    Of two values for one tensor, the last listed wins, as in the published programs. Counters of batch norm may be
    absent, and are then zero. A network without fusion leaves that of the file out: published baselines of one low
    resolution have it although nothing runs it. So are the class weights in files of the public PIDNet.

    Parameters
    ----------
    state_dict : mapping of str to Tensor
        Tensors in the order of the file, as `read_state_dict` returns them.
    backbone : str
        Name in the registry.
    fusion : bool
        Whether to build the fusion, as an LR branch needs it.

    Returns
    -------
    loaded : LoadedNetwork

    Raises
    ------
    CheckpointError
        If the tensors are not this network's; the message has the difference in PyTorch's words.
    ConfigError
        If the backbone is unknown.
    """
    prefix = get_architecture(backbone).prefix
    if prefix and not any(name.startswith(prefix) for name in state_dict):  # as its own library or file writes it
        state_dict = {f"{prefix}{name}": tensor for name, tensor in state_dict.items()}
    first = first_names(backbone)
    found: dict[str, Tensor] = {}
    differing = []
    for name, tensor in state_dict.items():
        twin = found.get(first.get(name, name))
        if twin is not None and not (twin.dtype == tensor.dtype and torch.equal(twin, tensor)):
            differing.append(name)
        found[first.get(name, name)] = tensor
    num_classes = _num_classes(found, backbone)
    network = build_network(backbone, num_classes or 1, fusion)
    own = network.state_dict()
    known = {first[name] for name in own}
    left_out = tuple(name for name in found if name not in known and (name in first or name.startswith(OF_LOSS)))
    matched = {name: found[first[name]] for name in own if first[name] in found}
    counters = {name: tensor for name, tensor in own.items() if name.endswith(COUNTER)}
    unexpected = {name: tensor for name, tensor in found.items() if name not in first and name not in left_out}
    # PyTorch would turn whole numbers, as quantised weights are, into floating-point ones.
    problems = [
        f"{name}: is {str(tensor.dtype).removeprefix('torch.')}, expected {str(own[name].dtype).removeprefix('torch.')}"
        for name, tensor in matched.items()
        if tensor.is_floating_point() != own[name].is_floating_point()
    ]
    try:
        network.load_state_dict(counters | matched | unexpected, strict=True)
    except RuntimeError as error:
        problems += [line.strip() for line in str(error).splitlines()[1:]]
    description = _describe(backbone, fusion, num_classes)
    if problems:
        lines = [shorten(problem, MAX_LENGTH) for problem in problems[:MAX_LINES]]
        if len(problems) > MAX_LINES:
            lines.append(f"and {len(problems) - MAX_LINES} more")
        raise CheckpointError("\n  ".join([f"does not fit {description}:", *lines]))
    num_tensors = len({first[name] for name in matched})
    return LoadedNetwork(network.eval(), description, num_tensors, left_out, tuple(differing))


def guess_network(state_dict: Mapping[str, Tensor]) -> Guess | None:
    """Return the network and form that a state dict most likely is of; None if it agrees with none by half."""
    guesses = [_guess(state_dict, backbone, fusion) for backbone in networks.names() for fusion in (False, True)]
    best = max(guesses, key=lambda guess: guess.agreement)
    return best if best.agreement > 0.5 else None


def _guess(state_dict: Mapping[str, Tensor], backbone: str, fusion: bool) -> Guess:
    first = first_names(backbone)
    found = {first.get(name, name): tensor for name, tensor in state_dict.items()}
    num_classes = _num_classes(found, backbone)
    expected = {first[name]: tensor for name, tensor in network_entries(backbone, num_classes or 1, fusion).items()}
    theirs, ours = (
        {
            (name, tensor.shape)
            for name, tensor in tensors.items()
            if not (name.endswith(COUNTER) or name.startswith(OF_LOSS))
        }
        for tensors in (found, expected)
    )
    agreement = len(theirs & ours) / len(theirs | ours)
    return Guess(backbone, fusion, _describe(backbone, fusion, num_classes), agreement)


def _describe(backbone: str, fusion: bool, num_classes: int | None) -> str:
    classes = "" if num_classes is None else f", {num_classes} classes"
    return f"{backbone} {'with' if fusion else 'without'} fusion{classes}"


def _num_classes(found: Mapping[str, Tensor], backbone: str) -> int | None:
    """Return the number of classes by the last convolution's shape; None if there is none."""
    classifier = found.get(classifier_name(backbone))
    return len(classifier) if classifier is not None and classifier.ndim and len(classifier) else None


@cache
def classifier_name(backbone: str) -> str:
    """Return the first name of the weight of the last convolution."""
    with torch.device("meta"):
        network = build_network(backbone, _possible(backbone, 1), fusion=True)
    weight = network.last_convolution.weight
    return next(name for name, tensor in network.state_dict(keep_vars=True).items() if tensor is weight)
