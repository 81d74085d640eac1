"""Record the motion vectors of a video in a motion file."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from arseg.codec.exported import EXPORTED_BLOCK_SIZE, EXPORTED_CODECS
from arseg.codec.picture import BLOCK_SIZE
from arseg.codec.versions import describe_decoder
from arseg.errors import MotionError
from arseg.motion.file import MotionAttributes, MotionFile
from arseg.motion.file_writer import create_motion_file
from arseg.motion.video import KeyframeFollower, open_frames
from arseg.progress import track

MAX_UNWRITTEN = 4
"""Pictures that may wait to be written, so that memory does not grow where decoding is faster."""


def extract_motion(
    video: str, output: Path, *, composed: bool = False, subpixel: bool = False, max_frames: int | None = None
) -> MotionAttributes:
    """Read a video's motion vectors and write them to a motion file.

    Memory does not grow with the length of the video. Motion to the keyframes is left out, with the reason, if a
    picture refers to a later or an unknown one. It is composed when it is read: vectors determine it in full, and take
    a fraction of the room.

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
        How many pictures to read; all by default.

    Returns
    -------
    attributes : MotionAttributes
        What the file holds.

    Raises
    ------
    CodecError, MotionError
        As `arseg.motion.video.open_frames`; then nothing is written.
    """
    with open_frames(video, max_frames) as (stream, frames):
        first = next(frames)
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
            block_size=EXPORTED_BLOCK_SIZE if stream.codec in EXPORTED_CODECS else BLOCK_SIZE,
        )
        follower = KeyframeFollower()
        # Compressing, like decoding, lets other threads run: a picture is written while the next ones are decoded.
        writing: deque[Future[None]] = deque()
        with create_motion_file(output, attributes) as writer, ThreadPoolExecutor(1) as thread:
            for picture in track(chain([first], frames), "pictures", max_frames):
                ref_back = None
                if composed:
                    try:
                        ref_back = follower.locate(picture)
                    except MotionError as error:
                        composed = False
                        writing.append(thread.submit(writer.leave_out_composed, str(error)))
                writing.append(thread.submit(writer.append, picture, ref_back))
                if len(writing) > MAX_UNWRITTEN:
                    writing.popleft().result()
            for written in writing:
                written.result()
    with MotionFile(output) as file:
        return file.attributes
