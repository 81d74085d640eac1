"""A video among many: a folder with its outputs and a summary, whole or not at all; in parts, and joined from them."""

import csv
import json
import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av.error
import h5py
import numpy as np
from numpy.typing import NDArray

from arseg.codec.sections import Part
from arseg.codec.video_writer import DEFAULT_VIDEO, Origin, VideoOptions, create_video
from arseg.errors import CodecError, ConfigError, DataError, FileAccessError, MotionError
from arseg.files import atomic_path
from arseg.infer.annotations import Write
from arseg.infer.cost import count_macs
from arseg.infer.outputs import VIDEO_SUFFIXES, check_outputs, open_output
from arseg.infer.run import run
from arseg.infer.segment import DEFAULT_FOLLOWING, FrameInfo, segment
from arseg.models.branch import Branch
from arseg.models.device import resolve_device
from arseg.motion.live import Following
from arseg.spec import SegmentationClass

LOG = logging.getLogger(__name__)

SUMMARY = "summary.json"
FRAMES = "frames.csv"
LABELS = "labels.h5"
"""Files of a part; an overlay is ``<number of the output>.mp4``."""

BROKEN = (CodecError, MotionError, AssertionError, av.error.FFmpegError)
"""What says that a video cannot be segmented, and nothing of the others."""

ADDED_UP = (
    *("frames", "seconds", "video_seconds", "macs", "hr_macs"),
    *("frames_lost", "frames_damaged", "frames_cut_by_edit_list", "damaged_places"),
)


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


def segment_video(video: str, folder: Path, request: Request, part: Part | None = None) -> dict[str, Any]:
    """Segment a video, or a part of it, into a folder; return its summary, which says what is wrong if it is broken.

    The folder of a part has all that `join_parts` needs in place of the outputs.
    """
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        return _segment(video, temporary, request, part)


def join_parts(video: str, parts: Sequence[Path], folder: Path, request: Request) -> dict[str, Any]:
    """Make the folder that one run makes of the parts' folders, and return its summary.

    Labels, tables, annotations and PNGs are those of one run, byte for byte; overlays, the parts' frames as they are
    encoded, at the times of one run, and its sound. Where one run would not give what the parts hold, it is done in
    their place.
    """
    told = _read_parts(parts)
    broken = next((one for one in told if "error" in one), None)
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        if broken is not None:
            return _write_summary(temporary, {"video": video, "error": broken["error"]})
        reason = _difference(told, request.every)
        if not reason:
            try:
                _join(parts, told, temporary, request)
                return _write_summary(temporary, _add_up(video, told))
            except CodecError as error:
                reason = str(error)
                _clear(temporary)
        LOG.warning("%s: the parts are not what one run gives (%s); it is segmented in one run", video, reason)
        return _segment(video, temporary, request, None)


def read_summary(folder: Path) -> dict[str, Any]:
    """Return the summary in a folder of `segment_video`; a DataError says that there is none."""
    try:
        found = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError) as error:
        raise DataError(f"{folder / SUMMARY}: is no summary of a segmented video. Segment it again") from error
    return dict(found)


def _segment(video: str, folder: Path, request: Request, part: Part | None) -> dict[str, Any]:
    try:
        told = _run(video, folder, request, part)
    except (*BROKEN, FileAccessError) as error:
        if isinstance(error, FileAccessError) and not str(error).startswith(f"{video}: "):
            raise
        LOG.error("%s", error)
        _clear(folder)
        told = {"video": video, "error": " ".join(str(error).split())}
    return _write_summary(folder, told | ({} if part is None else {"part": str(part)}))


def _run(video: str, folder: Path, request: Request, part: Part | None) -> dict[str, Any]:
    segmentation = segment(
        video,
        request.source,
        scale_percent=request.scale_percent,
        device=request.device,
        following=request.following,
        every=request.every,
        part=part,
    )
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
        if part is not None and path.name == FRAMES:
            opened = _write_frames(path)
        else:
            overlay = request.overlay if part is None else replace(request.overlay, audio=False)
            opened = open_output(path, classes, request.alpha, overlay, origin)
        with opened as write:
            yield noting(write)

    names = request.outputs if part is None else _names_in_part(request.outputs)
    told = run(segmentation, [folder / name for name in names], open_, request.every)
    front_end = segmentation.front_end
    live, origin = front_end.video, front_end.origin
    assert live is not None
    macs, hr_macs = count_macs(segmentation, *size, told["frames"]) if size else (0, 0)
    first, last = live.span or (0.0, 0.0)
    told |= {"video": video, "device": resolve_device(request.device).type, "macs": macs, "hr_macs": hr_macs}
    told["video_seconds"] = last - first + float(1 / (origin.frames_per_second or 25)) / request.every
    if part is not None:
        told["of_part"] = {
            "classes": [asdict(cls) for cls in classes],
            "origin": [origin.name, *map(_text, (origin.frames_per_second, origin.time_base)), origin.start],
            "span": live.span,
            "skipped": live.num_skipped,
            "shown": live.num_shown,
            "corrects_times": live.corrects_times,
            "reencodes_all": live.reencodes_all,
        }
    return told


