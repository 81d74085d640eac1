"""Synthetic street scenes in a configuration and in the workflow."""

from dataclasses import asdict, dataclass
from typing import Annotated

from arseg.config import Count, bounds
from arseg.datasets.kind import DATASETS, DatasetKind, Place, words


@DATASETS.register("synthetic")
@dataclass(frozen=True)
class Synthetic(DatasetKind):
    """Synthetic street scenes, written as anyone's frames and sheets."""

    rules = "workflow/rules/synthetic.smk"

    seed: Annotated[int, bounds(minimum=0)] = 0
    """Seed of the scenes."""
    num_train_sequences: Count = 12
    """Videos to train on."""
    num_val_sequences: Count = 2
    """Videos to choose the best epoch by."""
    num_test_sequences: Count = 4
    """Videos to test on."""
    frames_per_sequence: Annotated[int, bounds(minimum=3)] = 27
    """Length of a video; at least 2 gop - 1."""
    annotate_every: Count = 2
    """Step from one annotated frame to the next."""
    speed: Count = 1
    """How many times as fast all moves: a frame shows the street this many thirtieths of a second after the last."""
    width: Annotated[int, bounds(minimum=32, multipleOf=2)] = 192
    """Width of the frames in pixels."""
    height: Annotated[int, bounds(minimum=32, multipleOf=2)] = 128
    """Height of the frames in pixels."""

    def scenes(self, place: Place) -> dict[str, int]:
        """Return what the scenes are drawn from, with the largest GOP that their videos must have room for."""
        return asdict(self) | {"gop": place.longest_gop}

    def manifest_inputs(self, place: Place) -> dict[str, str | list[str]]:
        """Return the folder of the rendered frames, labels and sheets."""
        return {"root": f"{place.results}/frames/{place.dataset}"}

    def manifest_words(self, place: Place) -> list[str]:
        """Return the words of `arseg manifest frames`."""
        return words("frames", **self.manifest_inputs(place))
