"""``arseg segment``: labels for a user's own video."""

import json
import signal
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from arseg.codec.video_writer import DEFAULT_VIDEO, VideoOptions
from arseg.data.manifest import read_classes
from arseg.errors import ConfigError
from arseg.files import atomic_path
from arseg.infer.outputs import check_outputs, open_output
from arseg.infer.report import STAGES, describe, summarize
from arseg.infer.segment import DEFAULT_FOLLOWING, Segmentation
from arseg.infer.segment import segment as segment_video
from arseg.models.branch import Branch
from arseg.models.device import resolve_device
from arseg.models.finished import finished_branch
from arseg.motion.live import Following
from arseg.options import Count, Device, Video
from arseg.progress import track
from arseg.provenance.recording import records
from arseg.signals import noted_signals


@records(
    "segment",
    inputs=["video", "checkpoint", "weights", "classes"],
    outputs=["output", "summary"],
    folder_contents=False,
)
def segment(
    video: Video,
    *,
    checkpoint: list[Path] | None = None,
    network: str | None = None,
    classes: Path | None = None,
    weights: Path | None = None,
    normalization: str | None = None,
    output: Annotated[list[Path] | None, Parameter(name=["--output", "-o"])] = None,
    summary: Path | None = None,
    scale_percent: int | None = None,
    propagate: bool = False,
    compare: Literal["HR", "hr"] | None = None,
    metrics: list[str] | None = None,
    alpha: float = 0.5,
    overlay: VideoOptions = DEFAULT_VIDEO,
    every: Count = 1,
    max_frames: Count | None = None,
    following: Annotated[Following, Parameter(name="*")] = DEFAULT_FOLLOWING,
    device: Device = "auto",
) -> None:
    """Segment a video: keyframes in full resolution, all other frames in low, joined by the codec's motion.

    Ctrl-C ends the video there: outputs hold the frames so far.

    Parameters
    ----------
    video : str
        Whatever FFmpeg decodes, best H.264 or HEVC: a file, a URL, or - for standard input.
    checkpoint : list of Path
        Checkpoints, or folders with some (results/demo): an LR branch and its HR branch, or a single network.
    network : str
        Instead of a checkpoint, a finished network by name, as for arseg checkpoint create, on every frame in full
        resolution (transformers/ORGANISATION/MODEL, my_nets.py:build).
    classes : Path
        With --network: CSV of its classes, as for arseg checkpoint create.
    weights : Path
        With --network: its weights, as for arseg checkpoint create.
    normalization : str
        With --network: what images are normalised with, as for arseg checkpoint create.
    output : list of Path
        Any of: a video (.mp4, .mkv, .mov) with classes over the frames, labels (.h5), areas of classes (.csv),
        annotations for COCO (.json) or CVAT (.zip), a folder for palette PNGs.
    summary : Path
        JSON file with what the run did and cost.
    scale_percent : int
        Resolution of the LR branch, where the folder has several.
    propagate : bool
        Propagation alone: the HR branch, or the network, sees keyframes, whose features motion carries to other frames.
    compare : str
        HR: run the HR branch on every frame as well, and say what is lost and saved on this video.
    metrics : list of str
        Registered metrics to compare them by beside mIoU (docs/extending.md).
    alpha : float
        Opacity of the classes in a video: 1 shows nothing but them.
    every : int
        Write every n-th frame only; others cost little.
    max_frames : int
        How many frames to read; all by default.
    """
    if not (output or summary or compare):
        raise ConfigError("--output: nothing would come of it. Name an output, a --summary, or --compare HR")
    if summary in (output or []):
        raise ConfigError(f"--summary {summary}: is an --output as well. Name another file")
    check_outputs(output or [], alpha)
    of_network = {"--classes": classes, "--weights": weights, "--normalization": normalization}
    of_branches = {
        "--checkpoint": checkpoint,
        "--scale-percent": scale_percent,
        "--compare": None if propagate else compare,
    }
    if network is None:
        _refuse(of_network, "is of a network by name. Name it by --network; a checkpoint has its own")
        if not checkpoint:
            raise ConfigError("what shall segment the video? Give --checkpoint FILE..., or a --network by name")
        source: list[Path] | Branch = checkpoint
    else:
        _refuse(
            of_branches,
            f"is of branches that arseg has trained, and --network {network} runs alone on every frame in full "
            f"resolution. Add --propagate, or train a branch beside it: arseg adapt {video} --network {network} ...",
        )
        source = finished_branch(
            network,
            None if classes is None else read_classes(classes),
            weights=weights,
            normalization=normalization,
            device=resolve_device(device),
        )
    segmentation = segment_video(
        video,
        source,
        scale_percent=scale_percent,
        device=device,
        following=following,
        every=every,
        propagate=propagate,
        compare_hr=compare is not None,
        metrics=metrics or (),
        max_frames=max_frames,
    )
    num_frames, started = 0, time.monotonic()
    with ExitStack() as stack:
        frames = stack.enter_context(closing(iter(segmentation)))
        first = next(frames)  # before any output is begun: the video may be none
        origin = segmentation.front_end.origin
        writers = [
            stack.enter_context(open_output(path, segmentation.classes, alpha, overlay, origin))
            for path in output or []
        ]
        stopped = stack.enter_context(noted_signals(signal.SIGINT, signal.SIGTERM, until="this frame"))
        expected = segmentation.front_end.num_frames
        total = None if expected is None else -(-expected // every)
        shown = track(chain([first], frames), "frames", total, status=lambda: _shares(segmentation, started))
        for frame, labels, info in shown:
            with segmentation.watch("output"):
                for write in writers:
                    write(frame, labels, info)
            num_frames += 1
            if stopped:
                break
    told = summarize(segmentation, num_frames, time.monotonic() - started)
    if summary is not None:
        with atomic_path(summary) as temporary:
            temporary.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    if stopped:
        print(f"stopped by {stopped[0]}")
    print(describe(told))
    for path in [*(output or []), *([summary] if summary else [])]:
        print(f"wrote {path}")


def _refuse(options: Mapping[str, object], reason: str) -> None:
    if given := [name for name, value in options.items() if value is not None]:
        raise ConfigError(f"{given[0]}: {reason}")


def _shares(segmentation: Segmentation, started: float) -> str:
    seconds = max(1e-9, time.monotonic() - started)
    spent = segmentation.watch.seconds
    return " ".join(f"{stage} {100 * spent[stage] / seconds:.0f}%" for stage in STAGES if spent[stage] > 0)
