"""Make the clip stores of a split: read, encode, decode, compose, write.

Reading and encoding run ahead of the rest in threads of their own, so that the encoder, which takes most of the
time, never waits for the others. What clips there are is planned in `arseg.data.clip_plans`.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arseg.codec.decode import check_readable, read_clip
from arseg.codec.encode import EncodedClip, encode_clip
from arseg.codec.ffmpeg import find_ffmpeg
from arseg.data.clip_plans import ClipPlan, plan_clips
from arseg.data.images import read_image
from arseg.data.manifest import Manifest, ManifestRow
from arseg.errors import CodecError, DataError, MotionError
from arseg.motion.compose import MotionComposer
from arseg.progress import track
from arseg.spec import Encoding
from arseg.store import ClipIdentity, ClipStoreWriter, StoreAttributes, create_stores

CLIPS_AHEAD = 2
"""Clips on their way to the encoder, or in it, while another one is decoded: one in each of two threads."""

logger = logging.getLogger(__name__)

Slots = dict[tuple[int, ManifestRow], tuple[ClipStoreWriter, int]]
"""Store, and place in it, of the sample of each distance and annotated frame."""


def store_path(folder: str | Path, distance: int) -> Path:
    """Path of the clip store of one distance, for example ``folder/d03.h5``."""
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
    """Make the clip stores of one split, one for each distance.

    Samples are in order of sequence and frame. Memory holds the source frames of no more than four clips, one of
    them decoded. A failure, wherever it happens, is reported when its clip's turn comes, after the clips before it;
    then what runs ahead is dropped, after the end of the encoder's current run.

    Parameters
    ----------
    manifest : Manifest
        The data set.
    split : str
        Which of its splits.
    encoding : Encoding
        How to compress, and how to compose motion.
    distances : sequence of int
        Distances to make stores for.
    output : path
        Folder of the stores; their names are `store_path`'s.
    shard, num_shards
        As in `arseg.data.clip_plans.plan_clips`.
    threads : int
        Threads of the encoder; the stores do not depend on it.
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
    check_readable(encoding.codec)
    ffmpeg_path = find_ffmpeg(ffmpeg)
    distances = sorted(set(distances))
    paths = {distance: store_path(output, distance) for distance in distances}
    plans = plan_clips(
        manifest.split(split), encoding.gop, distances, shard=shard, num_shards=num_shards, tail=encoding.tail
    )
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
                encoding=encoding,
                distance=distance,
                shard=shard,
                num_shards=num_shards,
            ),
            [_identity(distance, row) for row in rows[distance]],
        )
        for distance in distances
    }
    logger.info("split %s, shard %d of %d: %d clips", split, shard, num_shards, len(plans))
    with create_stores(contents) as writers, _encode_ahead(plans, encoding, ffmpeg_path, threads) as encoded_clips:
        slots = {
            (distance, row): (writers[paths[distance]], index)
            for distance in distances
            for index, row in enumerate(rows[distance])
        }
        for plan, (encoded, shape) in track(zip(plans, encoded_clips, strict=True), "clips", len(plans)):
            with _naming_clip(plan):
                _write_samples(plan, encoded, shape, encoding, slots)
    return [paths[distance] for distance in distances]


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
    composer = MotionComposer(decoded.height, decoded.width, subpixel=rules.subpixel, max_ref_back=rules.max_ref_back)
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


def _identity(distance: int, row: ManifestRow) -> ClipIdentity:
    return ClipIdentity(
        sequence=row.sequence,
        frame_index=row.frame_index,
        keyframe_index=row.frame_index - distance * row.frame_step,
        image=row.image,
        keyframe_image=str(row.frame_path(-distance)),
        label=row.label,
    )
