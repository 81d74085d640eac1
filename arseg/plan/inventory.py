"""Clip stores and networks that commands read: as they are on disk, or as other commands of the plan will make them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from arseg.data.clips import store_path
from arseg.errors import DataError
from arseg.plan.jobs import Command
from arseg.plan.sizes import ClipCount, DataSize, DataSizes
from arseg.provenance.fingerprint import read_record
from arseg.spec import Encoding
from arseg.store import ClipStore


@dataclass(frozen=True)
class StoreSize:
    """What a clip store holds."""

    data: DataSize
    """Its data set."""
    samples: float
    distance: int


class Inventory:
    """What there is and what there will be.

    Parameters
    ----------
    commands : iterable of Command
        All commands of the plan.
    sizes : DataSizes
        The data.
    """

    def __init__(self, commands: Iterable[Command], sizes: DataSizes) -> None:
        self.sizes = sizes
        self._clips: dict[Path, Command] = {}
        self._trainings: dict[Path, Command] = {}
        for command in commands:
            if command.name == "clips":
                folder = Path(command.value("output"))
                self._clips |= {store_path(folder, distance): command for distance in distances_of(command)}
            elif command.name.startswith("train "):
                self._trainings[Path(command.value("output"))] = command

    def clips(self, command: Command) -> tuple[DataSize, ClipCount]:
        """Count what a command ``clips`` makes."""
        data = self.sizes.of_manifest(Path(command.value("manifest")))
        count = data.count_clips(
            command.value("split"),
            distances_of(command),
            gop_of(command),
            command.value("tail", "gop"),
            int(command.value("num-shards", "1")),
        )
        return data, count

    def store(self, path: Path) -> StoreSize:
        """Give the size of a clip store.

        Raises
        ------
        DataError, StoreError
            If no command of the plan makes it and it is not there, or damaged.
        """
        if path in self._clips:
            data, count = self.clips(self._clips[path])
            distance = int(path.stem.removeprefix("d"))
            return StoreSize(data, count.samples[distance], distance)
        with ClipStore(path) as store:
            attributes, samples = store.attributes, len(store)
        record = read_record(path)
        manifest = record["options"]["manifest"] if record else f"{attributes.dataset}.csv"
        return StoreSize(self.sizes.of_manifest(Path(manifest)), samples, attributes.distance)

    def backbone(self, path: Path) -> str:
        """Give the architecture of a network.

        Raises
        ------
        DataError
            If no command of the plan trains it, and it has no record.
        """
        training = self._trainings.get(path)
        if training is None:
            if (record := read_record(path)) is None:
                raise DataError(f"{path}: nothing tells which network it is")
            options = record["options"]
            return options["backbone"] if "backbone" in options else self.backbone(Path(options["hr"]))
        return training.value("backbone") or self.backbone(Path(training.value("hr")))


def gop_of(command: Command) -> int:
    """Give the length of a group of pictures that a command ``clips`` encodes with."""
    return int(command.value("gop", str(Encoding.gop)))


def distances_of(command: Command) -> list[int]:
    """Give the reference distances that a command ``clips`` makes stores for."""
    gop = gop_of(command)
    if "all-distances" in command.options:
        return list(range(gop))
    return [int(word) for word in command.options.get("distances", ())] or [gop - 1]
