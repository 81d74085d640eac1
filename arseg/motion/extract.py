"""Read the motion vectors of any video, and record them in a motion file."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import chain, islice
from pathlib import Path

import numpy as np

from arseg.codec.decode import describe_decoder, read_frames
from arseg.codec.exported import EXPORTED_BLOCK_SIZE
from arseg.codec.frame import BLOCK_SIZE, BackReferences, DecodedFrame
from arseg.codec.stream import PacketStream, crop_of, display_of, open_video
from arseg.codecs import find_codec
from arseg.errors import CodecError, MotionError
from arseg.motion.compose import check_size
from arseg.motion.file import MotionAttributes, MotionFile
from arseg.motion.file_writer import create_motion_file
from arseg.progress import track

MAX_UNWRITTEN = 4
"""Frames that may wait to be written, so that memory does not grow where decoding is faster."""


@contextmanager
def open_frames(video: str, max_frames: int | None = None) -> Iterator[tuple[PacketStream, Iterator[DecodedFrame]]]:
    """Yield a video's stream, and its frames in display order, `max_frames` at most.

    Errors name the video: CodecError if it cannot be opened or read, has no reader or no frame; MotionError if the
    decoder gives no motion. Where it is damaged, reading goes on, as `arseg.codec.decode.read_frames` says.
    """
    try:
        with open_video(video) as stream, closing(read_frames(stream)) as frames:
            yield stream, islice(frames, max_frames)
    except (CodecError, MotionError) as error:
        named = str(error).startswith(f"{video}: ")
        raise error if named else type(error)(f"{video}: {error}") from error


def extract_motion(
    video: str, output: Path, *, composed: bool = False, subpixel: bool = False, max_frames: int | None = None
) -> MotionAttributes:
    """Read a video's motion vectors, write them to a motion file, and return what the file holds.

    Memory does not grow with the length of the video. Damaged frames are marked. Motion to the keyframes is left out,
    with the reason, if a frame refers to a later or an unknown one. It is composed when it is read: vectors determine
    it in full, and take a fraction of the room.

    Parameters
    ----------
    video : str
        File, network address, or ``-`` for the standard input.
    output : Path
        HDF5 file to write; `arseg.motion.file.MotionFile` reads it.
    composed : bool
        Make the file give motion to the keyframes as well.
    subpixel : bool
        Compose that without rounding vectors to whole pixels.
    max_frames : int, optional
        How many frames to read; all by default.

    Raises
    ------
    CodecError, MotionError
        As `open_frames`; then nothing is written.
    """
    with open_frames(video, max_frames) as (stream, frames):
        first = next(frames)
        block_size = codec.block_size if (codec := find_codec(stream.codec)) else EXPORTED_BLOCK_SIZE
        if any(cropped % block_size for cropped in crop_of(first.pixels)):
            block_size = BLOCK_SIZE  # the grid of larger blocks does not begin at the displayed corner
        display = display_of(first.pixels)
        attributes = MotionAttributes(
            source=video if video == "-" else Path(video).name,
            codec=stream.codec,
            width=first.width,
            height=first.height,
            frames_per_second=float(stream.frames_per_second or 0),
            decoder=describe_decoder(stream.codec),
            composed=composed,
            composed_reason="" if composed else "not asked for",
            subpixel=subpixel,
            rotation=display.rotation,
            mirrored=display.is_mirrored,
            sample_aspect_ratio="{}/{}".format(*display.pixel_aspect.as_integer_ratio()),
            block_size=block_size,
        )
        references = BackReferences()
        # Compressing, like decoding, lets other threads run: a frame is written while the next ones are decoded.
        writing: deque[Future[None]] = deque()
        with create_motion_file(output, attributes) as writer, ThreadPoolExecutor(1) as thread:
            for frame in track(chain([first], frames), "frames", max_frames):
                ref_back = None
                if composed and frame.is_damaged:
                    ref_back = np.zeros(frame.mode.shape, np.uint8)
                elif composed:
                    try:
                        check_size(frame.height, frame.width)
                        ref_back = references.locate(frame)
                    except MotionError as error:
                        composed = False
                        writing.append(thread.submit(writer.leave_out_composed, str(error)))
                writing.append(thread.submit(writer.append, frame, ref_back))
                if len(writing) > MAX_UNWRITTEN:
                    writing.popleft().result()
            for written in writing:
                written.result()
            writer.describe_damage(stream.damage)
    with MotionFile(output) as file:
        return file.attributes
