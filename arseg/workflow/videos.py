"""The videos that a configuration wants segmented: what their jobs read, write and are told."""

import math
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from arseg.codec.stream import duration_of
from arseg.config import existing, expanded
from arseg.data.videos import name_videos
from arseg.networks import own_file
from arseg.workflow.experiment import Experiment, Wildcards
from arseg.workflow.jobs import flag
from arseg.workflow.keys import Segment
from arseg.workflow.reading import told_by_snakemake


@dataclass(frozen=True)
class Videos:
    """The videos of an experiment; a WorkflowError says which, or what checkpoint, is missing or named twice."""

    experiment: Experiment

    @told_by_snakemake()
    def __post_init__(self) -> None:
        self.by_name, self.checkpoints  # noqa: B018  (raise)

    @property
    def _segment(self) -> Segment:
        return self.experiment.config.segment or Segment(videos=())

    @property
    def _key(self) -> str:
        return f"{self.experiment.place}: segment"

    @cached_property
    def lines(self) -> list[str]:
        """What names the videos: files, patterns and sheets."""
        return [expanded(line, f"{self._key}.videos[{index}]") for index, line in enumerate(self._segment.videos)]

    @cached_property
    def by_name(self) -> dict[str, Path]:
        """The videos by name."""
        return name_videos(self.lines, f"{self._key}.videos")

    @cached_property
    def checkpoints(self) -> list[str]:
        """The checkpoints that segment them, or folders with some."""
        paths = self._segment.checkpoints
        return [existing(path, f"{self._key}.checkpoints[{index}]") for index, path in enumerate(paths)]

    def targets(self) -> list[str]:
        """Return the tables, and what says that no video is broken; nothing if no video is to be segmented."""
        names = ("segment.csv", "segment.md", "segmented.txt") if self.by_name else ()
        return [f"{self.experiment.results}/{name}" for name in names]

    def folders(self, wildcards: Wildcards) -> list[str]:
        """Return the folders of all videos."""
        return [f"{self.experiment.results}/segment/{name}" for name in self.by_name]

    def inputs(self, wildcards: Wildcards) -> dict[str, str | list[str]]:
        """Return a video, and the networks' files: those in a folder, not the folder, which changes without them."""
        paths = map(Path, self.checkpoints)
        networks = [str(file) for path in paths for file in (sorted(path.rglob("*.pt")) if path.is_dir() else [path])]
        own = own_file(self._segment.network) if self._segment.network else None
        return {"video": str(self.by_name[wildcards.video]), "networks": networks + ([str(own)] if own else [])}

    def words(self, wildcards: Wildcards) -> list[str]:
        """Return the words of ``arseg videos segment`` that are the same for all videos."""
        segment = self._segment
        return [
            *flag("output", segment.outputs),
            *flag("checkpoint", self.checkpoints),
            *flag("network", segment.network),
            *flag("scale-percent", segment.scale and round(100 * segment.scale)),
            *flag("keyframes", segment.keyframes),
            *flag("every", segment.every),
            *flag("device", self.experiment.config.device),
            *shlex.split(segment.options),
        ]

    def parts(self, wildcards: Wildcards) -> list[str]:
        """Return the folders of the parts that a video is segmented in; none if it is short."""
        minutes, video = self._segment.part_minutes, self.by_name[wildcards.video]
        total = math.ceil(duration_of(video) / (60 * minutes)) if minutes else 1
        folder = f"{self.experiment.results}/segment-parts/{wildcards.video}"
        return [f"{folder}/{number}of{total}" for number in range(1, total + 1)] if total > 1 else []

    def join_words(self, wildcards: Wildcards) -> list[str]:
        """Return the flag that names them."""
        return flag("join", self.parts(wildcards))
