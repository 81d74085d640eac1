"""Make the clip stores of a split: plan, read, encode, decode, compose, write.

A clip starts at its keyframe. All samples that share a clip, whatever their distance, share one encoding of it. Reading
and encoding run ahead of the rest in threads of their own, so that the encoder, which takes most of the time, never
waits for the others.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arseg.codec.decode import check_readable, read_clip
from arseg.codec.encode import EncodedClip, encode_clip
from arseg.codec.ffmpeg import find_ffmpeg
from arseg.data.images import read_image
from arseg.data.manifest import Manifest, ManifestRow
from arseg.errors import CodecError, ConfigError, DataError, MotionError
from arseg.motion.compose import MotionComposer
from arseg.progress import track
from arseg.spec import ClipTail, Encoding
from arseg.store import ClipIdentity, StoreAttributes
from arseg.store_writer import ClipStoreWriter, create_stores

CLIPS_AHEAD = 2
"""Clips on their way to the encoder, or in it, while another one is decoded: one in each of two threads."""

logger = logging.getLogger(__name__)

Slots = dict[tuple[int, ManifestRow], tuple[ClipStoreWriter, int]]
"""Store, and place in it, of the sample of each distance and annotated frame."""


@dataclass(frozen=True)
class ClipPlan:
    """One clip to encode, and the samples that it serves."""

    frame_paths: tuple[Path, ...]
    """Frames of the clip in display order; the first is the keyframe."""
    targets: tuple[tuple[int, ManifestRow], ...]
    """Distance and annotated frame of each sample, by distance."""


def store_path(folder: str | Path, distance: int) -> Path:
    """Return the path of the clip store of one distance, for example ``folder/d03.h5``."""
    return Path(folder) / f"d{distance:02d}.h5"


def make_clip_stores(
    manifest: Manifest,
    split: str,
    encoding: Encoding,
    distances: Sequence[int],
    output: str | Path,
    *,
    shard: int = 0,
    num_shards: int = 1,
    threads: int = 1,
    ffmpeg: str | None = None,
) -> list[Path]:
    """Make the clip stores of one split, one for each distance, in `output`; return their paths in order of distance.

    Samples are in order of sequence and frame. A store without samples is written too, when shards outnumber clips.
    Memory holds the source frames of no more than four clips, one of them decoded. A failure, wherever it happens, is
    reported when its clip's turn comes, after the clips before it; then what runs ahead is dropped, after the end of
    the encoder's current run.

    Parameters
    ----------
    manifest, split, encoding
        The data set, which of its splits, how to compress, and how to compose motion.
    distances, shard, num_shards
        As in `plan_clips`.
    threads : int
        Threads of the encoder; the stores do not depend on it.
    ffmpeg : str, optional
        The FFmpeg program; by default as `arseg.codec.ffmpeg.find_ffmpeg` finds it.

    Raises
    ------
    ConfigError
        If a distance or the shard is out of range.
    DataError
        If the split does not exist, or a frame is missing, unreadable or of another size.
    CodecError, MotionError
        If FFmpeg is missing, fails, or its stream has no usable motion.
    """
    check_readable(encoding.codec)
    ffmpeg_path = find_ffmpeg(ffmpeg)
    plans = plan_clips(
        manifest.split(split), encoding.gop, distances, shard=shard, num_shards=num_shards, tail=encoding.tail
    )
    samples = sorted(
        (target for plan in plans for target in plan.targets),
        key=lambda target: (target[0], target[1].sequence, target[1].frame_index),
    )
    contents = {
        store_path(output, distance): (
            StoreAttributes(
                dataset=manifest.rows[0].dataset,
                split=split,
                manifest_digest=manifest.digest,
                encoding=encoding,
                distance=distance,
                shard=shard,
                num_shards=num_shards,
            ),
            [_identity(at, row) for at, row in samples if at == distance],
        )
        for distance in sorted(set(distances))
    }
    logger.info("split %s, shard %d of %d: %d clips", split, shard, num_shards, len(plans))
    with create_stores(contents) as writers, _encode_ahead(plans, encoding, ffmpeg_path, threads) as encoded_clips:
        slots = {
            target: (writers[store_path(output, distance)], index)
            for distance, of_distance in groupby(samples, key=lambda target: target[0])
            for index, target in enumerate(of_distance)
        }
        for plan, (encoded, shape) in track(zip(plans, encoded_clips, strict=True), "clips", len(plans)):
            with _naming_clip(plan):
                _write_samples(plan, encoded, shape, encoding, slots)
    return list(contents)


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

    A sample at distance d, of the `distances` 0 ... L - 1 of a `gop` of L frames, needs the clip that starts d frames
    before it; none is planned beyond the row's ``max_distance``. The encoder looks ahead, so a frame's bits depend on
    the clip's end too: samples share a clip only if start and end agree. With the `tail` "gop" clips hold L frames (the
    paper's CamVid), with "annotated" they end at the annotated frame and hold d + 1 (its Cityscapes). The split's
    keyframes, in order, are divided into `num_shards` parts of equal size (but for one), of which there may be more
    than keyframes.

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
        raise ConfigError(f"shard {shard}: expected 0 ... {num_shards - 1} (num_shards {num_shards})")
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
            frame_paths=_frame_paths(*samples[key][0], num_frames=key[4], existing=existing),
            targets=tuple(sorted(samples[key])),
        )
        for keys in starts[first:last]
        for key in keys
    ]


def _frame_paths(distance: int, row: ManifestRow, *, num_frames: int, existing: set[Path]) -> tuple[Path, ...]:
    """Return the frames of the clip at whose `distance` the row lies; those seen are added to `existing`."""
    paths = []
    for offset in range(-distance, num_frames - distance):
        path = row.frame_path(offset)
        if path not in existing and not path.is_file():
            if offset < 0:
                where = f"starts {distance} frames before it"
                hint = "Extract the frames before it, or leave the annotated frame out of this split"
            else:
                where = f"ends {num_frames - 1 - distance} frames after it"
                hint = "Extract the frames after it, or set clip_tail: annotated to end clips at the annotated frame"
            raise DataError(f"{path}: no such frame. The clip of {row.image} at distance {distance} {where}. {hint}")
        existing.add(path)
        paths.append(path)
    return tuple(paths)


@contextmanager
def _encode_ahead(
    plans: Sequence[ClipPlan], encoding: Encoding, ffmpeg_path: str, threads: int
) -> Iterator[Iterator[tuple[EncodedClip, tuple[int, ...]]]]:
    """Encode clips in order, `CLIPS_AHEAD` of what is taken; gives each clip and the shape of its frames."""
    # Successive clips overlap by all frames but one where annotations are dense or all distances are made.
    read_frame = lru_cache(maxsize=encoding.gop)(read_image)
    reader, encoder = ThreadPoolExecutor(1, "read"), ThreadPoolExecutor(1, "encode")

    def encode(plan: ClipPlan, reading: Future[NDArray[np.uint8]]) -> tuple[EncodedClip, tuple[int, ...]]:
        frames = reading.result()
        with _naming_clip(plan):
            return encode_clip(frames, encoding, ffmpeg_path, threads=threads), frames.shape

    def in_order() -> Iterator[tuple[EncodedClip, tuple[int, ...]]]:
        pending: deque[Future[tuple[EncodedClip, tuple[int, ...]]]] = deque()
        for plan in plans:
            pending.append(encoder.submit(encode, plan, reader.submit(_read_frames, plan.frame_paths, read_frame)))
            if len(pending) > CLIPS_AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    try:
        yield in_order()
    finally:
        reader.shutdown(cancel_futures=True)
        encoder.shutdown(cancel_futures=True)


@contextmanager
def _naming_clip(plan: ClipPlan) -> Iterator[None]:
    """Name the clip in a codec's errors."""
    try:
        yield
    except (CodecError, MotionError) as error:
        raise type(error)(f"{plan.frame_paths[0]}, first frame of a clip: {error}") from error


