"""Run `arseg segment` on a long video, with all kinds of outputs, and say whether its memory stays flat.

The video is a short one with sound, drawn and encoded here, over and over. Memory is what this process and its
children hold (RSS, from Linux's /proc); a line through the samples of the second half says how much they added. Exits
with 1 if that is above the limit.

    python benchmarks/soak.py                                    # an hour of video
    python benchmarks/soak.py --minutes 5 --codec hevc
"""

import argparse
import logging
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

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
MIB = 2**20


def resident_bytes(pid: int) -> int:
    """Return what a process and its descendants hold; one that has just ended holds nothing."""
    held = 0
    with suppress(OSError):
        held = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
        for task in Path(f"/proc/{pid}/task").iterdir():
            held += sum(map(resident_bytes, map(int, (task / "children").read_text().split())))
    return held


class Samples(logging.Handler):
    """Take a sample of memory whenever the command logs how far it is."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, int]] = []
        """Frames done, and bytes held then."""

    def emit(self, record: logging.LogRecord) -> None:
        """Sample and print, if the record is of frames that are done."""
        if str(record.msg).startswith("%s: %d/") and isinstance(record.args, tuple):
            frames, held = int(str(record.args[1])), resident_bytes(os.getpid())
            self.rows.append((frames, held))
            print(f"{frames:7d} frames  {held / MIB:8.1f} MiB", flush=True)

    def growth(self) -> float:
        """Return how many bytes the frames of the second half added, by least squares."""
        frames, held = np.array(self.rows[len(self.rows) // 2 :], float).T
        return float(np.polyfit(frames, held, 1)[0] * np.ptp(frames))


def draw_video(folder: Path, width: int, height: int, seconds: float, codec: str) -> Path:
    """Encode some seconds of street and a tone, and repeat them up to `seconds` without encoding again."""
    loop, video = folder / "loop.mp4", folder / "video.mp4"
    frames = draw_frames(min(LOOP_FRAMES, round(seconds * FRAMES_PER_SECOND)), (height, width))
    drawn = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(FRAMES_PER_SECOND), "-i", "-"]
    tone = ["-f", "lavfi", "-i", f"sine=duration={len(frames) / FRAMES_PER_SECOND}"]
    encode = ["-pix_fmt", "yuv420p", "-c:v", *ENCODERS[codec], "-threads", "1", "-c:a", "aac", str(loop)]
    command = [find_ffmpeg(), "-loglevel", "error"]
    subprocess.run([*command, *drawn, *tone, *encode], input=frames.tobytes(), check=True)
    subprocess.run(
        [*command, "-stream_loop", "-1", "-i", str(loop), "-t", str(seconds), "-c", "copy", str(video)], check=True
    )
    return video


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="of video, at 25 frames per second")
    parser.add_argument("--size", default="160x128", help="WIDTHxHEIGHT")
    parser.add_argument("--codec", choices=ENCODERS, default="h264", help="of the video")
    parser.add_argument("--outputs", nargs="*", default=OUTPUTS, help="as for arseg segment; 'pngs' is a folder")
    parser.add_argument("--limit", type=float, default=8, help="MiB that the second half may add")
    arguments = parser.parse_args(words)
    width, height = map(int, arguments.size.split("x"))
    samples = Samples()
    logging.getLogger(progress.__name__).addHandler(samples)
    progress.LOG_INTERVAL_SECONDS = arguments.minutes / 6  # some hundred samples
    with TemporaryDirectory() as name:
        folder = Path(name)
        video = draw_video(folder, width, height, 60 * arguments.minutes, arguments.codec)
        checkpoints = write_random_checkpoints(folder, "tiny", 50)
        outputs = [str(folder / output) for output in arguments.outputs]
        started = time.monotonic()
        arseg(["segment", str(video), "--checkpoint", *map(str, checkpoints), "-o", *outputs, "--device", "cpu"])
        seconds = time.monotonic() - started
    if len(samples.rows) < 4:
        print(f"{len(samples.rows)} samples are too few: take a longer video")
        return 2
    growth = samples.growth() / MIB
    is_flat = growth <= arguments.limit
    print(
        f"{'flat' if is_flat else 'GROWS'}: the second half added {growth:.1f} MiB (limit {arguments.limit:.0f}), "
        f"at most {max(held for _, held in samples.rows) / MIB:.0f} MiB; {seconds:.0f} s"
    )
    return int(not is_flat)


if __name__ == "__main__":
    sys.exit(main())
