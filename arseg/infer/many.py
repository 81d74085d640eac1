"""A video among many: a folder with its outputs and a summary, whole or not at all; in parts, and joined from them."""

import json
import logging
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av.error
import numpy as np
from numpy.typing import NDArray

from arseg.access import reading
from arseg.codec.sections import Part
from arseg.codec.video_writer import DEFAULT_VIDEO, Origin, VideoOptions
from arseg.errors import CodecError, ConfigError, DataError, FileAccessError, MotionError, StoppedError
from arseg.files import atomic_path
from arseg.infer.annotations import Write
from arseg.infer.cost import count_macs
from arseg.infer.outputs import check_outputs, open_output
from arseg.infer.parts import FRAMES, add_up, difference, facts_of_part, join, names_in_part, write_frames
from arseg.infer.run import run
from arseg.infer.segment import DEFAULT_FOLLOWING, FrameInfo, Segmentation, segment
from arseg.models.branch import Branch
from arseg.models.device import resolve_device
from arseg.motion.live import Following

LOG = logging.getLogger(__name__)

SUMMARY = "summary.json"
BROKEN = (CodecError, ConfigError, MotionError, AssertionError, av.error.FFmpegError)
"""What says, once networks and options are known to be right, that one video cannot be segmented: it is damaged, or its
frames are too small for the networks."""


@dataclass(frozen=True)
class Request:
    """What is asked of each video; see `arseg.infer.segment`, and `arseg.infer.outputs` for the outputs."""

    source: Sequence[Path] | Branch
    outputs: tuple[str, ...]
    """Names of files, and of folders for PNGs, in the folder of the video."""
    scale_percent: int | None = None
    every: int = 1
    following: Following = DEFAULT_FOLLOWING
    alpha: float = 0.5
    overlay: VideoOptions = DEFAULT_VIDEO
    device: str = "auto"

    def __post_init__(self) -> None:
        check_names(self.outputs)
        check_outputs([Path(name) for name in self.outputs], self.alpha)


def check_names(outputs: Sequence[str]) -> None:
    """Raise a ConfigError if an output is no plain name, or that of the summary."""
    for name in outputs:
        if name == SUMMARY or Path(name).name != name or name.startswith("."):
            raise ConfigError(f"--output {name}: must be a plain name, and another one than {SUMMARY}")


def segment_video(
    video: str, folder: Path, request: Request, part: Part | None = None, stop: Collection[object] = ()
) -> dict[str, Any]:
    """Segment a video, or a part of it, into a folder; return its summary, which says what is wrong if it is broken.

    The folder of a part has all that `join_parts` needs in place of the outputs. Something in `stop`
    ends it with a StoppedError, and without a folder.
    """
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        return _segment(video, temporary, request, part, stop)


def join_parts(video: str, parts: Sequence[Path], folder: Path, request: Request) -> dict[str, Any]:
    """Make the folder that one run makes of the parts' folders, and return its summary.

    Labels, tables, annotations and PNGs are those of one run, byte for byte; overlays, the parts' frames as they are
    encoded, at the times of one run, and its sound. Where one run would not give what the parts hold, it is done in
    their place.
    """
    told = _read_parts(parts)
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        reason = next((one["error"] for one in told if "error" in one), "") or difference(told, request.every)
        if not reason:
            try:
                join(parts, told, temporary, request.outputs, request.overlay)
                return _write_summary(temporary, add_up(video, told))
            except CodecError as error:
                reason = str(error)
                _clear(temporary)
        LOG.warning("%s: the parts are not what one run gives (%s); it is segmented in one run", video, reason)
        return _segment(video, temporary, request)


def read_summary(folder: Path) -> dict[str, Any]:
    """Return the summary in a folder of `segment_video`; a DataError says that there is none."""
    path = folder / SUMMARY
    hint = "Delete the folder, and segment the video again"
    try:
        with reading(path, lambda error: DataError(f"{path}: is no summary ({error}). {hint}"), ValueError):
            return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such summary of a segmented video. {hint}") from error


def _segment(
    video: str, folder: Path, request: Request, part: Part | None = None, stop: Collection[object] = ()
) -> dict[str, Any]:
    segmentation = segment(
        video,
        request.source,
        scale_percent=request.scale_percent,
        device=request.device,
        following=request.following,
        every=request.every,
        part=part,
    )
    try:
        told = {"video": video} | _run(segmentation, folder, request, part, stop)
    except (*BROKEN, FileAccessError) as error:
        if isinstance(error, FileAccessError) and not str(error).startswith(f"{video}: "):
            raise
        LOG.error("%s", error)
        _clear(folder)
        told = {"video": video, "error": " ".join(str(error).split())}
    return _write_summary(folder, told | ({} if part is None else {"part": str(part)}))


def _run(
    segmentation: Segmentation, folder: Path, request: Request, part: Part | None, stop: Collection[object]
) -> dict[str, Any]:
    classes = segmentation.classes
    size: tuple[int, ...] = ()

    def noting(write: Write) -> Write:
        def noted(frame: NDArray[np.uint8], labels: NDArray[np.uint8], info: FrameInfo) -> None:
            nonlocal size
            size = size or labels.shape
            write(frame, labels, info)

        return noted

    @contextmanager
    def open_(path: Path, origin: Origin) -> Iterator[Write]:
        overlay = request.overlay if part is None else replace(request.overlay, audio=False)
        opened = (
            write_frames(path)
            if part is not None and path.name == FRAMES
            else open_output(path, classes, request.alpha, overlay, origin)
        )
        with opened as write:
            yield noting(write)

    names = request.outputs if part is None else names_in_part(request.outputs)
    told = run(segmentation, [folder / name for name in names], open_, request.every, stop)
    if stop:
        raise StoppedError("stopped, and nothing of it is kept. Run the command again")
    front_end = segmentation.front_end
    live, origin = front_end.video, front_end.origin
    assert live is not None
    macs, hr_macs = count_macs(segmentation, size[0], size[1], told["frames"]) if size else (0, 0)
    first, last = live.span or (0.0, 0.0)
    told |= {"device": resolve_device(request.device).type, "macs": macs, "hr_macs": hr_macs}
    told["video_seconds"] = last - first + float(1 / (origin.frames_per_second or 25)) / request.every
    if part is not None:
        told["of_part"] = facts_of_part(segmentation)
    return told


def _read_parts(parts: Sequence[Path]) -> list[dict[str, Any]]:
    told = [read_summary(part) for part in parts]
    found = [one.get("part") for one in told]
    if found != (expected := [f"{number}/{len(parts)}" for number in range(1, len(parts) + 1)]):
        raise ConfigError(f"--join: expected the parts {', '.join(expected)} in this order, found {found}")
    return told


def _write_summary(folder: Path, told: dict[str, Any]) -> dict[str, Any]:
    (folder / SUMMARY).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return told


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
