"""Parts of a video that were segmented for themselves: what their folders hold, and how they become one video's.

A part holds the frames' labels and times, and overlays; its summary has what tells whether one run would have given the
same.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from arseg.codec.clock import JUMP_SECONDS
from arseg.codec.video_writer import Origin, VideoOptions, create_video
from arseg.infer.annotations import Write
from arseg.infer.outputs import VIDEO_SUFFIXES, open_output
from arseg.infer.segment import FrameInfo, Segmentation
from arseg.spec import SegmentationClass

FRAMES = "frames.csv"
LABELS = "labels.h5"
"""Files of a part; an overlay is ``<number of the output>.mp4``."""

ADDED_UP = (
    *("frames", "seconds", "video_seconds", "macs", "hr_macs"),
    *("frames_lost", "frames_damaged", "frames_cut_by_edit_list", "damaged_places"),
)


def _text(number: Fraction | None) -> str | None:
    return None if number is None else str(number)


def _is_video(name: str) -> bool:
    return Path(name).suffix.lower() in VIDEO_SUFFIXES


def names_in_part(outputs: Sequence[str]) -> list[str]:
    """Return the files that a part has in place of outputs."""
    videos = [f"{index}.mp4" for index, name in enumerate(outputs) if _is_video(name)]
    return [FRAMES, *([LABELS] if len(videos) < len(outputs) else []), *videos]


def facts_of_part(segmentation: Segmentation) -> dict[str, Any]:
    """Return what the summary of a part says for `difference` and `join`."""
    live, origin = segmentation.front_end.video, segmentation.front_end.origin
    assert live is not None
    return {
        "classes": [asdict(cls) for cls in segmentation.classes],
        "origin": [origin.name, *map(_text, (origin.frames_per_second, origin.time_base)), origin.start],
        "span": live.span,
        "skipped": live.num_skipped,
        "shown": live.num_shown,
        "corrects_times": live.clock.has_corrected,
        "begins_damaged": live.begins_damaged,
        "reencodes_all": live.reencodes_all,
    }


@contextmanager
def write_frames(path: Path) -> Iterator[Write]:
    """Yield a writer of what is known of each frame beside its labels."""
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


def difference(told: Sequence[Mapping[str, Any]], every: int) -> str:
    """Return why one run would give something else than the parts; empty if it would not."""
    parts = [one["of_part"] for one in told]
    motions = [bool(one.get("reencoded_because")) for one in told if one["of_part"]["shown"]]
    if len({*motions}) > 1 or any(part["reencodes_all"] != motions[0] for part in parts[1:] if part["shown"]):
        return "motion stops being the stream's own in the middle of it"
    if any(part["begins_damaged"] for part in parts[1:]):
        return "a part begins with a damaged frame"
    end, shown = -1.0, 0
    for part in parts:
        if part["corrects_times"] or (part["span"] and not end < part["span"][0] <= max(end, 0) + JUMP_SECONDS):
            return "its clock goes back, stands still or jumps"
        if every > 1 and part["shown"] and part["skipped"] != shown:
            return "frames are lost, and every n-th is asked for"
        end = part["span"][1] if part["span"] else end
        shown += part["shown"]
    return ""


def join(
    folders: Sequence[Path],
    told: Sequence[Mapping[str, Any]],
    target: Path,
    outputs: Sequence[str],
    overlay: VideoOptions,
) -> None:
    """Write the outputs of a video from its parts; a CodecError says that overlays do not go together."""
    parts = [one["of_part"] for one in told]
    classes = [SegmentationClass(**cls | {"color": tuple(cls["color"])}) for cls in parts[0]["classes"]]
    name, rate, base, start = parts[0]["origin"]
    origin = Origin(name, rate and Fraction(rate), base and Fraction(base), start)
    shown, filled = 0, []
    for folder, one, part in zip(folders, told, parts, strict=True):
        if one["frames"]:
            filled.append((folder, shown - part["skipped"]))
        shown += part["shown"]
    for index, output in enumerate(outputs):
        if _is_video(output):
            seconds = (info.seconds for info in _read_frames(filled))
            with create_video(target / output, origin, overlay) as video:
                for folder, _ in filled:
                    video.append(folder / f"{index}.mp4", seconds)
    others = [target / output for output in outputs if not _is_video(output)]
    if others:
        nothing = np.zeros((0, 0, 3), np.uint8)
        with ExitStack() as stack:
            writers = [stack.enter_context(open_output(path, classes)) for path in others]
            labels = chain.from_iterable(_read_labels(folder / LABELS) for folder, _ in filled)
            for info, found in zip(_read_frames(filled), labels, strict=True):
                for write in writers:
                    write(nothing, found, info)


def add_up(video: str, told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
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