def _text(number: Fraction | None) -> str | None:
    return None if number is None else str(number)


def _is_video(name: str) -> bool:
    return Path(name).suffix.lower() in VIDEO_SUFFIXES


def _names_in_part(outputs: Sequence[str]) -> list[str]:
    videos = [f"{index}.mp4" for index, name in enumerate(outputs) if _is_video(name)]
    return [FRAMES, *([LABELS] if len(videos) < len(outputs) else []), *videos]


@contextmanager
def _write_frames(path: Path) -> Iterator[Write]:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)

        def write(frame: NDArray[np.uint8], labels: NDArray[np.uint8], info: FrameInfo) -> None:
            reason = info.keyframe_reason or ""
            table.writerow([info.index, repr(info.seconds), info.distance, reason, int(info.is_damaged)])

        yield write


def _read_frames(parts: Sequence[tuple[Path, int]]) -> Iterator[FrameInfo]:
    """Yield the frames of folders, each with what is to be added to their numbers."""
    for folder, shift in parts:
        with (folder / FRAMES).open(newline="", encoding="utf-8") as file:
            for index, seconds, distance, reason, is_damaged in csv.reader(file):
                yield FrameInfo(int(index) + shift, float(seconds), int(distance), reason or None, is_damaged == "1")


def _read_labels(path: Path) -> Iterator[NDArray[np.uint8]]:
    with h5py.File(path, "r") as file:
        for number in range(len(file) - 1):  # beside the palette
            yield from file[f"part{number}/labels"]


def _read_parts(parts: Sequence[Path]) -> list[dict[str, Any]]:
    told = [read_summary(part) for part in parts]
    found = [one.get("part") for one in told]
    if found != (expected := [f"{number}/{len(parts)}" for number in range(1, len(parts) + 1)]):
        raise ConfigError(f"--join: expected the parts {', '.join(expected)} in this order, found {found}")
    return told


def _difference(told: Sequence[Mapping[str, Any]], every: int) -> str:
    """Return why one run would give something else than the parts; empty if it would not."""
    parts = [one["of_part"] for one in told]
    motions = [bool(one.get("reencoded_because")) for one in told if one["of_part"]["shown"]]
    if len({*motions}) > 1 or any(part["reencodes_all"] != motions[0] for part in parts[1:] if part["shown"]):
        return "motion stops being the stream's own in the middle of it"
    end, shown = -1.0, 0
    for part in parts:
        if part["corrects_times"] or (part["span"] and part["span"][0] <= end):
            return "its clock goes back, or stands still"
        if every > 1 and part["shown"] and part["skipped"] != shown:
            return "frames are lost, and every n-th is asked for"
        end = part["span"][1] if part["span"] else end
        shown += part["shown"]
    return ""


def _join(folders: Sequence[Path], told: Sequence[Mapping[str, Any]], target: Path, request: Request) -> None:
    parts = [one["of_part"] for one in told]
    classes = [SegmentationClass(**cls | {"color": tuple(cls["color"])}) for cls in parts[0]["classes"]]
    name, rate, base, start = parts[0]["origin"]
    origin = Origin(name, rate and Fraction(rate), base and Fraction(base), start)
    shown, filled = 0, []
    for folder, one, part in zip(folders, told, parts, strict=True):
        if one["frames"]:
            filled.append((folder, shown - part["skipped"]))
        shown += part["shown"]
    for index, output in enumerate(request.outputs):
        if _is_video(output):
            seconds = (info.seconds for info in _read_frames(filled))
            with create_video(target / output, origin, request.overlay) as video:
                for folder, _ in filled:
                    video.append(folder / f"{index}.mp4", seconds)
    others = [target / output for output in request.outputs if not _is_video(output)]
    if others:
        nothing = np.zeros((0, 0, 3), np.uint8)
        with ExitStack() as stack:
            writers = [stack.enter_context(open_output(path, classes)) for path in others]
            labels = chain.from_iterable(_read_labels(folder / LABELS) for folder, _ in filled)
            for info, found in zip(_read_frames(filled), labels, strict=True):
                for write in writers:
                    write(nothing, found, info)


def _add_up(video: str, told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the summary of a video from those of its parts; seconds are the time of all their jobs."""
    total = dict(told[0]) | {name: sum(one.get(name, 0) for one in told) for name in ADDED_UP}
    for name in ("part", "of_part", "network_ms_per_frame"):
        total.pop(name)
    total |= {"video": video, "parts": len(told), "frames_per_second": round(total["frames"] / total["seconds"], 3)}
    for name in ("keyframes", "stage_seconds"):
        if total[name] is not None:
            added: Counter[str] = sum((Counter(one[name]) for one in told), Counter())
            total[name] = {key: round(value, 3) for key, value in added.items()}
    total["damage"] = [f"part {one['part']}: {message}" for one in told for message in one["damage"]]
    total["ended_early"] = told[-1]["ended_early"]
    return total


def _write_summary(folder: Path, told: dict[str, Any]) -> dict[str, Any]:
    (folder / SUMMARY).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return told


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
