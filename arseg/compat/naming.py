"""What was published, and its names: networks, checkpoints, bitrates and splits of two data sets.

The published programs call two networks psp18: that of CamVid and, for Cityscapes, `psp18-cityscapes`.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from arseg.errors import ConfigError
from arseg.spec import Role

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

CHECKPOINT_NAME = re.compile(r"PSPNet_resnet18_(?P<scale>\d+(\.\d+)?)_(?P<epoch>\d+)_\.pth")


class CheckpointName(NamedTuple):
    """What the file name of a published checkpoint says: resolution of its training, and the epoch that was kept."""

    scale_percent: int
    epoch: int


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
    """Return what the published network of a data set normalises images with; a ConfigError says that there is none."""
    if (dataset, backbone) not in NORMALIZATIONS:
        known = ", ".join(map(" ".join, NORMALIZATIONS))
        raise ConfigError(f"no network {backbone!r} was published for {dataset!r}; expected one of {known}")
    return NORMALIZATIONS[dataset, backbone]


@dataclass(frozen=True)
class PublishedSetup:
    """Which published checkpoints and data to evaluate."""

    dataset: Dataset = "camvid"
    """Data set."""
    backbone: PublishedBackbone = "psp18"
    """Backbone."""
    scale: tuple[float, ...] = (0.5,)
    """Resolutions of the networks in modes LR and AR."""
    bitrate: float | None = None
    """Bitrate of the data in Mb/s; by default 3 for CamVid, 5 for Cityscapes."""
    gop: int = 12
    """Length of a group of pictures of the data."""
    split: str | None = None
    """Split of the data; by default test for CamVid, val for Cityscapes."""

    @property
    def network(self) -> str:
        """The backbone as the registry names it."""
        return registered_backbone(self.dataset, self.backbone)

    @property
    def megabits(self) -> float:
        """Bitrate of the data in Mb/s."""
        return {"camvid": 3, "cityscapes": 5}[self.dataset] if self.bitrate is None else self.bitrate

    @property
    def data_split(self) -> str:
        """Split of the data."""
        return self.split or {"camvid": "test", "cityscapes": "val"}[self.dataset]

    def scales_percent_of(self, mode: Role) -> tuple[int, ...]:
        """Return the percentages to evaluate in a mode; a ConfigError names a scale that is no whole percentage."""
        if mode == "hr":
            return (100,)
        for scale in self.scale:
            if not 0 < scale < 1 or abs(100 * scale - round(100 * scale)) > 1e-6:
                raise ConfigError(f"--scale {scale:g}: expected whole hundredths from 0.01 to 0.99, for example 0.5")
        return tuple(dict.fromkeys(round(100 * scale) for scale in self.scale))