def _write_samples(
    plan: ClipPlan, encoded: EncodedClip, shape: tuple[int, ...], encoding: Encoding, slots: Slots
) -> None:
    """Decode one clip as far as needed, and write its samples to their slots."""
    length = plan.targets[-1][0] + 1
    decoded = read_clip(encoded.bitstream, encoding.codec, length)
    if (len(decoded), decoded.height, decoded.width) != (length, *shape[1:3]):
        raise CodecError(
            f"encoded {shape[0]} frames of {shape[2]}x{shape[1]} pixels, decoded {len(decoded)} of the first {length} "
            f"of {decoded.width}x{decoded.height}. Use another FFmpeg"
        )
    rules = encoding.motion
    size = decoded.height, decoded.width
    composer = MotionComposer(*size, subpixel=rules.subpixel, max_ref_back=rules.max_ref_back, with_evidence=True)
    keyframe = decoded.frames[0].to_rgb()
    num_composed = 0
    for distance, row in plan.targets:
        for index in range(num_composed, distance + 1):
            composer.push(decoded.block_vectors_qpel[index], decoded.block_ref_back[index])
        num_composed = distance + 1
        writer, place = slots[distance, row]
        if place == 0:
            writer.record_encoder(encoded.encoder, encoded.parameters)
        writer.write(
            place,
            keyframe=keyframe,
            frame=decoded.frames[distance].to_rgb(),
            motion_qpel=composer.compose(),
            intra=decoded.block_ref_back[distance] == 0,
            evidence=composer.evidence(),
        )


def _read_frames(paths: Sequence[Path], read_frame: Callable[[Path], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    frames = [read_frame(path) for path in paths]
    for path, frame in zip(paths, frames, strict=True):
        if frame.shape != frames[0].shape:
            raise DataError(
                f"{path}: the frame has {frame.shape[1]}x{frame.shape[0]} pixels, the first frame of its clip "
                f"{paths[0]} has {frames[0].shape[1]}x{frames[0].shape[0]}. Extract the video again at one size"
            )
    return np.stack(frames)  # (T, H, W, 3)


def _identity(distance: int, row: ManifestRow) -> ClipIdentity:
    return ClipIdentity(
        sequence=row.sequence,
        frame_index=row.frame_index,
        keyframe_index=row.frame_index - distance * row.frame_step,
        image=row.image,
        keyframe_image=str(row.frame_path(-distance)),
        label=row.label,
    )
