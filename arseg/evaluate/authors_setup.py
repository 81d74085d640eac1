"""Which of the authors' files to evaluate: what their command is told, without what it takes to do it."""

from dataclasses import dataclass
from typing import Literal

from arseg.config import Backbone
from arseg.data.authors_tree import AuthorsDataset
from arseg.errors import ConfigError
from arseg.spec import Mode

AuthorsBackbone = Literal["psp18", "bise18"]
"""The authors' names of networks; their psp18 of CamVid and that of Cityscapes are two."""

MEGABITS: dict[AuthorsDataset, float] = {"camvid": 3, "cityscapes": 5}
"""Bitrates of the published figures, in Mb/s."""

SPLITS: dict[AuthorsDataset, str] = {"camvid": "test", "cityscapes": "val"}
"""Splits of the published figures."""


@dataclass(frozen=True)
class PublishedSetup:
    """Which of the authors' files to evaluate."""

    dataset: AuthorsDataset = "camvid"
    """Data set."""
    backbone: AuthorsBackbone = "psp18"
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
    def network(self) -> Backbone:
        """The backbone as the registry names it."""
        return "psp18-cityscapes" if (self.dataset, self.backbone) == ("cityscapes", "psp18") else self.backbone

    def scales_percent_of(self, mode: Mode) -> tuple[int, ...]:
        """Resolutions to evaluate in a mode, in percent.

        Raises
        ------
        ConfigError
            If a scale is no whole percentage below 100.
        """
        if mode == "hr":
            return (100,)
        for scale in self.scale:
            if not 0 < scale < 1 or abs(100 * scale - round(100 * scale)) > 1e-6:
                raise ConfigError(f"--scale {scale:g}: expected whole hundredths from 0.01 to 0.99, for example 0.5")
        return tuple(dict.fromkeys(round(100 * scale) for scale in self.scale))
