"""Write frames to a video file that plays everywhere: H.264 in 4:2:0, by FFmpeg."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from arseg.codec.ffmpeg import find_ffmpeg, last_lines, raise_refusal
from arseg.errors import CodecError
from arseg.files import atomic_path


class VideoWriter:
    """Takes the frames of a video; `create_video` makes it."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Append a frame, RGB, shape (H, W, 3)."""
        self._pipe.write(np.ascontiguousarray(frame).data)


@contextmanager
def create_video(
    path: Path, height: int, width: int, frames_per_second: Fraction, ffmpeg_path: str | None = None
) -> Iterator[VideoWriter]:
    """Yield a writer of a video, which appears when it is complete, and never after a failure.

    The suffix of `path` names the container, like ``.mp4``; `height` and `width`, in pixels, are even.

    Raises
    ------
    CodecError, FileAccessError
        If FFmpeg fails, with the end of its own messages, or the file cannot be written.
    """
    with atomic_path(path) as temporary, TemporaryFile() as messages:
        command = _command(find_ffmpeg(ffmpeg_path), temporary, height, width, frames_per_second)
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=messages)
        assert process.stdin
        broken = False
        try:
            yield VideoWriter(process.stdin)
        except BrokenPipeError:
            broken = True
        except BaseException:
            process.kill()
            raise
        finally:
            with suppress(BrokenPipeError):
                process.stdin.close()
            status = process.wait()
        if broken or status:
            messages.seek(0)
            words = messages.read().decode(errors="replace").strip()
            raise_refusal(words, path, writes=True)
            raise CodecError(f"{path}: FFmpeg failed with exit status {status}. It said:\n{last_lines(words)}")


def _command(ffmpeg_path: str, output: Path, height: int, width: int, frames_per_second: Fraction) -> list[str]:
    source = ffmpeg.input(
        "pipe:", format="rawvideo", pix_fmt="rgb24", video_size=(width, height), framerate=frames_per_second
    )
    # Convert to BT.709 and tag it: untagged, players guess from the frame size.
    stream = source.output(
        str(output),
        vcodec="libx264",
        pix_fmt="yuv420p",
        preset="fast",
        crf=18,
        vf="scale=out_color_matrix=bt709:out_range=tv",
        colorspace="bt709",
        color_primaries="bt709",
        color_trc="bt709",
        movflags="+faststart",
    ).global_args("-hide_banner", "-nostats", "-loglevel", "warning", "-y")
    return ffmpeg.compile(stream, cmd=ffmpeg_path)
