"""Any video into numbered PNG frames, by the FFmpeg program."""

import logging
import shlex
import subprocess
from pathlib import Path
from tempfile import TemporaryFile

import av
import av.error
import ffmpeg

from arseg.access import reading
from arseg.codec.ffmpeg import find_ffmpeg, last_lines, raise_refusal
from arseg.errors import CodecError
from arseg.files import atomic_path
from arseg.progress import track

logger = logging.getLogger(__name__)

HEADER_TOLERANCE = 0.01
"""Headers of cameras may be off by some frames."""


def extract_frames(
    video: str | Path, output: str | Path, pattern: str, *, ffmpeg_path: str | None = None, threads: int = 1
) -> int:
    """Decode a video into a folder of PNG frames, numbered from 1, whole or not at all; return how many there are.

    FFmpeg's own frame rate control is left on, on purpose: the numbering of the published programs comes from it. It
    repeats the first frame where a container's video starts later than its sound. `pattern` is the name of a frame as
    FFmpeg writes it, like ``0006R0_%06d.png``; `threads`, those of the decoder, change no frame.

    Raises
    ------
    CodecError, FileAccessError
        If the video is missing, FFmpeg fails, a frame is damaged, or the operating system refuses access.
    """
    video = Path(video)
    if not video.is_file():
        raise CodecError(f"{video}: no such video")
    promised = _promised_frames(video)
    with atomic_path(Path(output)) as folder:
        folder.mkdir()
        stream = ffmpeg.input(str(video), threads=threads, err_detect="explode").video
        # PNG is lossless at any level; the default one takes most of the time for a tenth of the bytes.
        stream = stream.output(
            str(folder / pattern), start_number=1, pix_fmt="rgb24", compression_level=1, threads=threads
        )
        stream = stream.global_args("-hide_banner", "-nostdin", "-loglevel", "error", "-xerror", "-progress", "pipe:1")
        command = ffmpeg.compile(stream, cmd=find_ffmpeg(ffmpeg_path))
        _run_reporting(command, video, Path(output))
        num_frames = sum(1 for _ in folder.iterdir())
        if num_frames < promised * (1 - HEADER_TOLERANCE) or not num_frames:
            raise CodecError(
                f"{video}: has {num_frames} frames, but its header promises {promised}: it is cut off. Download it "
                "again"
            )
    return num_frames


def _promised_frames(video: Path) -> int:
    """Read the number of frames off the header, 0 if it is not there: what ends early decodes without complaint."""

    def damaged(error: Exception | str) -> CodecError:
        return CodecError(f"{video}: cannot be read as a video ({error}). Download it again")

    with reading(video, damaged, av.error.FFmpegError), av.open(str(video), metadata_errors="replace") as container:
        if not container.streams.video:
            raise damaged("it has none")
        stream = container.streams.video[0]
        seconds = (stream.duration or 0) * (stream.time_base or 0)
        return max(stream.frames, round(seconds * (stream.average_rate or 0)))


def _run_reporting(command: list[str], video: Path, output: Path) -> None:
    """Run FFmpeg, and show how many frames it has written."""
    with TemporaryFile("w+", errors="replace") as errors:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            assert process.stdout is not None
            reports = (line for line in process.stdout if line.startswith("frame="))
            for _ in track(reports, f"{video.name}, reports of FFmpeg"):
                pass
        errors.seek(0)
        said = [line.strip() for line in errors if line.strip()]
    if process.returncode:  # a damaged frame makes FFmpeg stop; what else it says is about the container
        raise_refusal("\n".join(said), output, writes=True)
        words = last_lines("\n".join(said))
        raise CodecError(f"{video}: cannot be decoded; download it again. FFmpeg said:\n{words}\n{shlex.join(command)}")
    for line in said:
        logger.warning("%s: FFmpeg says: %s", video, line)
