"""Names in published files: which networks there are, and what the names of checkpoints and networks say.

The published programs call two networks psp18: that of CamVid and, for Cityscapes, `psp18-cityscapes`.
"""

import re
from pathlib import Path
from typing import Literal, NamedTuple

from arseg.errors import ConfigError

Dataset = Literal["camvid", "cityscapes"]
PublishedBackbone = Literal["psp18", "bise18"]

NORMALIZATIONS = {
    ("camvid", "psp18"): "camvid",
    ("camvid", "bise18"): "camvid",
    ("cityscapes", "psp18-cityscapes"): "imagenet",
    ("cityscapes", "bise18"): "bisenet",
    ("camvid", "pidnet-s"): "imagenet",
    ("cityscapes", "pidnet-s"): "imagenet",
}
"""What the published networks normalise images with, by data set and backbone (docs/method.md, 'Data sets')."""

RESULT_NAMES = {("cityscapes", "psp18-cityscapes"): "psp18", ("cityscapes", "psp18"): "psp18camvid"}
"""Names of networks in result files, by data set and backbone, where they are not the backbone without its hyphen.
The form of PSPNet that was not published on a data set has a name that no published result has."""

CHECKPOINT_NAME = re.compile(r"PSPNet_resnet18_(?P<scale>\d+(\.\d+)?)_(?P<epoch>\d+)_\.pth")


class CheckpointName(NamedTuple):
    """What the file name of a published checkpoint says."""

    scale_percent: int
    """Resolution that the network was trained at."""
    epoch: int
    """Epoch that was kept."""


def parse_checkpoint_name(path: Path) -> CheckpointName | None:
    """Return scale and epoch from a name such as ``PSPNet_resnet18_0.5_92_.pth``; None from any other name.

    The name says PSPNet for BiSeNet, too.
    """
    match = CHECKPOINT_NAME.fullmatch(Path(path).name)
    return None if match is None else CheckpointName(round(100 * float(match["scale"])), int(match["epoch"]))


def registered_backbone(dataset: str | None, backbone: str) -> str:
    """Return a network's name in the registry, given its published name on a data set, or either name."""
    return "psp18-cityscapes" if (dataset, backbone) == ("cityscapes", "psp18") else backbone


def published_normalization(dataset: str, backbone: str) -> str:
    """Return what the published network of a data set normalises images with.

    Raises
    ------
    ConfigError
        If there is no published network of that kind.
    """
    if (dataset, backbone) not in NORMALIZATIONS:
        known = ", ".join(map(" ".join, NORMALIZATIONS))
        raise ConfigError(f"no network {backbone!r} was published for {dataset!r}; expected one of {known}")
    return NORMALIZATIONS[dataset, backbone]


def result_name(dataset: str, backbone: str) -> str:
    """Return the name of a network in result files, which has no hyphen."""
    return RESULT_NAMES.get((dataset, backbone), backbone.replace("-", ""))


def backbone_of_result(dataset: str, name: str) -> str:
    """Return the backbone that result files of a data set call by a name."""
    backbones = {(known, result): backbone for (known, backbone), result in RESULT_NAMES.items()}
    return backbones.get((dataset, name), name)
