"""Plan which clips a split needs, and make its clip stores: read, encode, decode, compose, write.

A clip starts at its keyframe. All samples that share a clip, whatever their distance, share one encoding of
it.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from arseg.codec.decode import check_readable, read_clip
from arseg.codec.encode import encode_clip
from arseg.codec.ffmpeg import find_ffmpeg
from arseg.config import EncodeConfig
from arseg.data.images import read_image
from arseg.data.manifest import Manifest, ManifestRow
from arseg.errors import CodecError, ConfigError, DataError, MotionError
from arseg.motion.compose import compose_motion
from arseg.progress import track
from arseg.store import ClipIdentity, ClipStoreWriter, StoreAttributes, create_stores

ClipTail = Literal["gop", "annotated"]

logger = logging.getLogger(__name__)


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
        Annotated frames.
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


def store_path(folder: str | Path, distance: int) -> Path:
    """Path of the clip store of one distance, for example ``folder/d03.h5``."""
    return Path(folder) / f"d{distance:02d}.h5"


def make_clip_stores(
    manifest: Manifest,
    split: str,
    config: EncodeConfig,
    distances: Sequence[int],
    output: str | Path,
    *,
    shard: int = 0,
    num_shards: int = 1,
    tail: ClipTail = "gop",
    ffmpeg: str | None = None,
) -> list[Path]:
    """Make the clip stores of one split, one for each distance.

    Samples are in order of sequence and frame. Memory holds one clip and the source frames of the one before.

    Parameters
    ----------
    manifest : Manifest
        The data set.
    split : str
        Which of its splits.
    config : EncodeConfig
        How to compress.
    distances : sequence of int
        Distances to make stores for.
    output : path
        Folder of the stores; their names are `store_path`'s.
    shard, num_shards, tail
        As in `plan_clips`.
    ffmpeg : str, optional
        The FFmpeg program; by default as `arseg.codec.ffmpeg.find_ffmpeg` finds it.

    Returns
    -------
    paths : list of Path
        The stores, in order of distance. One without samples is written too, when shards outnumber
        clips.

    Raises
    ------
    ConfigError
        If a distance or the shard is out of range.
    DataError
        If the split does not exist, or a frame is missing, unreadable or of another size.
    CodecError, MotionError
        If FFmpeg is missing, fails, or its stream has no usable motion.
    """
    check_readable(config.codec)
    ffmpeg_path = find_ffmpeg(ffmpeg)
    distances = sorted(set(distances))
    paths = {distance: store_path(output, distance) for distance in distances}
    plans = plan_clips(manifest.split(split), config.gop, distances, shard=shard, num_shards=num_shards, tail=tail)
    rows = {
        distance: sorted(
            (row for plan in plans for at, row in plan.targets if at == distance),
            key=lambda row: (row.sequence, row.frame_index),
        )
        for distance in distances
    }
    contents = {
        paths[distance]: (
            StoreAttributes(
                dataset=manifest.rows[0].dataset,
                split=split,
                manifest_digest=manifest.digest,
                codec=config.codec,
                rate=config.rate,
                gop=config.gop,
                fps=config.fps,
                preset=config.preset,
                tail=tail,
                distance=distance,
                shard=shard,
                num_shards=num_shards,
            ),
            [_identity(distance, row) for row in rows[distance]],
        )
        for distance in distances
    }
    logger.info("split %s, shard %d of %d: %d clips", split, shard, num_shards, len(plans))
    # Successive clips overlap by all frames but one where annotations are dense or all distances are made.
    read_frame = lru_cache(maxsize=config.gop)(read_image)
    with create_stores(contents) as writers:
        slots = {
            (distance, row): (writers[paths[distance]], index)
            for distance in distances
            for index, row in enumerate(rows[distance])
        }
        for plan in track(plans, "clips"):
            _make_clip(plan, config, ffmpeg_path, read_frame, slots)
    return [paths[distance] for distance in distances]


def _make_clip(
    plan: ClipPlan,
    config: EncodeConfig,
    ffmpeg_path: str,
    read_frame: Callable[[Path], NDArray[np.uint8]],
    slots: dict[tuple[int, ManifestRow], tuple[ClipStoreWriter, int]],
) -> None:
    """Encode one clip and write its samples to their slots: a store and a place in it for each target."""
    frames = _read_frames(plan.frame_paths, read_frame)
    try:
        encoded = encode_clip(frames, config, ffmpeg_path)
        decoded = read_clip(encoded.bitstream, config.codec)
        if decoded.frames.shape != frames.shape:
            raise CodecError(
                f"encoded frames of shape {frames.shape}, decoded {decoded.frames.shape}. Use another FFmpeg"
            )
    except (CodecError, MotionError) as error:
        raise type(error)(f"{plan.frame_paths[0]}, first frame of a clip: {error}") from error
    length = max(distance for distance, _ in plan.targets) + 1
    motion_qpel = compose_motion(
        decoded.block_motion_qpel[:length], decoded.block_ref_back[:length], *frames.shape[1:3]
    )
    for distance, row in plan.targets:
        writer, index = slots[distance, row]
        if index == 0:
            writer.record_encoder(encoded.encoder, encoded.parameters)
        writer.write(
            index,
            keyframe=decoded.frames[0],
            frame=decoded.frames[distance],
            motion_qpel=motion_qpel[distance],
            intra=decoded.block_ref_back[distance] == 0,
        )


def _read_frames(paths: Sequence[Path], read_frame: Callable[[Path], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    frames = [read_frame(path) for path in paths]
    for path, frame in zip(paths, frames, strict=True):
        if frame.shape != frames[0].shape:
            raise DataError(
                f"{path}: the frame has {frame.shape[1]}x{frame.shape[0]} pixels, the first frame of its "
                f"clip {paths[0]} has {frames[0].shape[1]}x{frames[0].shape[0]}. Extract the video again at "
                "one size"
            )
    return np.stack(frames)  # (T, H, W, 3)


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
        mend = "Extract the frames before it, or leave the annotated frame out of this split"
    else:
        where = f"ends {num_frames - 1 - distance} frames after it"
        mend = "Extract the frames after it, or set clip_tail: annotated to end clips at the annotated frame"
    return f"{path}: no such frame. The clip of {row.image} at distance {distance} {where}. {mend}"


def _identity(distance: int, row: ManifestRow) -> ClipIdentity:
    return ClipIdentity(
        sequence=row.sequence,
        frame_index=row.frame_index,
        keyframe_index=row.frame_index - distance * row.frame_step,
        image=row.image,
        keyframe_image=str(row.frame_path(-distance)),
        label=row.label,
    )
