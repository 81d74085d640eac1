"""``arseg videos segment`` and the table of its results: the commands below the rules for many videos."""

import signal
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from arseg.cli.segment import networks
from arseg.codec.sections import Part
from arseg.codec.video_writer import DEFAULT_VIDEO, VideoOptions
from arseg.data.videos import name_videos
from arseg.files import atomic_path
from arseg.infer.many import Request, join_parts, read_summary, segment_video
from arseg.infer.report import describe
from arseg.infer.segment import DEFAULT_FOLLOWING
from arseg.infer.table import check_table, write_table
from arseg.motion.live import Following
from arseg.options import Count, Device, Video
from arseg.provenance.recording import Arguments, records
from arseg.signals import noted_signals


def _folder(arguments: Arguments) -> list[Path]:
    """Return what is recorded: nothing of a part, which is gone once it has been joined."""
    return [] if arguments["part"] else [arguments["folder"]]


@records(
    "videos segment", inputs=["video", "checkpoint", "weights", "classes"], outputs=[_folder], folder_contents=False
)
def segment(
    video: Video,
    *,
    folder: Path,
    output: Annotated[list[str], Parameter(name=["--output", "-o"])],
    checkpoint: list[Path] | None = None,
    network: str | None = None,
    classes: Path | None = None,
    weights: Path | None = None,
    normalization: str | None = None,
    scale_percent: int | None = None,
    alpha: float = 0.5,
    overlay: VideoOptions = DEFAULT_VIDEO,
    every: Count = 1,
    following: Annotated[Following, Parameter(name="*")] = DEFAULT_FOLLOWING,
    device: Device = "auto",
    part: str | None = None,
    join: list[Path] | None = None,
) -> None:
    """Segment a video into a folder, whole or not at all; of a broken one, the folder says what is wrong.

    Options that are not here are those of arseg segment.

    Parameters
    ----------
    folder : Path
        Folder to write: the outputs, and summary.json.
    output : list of str
        Names of the outputs in it, as arseg segment takes them: overlay.mp4 labels.h5.
    part : str
        Segment only a part, NUMBER/TOTAL, for --join.
    join : list of Path
        Folders of all parts, in order: join them instead of segmenting.
    """
    wanted = None if part is None else Part.parse(part)
    of_branches = {"--scale-percent": scale_percent}
    source = networks(video, checkpoint, network, classes, weights, normalization, device, of_branches)
    request = Request(source, tuple(output), scale_percent, every, following, alpha, overlay, device)
    if join:
        told = join_parts(video, join, folder, request)
    else:
        with noted_signals(signal.SIGTERM, until="this frame") as stopped:
            told = segment_video(video, folder, request, wanted, stopped)
    print(told.get("error") or describe(told))
    print(f"wrote {folder}")


@records("videos tabulate", outputs=["csv", "summary"])
def tabulate(videos: list[str], *, folder: Path, csv: Path, summary: Path) -> None:
    """Write a table with one line per segmented video.

    Parameters
    ----------
    videos : list of str
        Videos, patterns in quotes, and CSV sheets with the columns video and, if wanted, name.
    folder : Path
        Folder with the folders of arseg videos segment, by the names of the videos.
    csv : Path
        Table to write.
    summary : Path
        The same to write in Markdown.
    """
    write_table({name: read_summary(folder / name) for name in name_videos(videos, "videos")}, csv, summary)
    print(f"wrote {csv}")
    print(f"wrote {summary}")


@records("videos check", inputs=["table"], outputs=["output"])
def check(table: Path, *, output: Path) -> None:
    """Fail if a video of a table could not be segmented, and say which, and why.

    Parameters
    ----------
    table : Path
        CSV of arseg videos tabulate.
    output : Path
        Text to write if all were segmented.
    """
    num_videos = check_table(table)
    with atomic_path(output) as temporary:
        temporary.write_text(f"{num_videos} videos were segmented\n", encoding="utf-8")
    print(f"wrote {output}")
