"""Which published checkpoints and data to evaluate: what the command is told, without what it takes to do it."""

from dataclasses import dataclass

from arseg.compat.naming import Dataset, PublishedBackbone, registered_backbone
from arseg.errors import ConfigError
from arseg.spec import Role


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
        """Return the resolutions to evaluate in a mode, in percent.

        Raises
        ------
        ConfigError
            If a scale is not a whole percentage below 100.
        """
        if mode == "hr":
            return (100,)
        for scale in self.scale:
            if not 0 < scale < 1 or abs(100 * scale - round(100 * scale)) > 1e-6:
                raise ConfigError(f"--scale {scale:g}: expected whole hundredths from 0.01 to 0.99, for example 0.5")
        return tuple(dict.fromkeys(round(100 * scale) for scale in self.scale))
