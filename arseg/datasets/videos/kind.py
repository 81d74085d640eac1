"""Anyone's videos without labels in a configuration and in the workflow."""

from dataclasses import dataclass
from typing import Annotated, Any

from arseg.config import Count, bounds, expanded
from arseg.datasets.kind import DATASETS, DatasetKind, Place, Splits, words
from arseg.datasets.videos.footage import find_videos
from arseg.datasets.videos.manifest import split_name


@DATASETS.register("videos")
@dataclass(frozen=True)
class Videos(DatasetKind):
    """Your own videos without labels, which the HR branch labels ([Your own network](../docs/own-network.md))."""

    title = "Your own videos, labelled by the HR branch."
    manifest = "arseg.cli.manifest:videos"
    needs_teacher = True
    rules = "workflow/rules/videos.smk"

    videos: str
    """A video, a pattern (`drives/*.mp4`), or a CSV sheet with the column `video`; may name an environment variable."""
    samples: Count = 150
    """How many frames to label in all, evenly in time: 60 % to train on, 20 % to choose the best epoch by, and the last
    20 % to test on."""
    confidence: Annotated[float, bounds(minimum=0, exclusiveMaximum=1)] = 0.5
    """Least probability of the HR branch's class; where it is less sure, pixels are ignored (255)."""

    size: Annotated[str, bounds(pattern="^([1-9][0-9]*x[1-9][0-9]*)?$")] = ""
    """Width and height in pixels that all frames get, like `640x360`; by default the size that most videos have."""

    def own_splits(self) -> Splits:
        """Return the splits by time."""
        return Splits.of(split_name("train"), split_name("val"), split_name("test"))

    def pattern(self, place: Place) -> str:
        """Return what the key ``videos`` names."""
        return expanded(self.videos, f"datasets.{place.dataset}.source.videos")

    def video_files(self, place: Place) -> list[str]:
        """Return the videos."""
        return [str(path) for path in find_videos(self.pattern(place)).values()]

    def sampling(self, place: Place) -> dict[str, Any]:
        """Return the options of ``arseg videos sample``."""
        return {
            "videos": self.pattern(place),
            "samples": self.samples,
            "gop": place.longest_gop,
            "tail": place.clip_tail,
            "size": ["--size", self.size] if self.size else [],
        }

    def least_confidence(self, place: Place) -> float:
        """Return the option of ``arseg videos label``."""
        return self.confidence

    def manifest_inputs(self, place: Place) -> dict[str, str | list[str]]:
        """Return the folders of the sampled frames and of their labels."""
        return {
            "frames": f"{place.results}/frames/{place.dataset}",
            "labels": f"{place.results}/labels/{place.dataset}",
        }

    def manifest_words(self, place: Place) -> list[str]:
        """Return the words of ``arseg manifest videos``."""
        return words("videos", **self.manifest_inputs(place))
