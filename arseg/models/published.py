"""Files that the published programs wrote: how to read them safely, and what is known about them.

What their tensors mean is not decided here but in `arseg.models.convert`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from arseg.config import Backbone
from arseg.errors import CheckpointError, ConfigError
from arseg.models.checkpoint import read_tensors
from arseg.networks import networks

NESTS = ("state_dict", "model", "net")
"""Entries under which other programs keep the state dict, beside an optimiser's or an epoch."""

MEND_PUBLISHED = "expected a state dict: torch.save(network.state_dict(), FILE)"

_PUBLISHED_NAME = re.compile(r"PSPNet_resnet18_(?P<scale>\d+(\.\d+)?)_(?P<epoch>\d+)_\.pth")


class PublishedName(NamedTuple):
    """What the file name of a published checkpoint tells (docs/method.md, 'Files of the authors')."""

    scale_percent: int
    """Resolution that the network was trained at."""
    epoch: int
    """Epoch that was kept."""


def is_own_checkpoint(content: object) -> bool:
    """Tell whether the content of a file is a checkpoint of arseg."""
    return isinstance(content, Mapping) and {"format_version", "state_dict"} <= content.keys()


def read_published(path: Path, mend: str = MEND_PUBLISHED) -> dict[str, Tensor]:
    """Read a state dict that another program wrote, without running code that the file may contain.

    Parameters
    ----------
    path : Path
        File of ``torch.save``: a state dict, or a dictionary that has one under "state_dict", "model" or "net".
    mend : str
        What to do if it is unreadable, for the message.

    Returns
    -------
    state_dict : dict of str to Tensor
        On the CPU; names and their order as in the file.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, a checkpoint of arseg, or holds anything but tensors.
    """
    content = read_tensors(path, mend)
    if is_own_checkpoint(content):
        raise CheckpointError(
            f"{path}: is a checkpoint of arseg already, which needs no import (arseg checkpoint export makes a plain "
            f"state dict of it); {mend}"
        )
    if isinstance(content, Mapping):
        content = next((content[key] for key in NESTS if isinstance(content.get(key), Mapping)), content)
    if not isinstance(content, Mapping) or not content:
        found = "nothing" if isinstance(content, Mapping) else f"a {type(content).__name__}"
        raise CheckpointError(f"{path}: holds {found} where tensors by name were expected; {mend}")
    strangers = [
        f"{name!r} is a {type(value).__name__}"
        for name, value in content.items()
        if not (isinstance(name, str) and isinstance(value, Tensor))
    ]
    if strangers:
        raise CheckpointError(
            f"{path}: of its {len(content)} entries, {len(strangers)} are no tensors with a name ({strangers[0]}); "
            f"{mend}"
        )
    return dict(content)


def published_normalization(dataset: str, backbone: Backbone) -> str:
    """Name what the published networks of a data set normalise images with (docs/method.md, 'Data sets').

    Parameters
    ----------
    dataset : {"camvid", "cityscapes"}
        Data set.
    backbone : str
        Name in `arseg.networks.networks`.

    Raises
    ------
    ConfigError
        If there is no published network of that kind.
    """
    published = {
        (published_on, name): normalization
        for name in networks.names()
        for published_on, normalization in networks.get(name).normalization.items()
    }
    if (dataset, backbone) not in published:
        known = ", ".join(" ".join(pair) for pair in published)
        raise ConfigError(f"no network {backbone!r} was published for {dataset!r}; expected one of {known}")
    return published[dataset, backbone]


def parse_published_name(path: Path) -> PublishedName | None:
    """Read scale and epoch from the name of a published checkpoint, such as ``PSPNet_resnet18_0.5_92_.pth``.

    The name says PSPNet for BiSeNet too. Any other name gives None.
    """
    match = _PUBLISHED_NAME.fullmatch(Path(path).name)
    return None if match is None else PublishedName(round(100 * float(match["scale"])), int(match["epoch"]))
