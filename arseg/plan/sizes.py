"""How much data there is: of a manifest, where it has been written, and otherwise as configured or published."""

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from arseg.data.camvid import camvid_classes
from arseg.data.cityscapes_verify import EXPECTED_FRAMES
from arseg.data.frames import frames_manifest
from arseg.data.manifest import ManifestRow, read_manifest
from arseg.data.synthetic.dataset import synthesize
from arseg.data.synthetic.scene import CLASSES as SYNTHETIC_CLASSES
from arseg.errors import DataError

CAMVID_FRAMES = {
    "kaggle": {"kaggle-train": 369, "kaggle-val": 100, "kaggle-test": 232},
    "official": {"official-train": 367, "official-val": 101, "official-test": 233},
}
"""Annotated frames by the way CamVid is divided (docs/reproduce-paper.md)."""

CAMVID_SIZE = (960, 720)
CITYSCAPES_SIZE = (2048, 1024)
CITYSCAPES_CLASSES = 19


@dataclass(frozen=True)
class ClipCount:
    """What a job of `arseg clips` makes."""

    clips: float
    frames: float
    """In all clips together."""
    samples: dict[int, float]
    """By reference distance."""


@dataclass(frozen=True)
class DataSize:
    """How much there is of a data set."""

    width: int
    """Of its frames, in pixels."""
    height: int
    num_classes: int
    frames: Mapping[str, int]
    """Annotated frames by split."""
    source: str
    """Where the numbers come from, in words."""
    rows: Mapping[str, Sequence[ManifestRow]] = field(default_factory=dict, repr=False)
    """The frames themselves, if they are known."""

    @property
    def megapixels(self) -> float:
        """Of a frame."""
        return self.width * self.height / 1e6

    def split(self, name: str) -> int:
        """Give the number of annotated frames in a split.

        Raises
        ------
        DataError
            If it has no such split.
        """
        if name not in self.frames:
            raise DataError(f"no split {name!r}; there are {', '.join(self.frames)}")
        return self.frames[name]

    def count_clips(self, split: str, distances: Sequence[int], gop: int, tail: str, num_shards: int) -> ClipCount:
        """Count clips and samples of one shard, on average.

        Where the frames are not known, no clip is taken to serve two samples: that is at most too much.
        """
        lengths = {distance: gop if tail == "gop" else distance + 1 for distance in distances}
        rows = self.rows.get(split)
        if rows is None:
            count = self.split(split)
            samples = {distance: float(count) for distance in distances}
            clips, frames = count * len(distances), count * sum(lengths.values())
        else:
            used = [
                (row, distance)
                for row in rows
                for distance in distances
                if row.max_distance is None or distance <= row.max_distance
            ]
            starts = {(row.sequence, row.frame_index - d * row.frame_step, lengths[d]) for row, d in used}
            samples = {distance: float(sum(d == distance for _, d in used)) for distance in distances}
            clips, frames = len(starts), sum(length for _, _, length in starts)
        return ClipCount(
            clips / num_shards, frames / num_shards, {distance: n / num_shards for distance, n in samples.items()}
        )


class DataSizes:
    """Sizes of the data sets of a configuration.

    Parameters
    ----------
    datasets : mapping
        The configuration's ``datasets``, complete.
    gop : int
        Its longest group of pictures.
    """

    def __init__(self, datasets: Mapping[str, Any], gop: int) -> None:
        self._datasets = datasets
        self._gop = gop
        self._known: dict[Path, DataSize] = {}

    def of_manifest(self, path: Path) -> DataSize:
        """Give the size of the data set of a manifest, written or not.

        Raises
        ------
        DataError
            If it is neither there nor named for a data set of the configuration.
        """
        path = Path(path)
        if path not in self._known:
            self._known[path] = self._read(path) if path.is_file() else self._configured(path.stem)
        return self._known[path]

    def _read(self, path: Path) -> DataSize:
        manifest = read_manifest(path)
        return _of_rows(manifest.rows, manifest.num_classes, f"of {path}")

    def _configured(self, name: str) -> DataSize:
        settings = self._datasets.get(name)
        if settings is None:
            raise DataError(f"{name}: no such data set in the configuration, and no manifest of it")
        source = settings["source"]
        match settings["kind"]:
            case "synthetic":
                return _synthetic(source, self._gop)
            case "camvid":
                frames = CAMVID_FRAMES[source.get("split", "kaggle")]
                return DataSize(*CAMVID_SIZE, len(camvid_classes()), frames, "as published")
            case "cityscapes":
                return DataSize(*CITYSCAPES_SIZE, CITYSCAPES_CLASSES, EXPECTED_FRAMES, "as published")
        root, *sheets = (
            Path(os.path.expandvars(os.path.expanduser(source[key])))  # noqa: PTH111
            for key in ("root", "classes", "splits")
        )
        rows, classes = frames_manifest(name, root, *sheets)
        return _of_rows(rows, len(classes), f"of {sheets[1]}")


def _of_rows(rows: Sequence[ManifestRow], num_classes: int, source: str) -> DataSize:
    splits: dict[str, list[ManifestRow]] = {}
    for row in rows:
        splits.setdefault(row.split, []).append(row)
    try:
        with Image.open(rows[0].image) as picture:
            width, height = picture.size
    except (OSError, IndexError) as error:
        raise DataError(f"the first frame {source} cannot be read: {error}") from error
    return DataSize(
        width, height, num_classes, {name: len(members) for name, members in splits.items()}, source, splits
    )


def _synthetic(source: Mapping[str, Any], gop: int) -> DataSize:
    """Count as `arseg.data.synthetic.dataset.synthesize` does."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(synthesize).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    settings = defaults | dict(source)
    length = settings["frames_per_sequence"]
    frames = {}
    for split in ("train", "val", "test"):
        last = length - (gop if split == "test" else 1)
        annotated = len(range(gop - 1, last + 1, settings["annotate_every"]))
        frames[split] = settings[f"num_{split}_sequences"] * annotated
    return DataSize(settings["width"], settings["height"], len(SYNTHETIC_CLASSES), frames, "as configured")
