"""Run `arseg segment` on a long video, with all kinds of outputs, and say whether its memory stays flat.

The video is a short one with sound, drawn and encoded here, over and over. Memory is what this process and its
children hold (RSS); its growth is the slope of a line through the samples of the second half. Exits with 1 if that is
above the limit.

    python benchmarks/soak.py                                    # an hour of video
    python benchmarks/soak.py --seconds 300 --codec hevc --tracemalloc
"""

import argparse
import logging
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil

from arseg import progress
from arseg.bench.examples import draw_frames, write_random_checkpoints
from arseg.cli.main import main as arseg
from arseg.codec.ffmpeg import find_ffmpeg

FRAMES_PER_SECOND = 25
LOOP_FRAMES = 500
ENCODERS = {
    "h264": ("libx264", "-bf", "0", "-refs", "1", "-g", "12"),
    "h264-b": ("libx264", "-g", "50"),  # whose motion is found by encoding again
    "hevc": ("libx265", "-x265-params", "log-level=none:bframes=0:keyint=12"),
    "mpeg4": ("mpeg4", "-g", "12", "-q:v", "4"),
}
OUTPUTS = ("overlay.mp4", "labels.h5", "areas.csv", "coco.json", "cvat.zip")
KIB, MIB = 2**10, 2**20


class Samples(logging.Handler):
    """Take a sample of memory whenever the command logs how far it is."""

    def __init__(self) -> None:
        super().__init__()
        self.process = psutil.Process()
        self.rows: list[tuple[int, int]] = []
        """Frames done, and bytes held then."""

    def emit(self, record: logging.LogRecord) -> None:
        """Sample and print, if the record is of frames that are done."""
        if not (record.name == progress.__name__ and str(record.msg).startswith("%s: %d/")):
            return
        processes = [self.process, *self.process.children(recursive=True)]
        held, frames = sum(process.memory_info().rss for process in processes), record.args[1]
        self.rows.append((frames, held))
        traced = f"  Python {tracemalloc.get_traced_memory()[0] / MIB:8.2f} MiB" if tracemalloc.is_tracing() else ""
        print(f"{frames:7d} frames  {held / MIB:8.1f} MiB{traced}", flush=True)

    def bytes_per_frame(self) -> float:
        """Return the slope over the second half, by least squares."""
        frames, held = np.array(self.rows[len(self.rows) // 2 :], float).T
        return float(np.polyfit(frames, held, 1)[0])


def draw_video(folder: Path, width: int, height: int, seconds: int, codec: str) -> Path:
    """Encode some seconds of street and a tone, and repeat them up to `seconds` without encoding again."""
    loop, video = folder / "loop.mp4", folder / "video.mp4"
    frames = draw_frames(min(LOOP_FRAMES, seconds * FRAMES_PER_SECOND), (height, width))
    drawn = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(FRAMES_PER_SECOND), "-i", "-"]
    tone = ["-f", "lavfi", "-i", f"sine=duration={len(frames) / FRAMES_PER_SECOND}"]
    encode = ["-pix_fmt", "yuv420p", "-c:v", *ENCODERS[codec], "-threads", "1", "-c:a", "aac", loop]
    command = [find_ffmpeg(), "-loglevel", "error"]
    subprocess.run([*command, *drawn, *tone, *encode], input=frames.tobytes(), check=True)
    subprocess.run([*command, "-stream_loop", "-1", "-i", loop, "-t", str(seconds), "-c", "copy", video], check=True)
    return video


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3600, help="of video, at 25 frames per second")
    parser.add_argument("--size", default="160x128", help="WIDTHxHEIGHT")
    parser.add_argument("--codec", choices=ENCODERS, default="h264", help="of the video")
    parser.add_argument("--outputs", nargs="*", default=OUTPUTS, help="as for arseg segment; 'pngs' is a folder")
    parser.add_argument("--limit", type=float, default=200, help="bytes that a frame may add")
    parser.add_argument("--every", type=float, default=10, help="seconds between samples")
    parser.add_argument("--tracemalloc", action="store_true", help="name the lines of Python that hold most, too")
    arguments = parser.parse_args(words)
    width, height = map(int, arguments.size.split("x"))
    samples = Samples()
    logging.getLogger(progress.__name__).addHandler(samples)
    progress.LOG_INTERVAL_SECONDS = arguments.every
    with TemporaryDirectory() as name:
        folder = Path(name)
        video = draw_video(folder, width, height, arguments.seconds, arguments.codec)
        checkpoints = write_random_checkpoints(folder, "tiny", 50)
        outputs = [str(folder / output) for output in arguments.outputs]
        if arguments.tracemalloc:
            tracemalloc.start()
        started = time.monotonic()
        arseg(["segment", str(video), "--checkpoint", *map(str, checkpoints), "-o", *outputs, "--device", "cpu"])
        seconds = time.monotonic() - started
    if len(samples.rows) < 4:
        print(f"{len(samples.rows)} samples are too few: take a longer video, or a shorter --every")
        return 2
    slope = samples.bytes_per_frame()
    is_flat = slope <= arguments.limit
    print(
        f"{'flat' if is_flat else 'GROWS'}: {slope:.0f} bytes per frame over the second half (limit "
        f"{arguments.limit:.0f}), at most {max(held for _, held in samples.rows) / MIB:.0f} MiB; {seconds:.0f} s"
    )
    return not is_flat


if __name__ == "__main__":
    sys.exit(main())
