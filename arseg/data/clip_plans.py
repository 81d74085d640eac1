"""Plan which clips a split needs.

A clip starts at its keyframe. All samples that share a clip, whatever their distance, share one encoding of
it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

from arseg.data.manifest import ManifestRow
from arseg.errors import ConfigError, DataError

ClipTail = Literal["gop", "annotated"]


@dataclass(frozen=True)
class ClipPlan:
    """One clip to encode, and the samples that it serves."""

    sequence: str
    """Name of the video."""
    start_index: int
    """Number of the first frame, the keyframe."""
    frame_paths: tuple[Path, ...]
    """Frames of the clip in display order."""
    targets: tuple[tuple[int, ManifestRow], ...]
    """Distance and annotated frame of each sample, by distance."""


def plan_clips(
    rows: Iterable[ManifestRow],
    gop: int,
    distances: Sequence[int],
    *,
    shard: int = 0,
    num_shards: int = 1,
    tail: ClipTail = "gop",
) -> list[ClipPlan]:
    """List the clips that a split needs, each once, in order of sequence and start.

    A sample at distance d needs the clip that starts d frames before it. The encoder looks ahead, so a
    frame's bits depend on the clip's end too: samples share a clip only if start and end agree.

    Parameters
    ----------
    rows : iterable of ManifestRow
        Annotated frames; none is planned at a distance beyond its ``max_distance``.
    gop : int
        Frames L of a group of pictures.
    distances : sequence of int
        Distances to make samples for, each in 0 ... L - 1.
    shard, num_shards : int
        Which part of the split to plan, from 0, and into how many it is divided. The keyframes of the whole
        split are divided in order into parts of equal size (but for one), and a keyframe's clips stay
        together.
    tail : {"gop", "annotated"}
        Clips hold L frames (the paper's CamVid), or end at the annotated frame and hold d + 1 (its
        Cityscapes).

    Returns
    -------
    plans : list of ClipPlan
        Empty if there are more shards than keyframes.

    Raises
    ------
    ConfigError
        If a distance or the shard is out of range.
    DataError
        If a row is a still, or a frame of one of the shard's clips does not exist.
    """
    if wrong := [distance for distance in distances if not 0 <= distance < gop]:
        raise ConfigError(f"distances {wrong}: with gop {gop} a frame is 0 to {gop - 1} frames after its keyframe")
    if not 0 <= shard < num_shards:
        raise ConfigError(f"shard {shard} of {num_shards}: shards count from 0 to {num_shards - 1}")
    samples: dict[tuple[str, int, str, int, int], list[tuple[int, ManifestRow]]] = {}
    for row in rows:
        if not row.frame_pattern:
            raise DataError(
                f"{row.image}: stills cannot be made into clips, and this frame's row has no frame_pattern. "
                f"Give split {row.split!r} of the manifest the frames around it"
            )
        for distance in sorted(set(distances)):
            if row.max_distance is not None and distance > row.max_distance:
                continue
            start = row.frame_index - distance * row.frame_step
            num_frames = gop if tail == "gop" else distance + 1
            key = (row.sequence, start, row.frame_pattern, row.frame_step, num_frames)
            samples.setdefault(key, []).append((distance, row))
    starts = [list(keys) for _, keys in groupby(sorted(samples), key=lambda key: key[:4])]
    first, last = (len(starts) * part // num_shards for part in (shard, shard + 1))
    existing: set[Path] = set()
    return [
        ClipPlan(
            sequence=key[0],
            start_index=key[1],
            frame_paths=_frame_paths(*samples[key][0], num_frames=key[4], existing=existing),
            targets=tuple(sorted(samples[key])),
        )
        for keys in starts[first:last]
        for key in keys
    ]


def _frame_paths(distance: int, row: ManifestRow, *, num_frames: int, existing: set[Path]) -> tuple[Path, ...]:
    """Frames of the clip at whose `distance` the row lies; those seen to exist are added to `existing`."""
    paths = []
    for offset in range(-distance, num_frames - distance):
        path = row.frame_path(offset)
        if path not in existing:
            if not path.is_file():
                raise DataError(_missing_frame(path, offset, distance, num_frames, row))
            existing.add(path)
        paths.append(path)
    return tuple(paths)


def _missing_frame(path: Path, offset: int, distance: int, num_frames: int, row: ManifestRow) -> str:
    if offset < 0:
        where = f"starts {distance} frames before it"
        hint = "Extract the frames before it, or leave the annotated frame out of this split"
    else:
        where = f"ends {num_frames - 1 - distance} frames after it"
        hint = "Extract the frames after it, or set clip_tail: annotated to end clips at the annotated frame"
    return f"{path}: no such frame. The clip of {row.image} at distance {distance} {where}. {hint}"
