"""``arseg videos``: from videos without labels to sampled frames and labels of the HR branch."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from arseg.config import parse_size
from arseg.datasets.videos.footage import find_videos
from arseg.datasets.videos.sampling import write_samples
from arseg.infer.teacher import label_samples
from arseg.options import Count
from arseg.provenance.recording import Arguments, records
from arseg.spec import ClipTail


def _videos(arguments: Arguments) -> list[Path]:
    return [*find_videos(arguments["videos"]).values()]


@records("videos sample", inputs=[_videos], outputs=["output"], folder_contents=False)
def sample(
    videos: str,
    *,
    output: Path,
    samples: Count = 150,
    gop: Count = 12,
    tail: ClipTail = "annotated",
    size: str | None = None,
) -> None:
    """Sample frames of videos, evenly in time, and decode them with the frames that clips need.

    Parameters
    ----------
    videos : str
        A video, a pattern in quotes ("drives/*.mp4"), or a CSV sheet with the column video.
    output : Path
        Folder to write.
    samples : int
        How many frames in all: the first 60 % of the time to train on, 20 % to validate, the last 20 % to test on.
    gop : int
        Frames from one keyframe to the next, the largest that clips are made with.
    tail : str
        gop: clips hold a whole GOP. annotated: they end at the sampled frame.
    size : str
        Width and height that all frames get (640x360); by default the size that most videos have.
    """
    chosen = write_samples(
        *(videos, output),
        num_samples=samples,
        gop=gop,
        tail=tail,
        size=None if size is None else parse_size(size)[::-1],
    )
    print(f"wrote {len(chosen)} samples of {len({one.sequence for one in chosen})} videos to {output}")


@records("videos label", inputs=["frames", "checkpoint"], outputs=["output"], folder_contents=False)
def label(
    frames: Path,
    *,
    checkpoint: Path,
    output: Path,
    confidence: Annotated[float, Parameter(validator=Number(gte=0, lt=1))] = 0.5,
    device: str = "auto",
) -> None:
    """Label sampled frames by a finished HR branch, the teacher of the LR branch.

    Parameters
    ----------
    frames : Path
        Folder of arseg videos sample.
    checkpoint : Path
        HR branch.
    output : Path
        Folder to write: index label maps, and the sheet of classes.
    confidence : float
        Pixels whose likeliest class is less probable are ignored (255).
    device : str
        auto, cpu, cuda or cuda:N.
    """
    ignored = label_samples(frames, checkpoint, output, confidence=confidence, device=device)
    print(f"wrote labels to {output}; {ignored:.1%} of the pixels are less sure than {confidence:g} and ignored")
