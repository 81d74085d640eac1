"""``arseg segment``: labels for a user's own video."""

import json
import signal
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from arseg.codec.video_writer import DEFAULT_VIDEO, Origin, VideoOptions
from arseg.data.manifest import read_classes
from arseg.errors import ConfigError
from arseg.files import atomic_path
from arseg.infer.annotations import Write
from arseg.infer.outputs import check_outputs, open_output
from arseg.infer.report import describe
from arseg.infer.run import run
from arseg.infer.segment import DEFAULT_FOLLOWING
from arseg.infer.segment import segment as segment_video
from arseg.models.branch import Branch
from arseg.models.device import resolve_device
from arseg.models.finished import finished_branch
from arseg.motion.live import Following
from arseg.options import Count, Device, Video
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
    of_branches = {"--scale-percent": scale_percent, "--compare": None if propagate else compare}
    source = networks(video, checkpoint, network, classes, weights, normalization, device, of_branches)
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
    with noted_signals(signal.SIGINT, signal.SIGTERM, until="this frame") as stopped:

        def open_(path: Path, origin: Origin) -> AbstractContextManager[Write]:
            return open_output(path, segmentation.classes, alpha, overlay, origin)

        told = run(segmentation, output or [], open_, every, stopped)
    if summary is not None:
        with atomic_path(summary) as temporary:
            temporary.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    if stopped:
        print(f"stopped by {stopped[0]}")
    print(describe(told))
    for path in [*(output or []), *([summary] if summary else [])]:
        print(f"wrote {path}")


def networks(
    video: str,
    checkpoint: Sequence[Path] | None,
    network: str | None,
    classes: Path | None,
    weights: Path | None,
    normalization: str | None,
    device: str,
    of_branches: Mapping[str, object],
) -> Sequence[Path] | Branch:
    """Return what options name, for `arseg.infer.segment`; `of_branches` are more that a network by name cannot have.

    A ConfigError says that they name nothing, or do not go together.
    """
    of_network = {"--classes": classes, "--weights": weights, "--normalization": normalization}
    if network is None:
        _refuse(of_network, "is of a network by name. Name it by --network; a checkpoint has its own")
        if not checkpoint:
            raise ConfigError("what shall segment the video? Give --checkpoint FILE..., or a --network by name")
        return checkpoint
    _refuse(
        {"--checkpoint": checkpoint, **of_branches},
        f"is of branches that arseg has trained, and --network {network} runs alone on every frame in full "
        f"resolution. Add --propagate, or train a branch beside it: arseg adapt {video} --network {network} ...",
    )
    return finished_branch(
        network,
        None if classes is None else read_classes(classes),
        weights=weights,
        normalization=normalization,
        device=resolve_device(device),
    )


def _refuse(options: Mapping[str, object], reason: str) -> None:
    if given := [name for name, value in options.items() if value is not None]:
        raise ConfigError(f"{given[0]}: {reason}")
