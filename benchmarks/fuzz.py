"""Damage compressed videos in thousands of ways, and check what `arseg segment` makes of each before its networks.

Streams are cut, lose bytes, or have bytes changed, by numbered seeds: the same number is the same damage anywhere. Of
each, frames must come out, every one accounted for, or one error. Exits with 1 after another exception, a crash, a hang
or a frame that is not accounted for; and if a frame of HEVC, which carries hashes here, differs from those that were
encoded without being marked as damaged. H.264 has no checksums: bits may change into other valid ones, which no decoder
can notice. The share of such frames there is a measurement, printed and not judged.

    python benchmarks/fuzz.py --seeds 2000
    python benchmarks/fuzz.py --streams h264-mp4 --seeds 1 --first 1234    # a single one again
"""

import argparse
import json
import multiprocessing
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from tabulate import tabulate

from arseg.bench.examples import draw_frames
from arseg.codec.ffmpeg import find_ffmpeg
from arseg.codec.stream import open_video
from arseg.errors import ArsegError
from arseg.motion.live import Following, LiveVideo
from arseg.spec import PAPER_RULES
from arseg.stopwatch import Stopwatch

NUM_FRAMES, SIZE = 16, (64, 96)
X264 = ("libx264", "-x264-params", "keyint=8:scenecut=0:threads=1:")
X265 = ("libx265", "-x265-params", "keyint=8:qp=30:hash=1:info=0:log-level=none:pools=1:frame-threads=1:")
STREAMS = {
    "h264": (*X264, "bframes=0:ref=1", "h264"),
    "h264-b": (*X264, "bframes=2:b-adapt=0:ref=3", "h264"),
    "h264-cavlc": (*X264, "bframes=0:ref=1:cabac=0:slices=3", "h264"),
    "h264-mp4": (*X264, "bframes=2:b-adapt=0", "mp4"),
    "hevc": (*X265, "bframes=0", "hevc"),
    "hevc-b": (*X265, "bframes=3:b-adapt=0:open-gop=1", "hevc"),
}
"""Encoder and its settings, and the container."""

HASHED = ("hevc", "hevc-b")
"""Those in which no damage may go unnoticed."""

SECONDS = 60.0
"""Far beyond what one stream takes; a hang is not."""


def encode(name: str, path: Path) -> None:
    """Encode a drawn street."""
    encoder, option, base, settings, form = STREAMS[name]
    height, width = SIZE
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "25", "-i", "-"]
    target = ["-pix_fmt", "yuv420p", "-c:v", encoder, option, base + settings, "-f", form, str(path)]
    frames = draw_frames(NUM_FRAMES, SIZE).tobytes()
    subprocess.run([find_ffmpeg(), "-loglevel", "error", *source, *target], input=frames, check=True)


def damage(content: bytes, seed: int) -> bytes:
    """Cut a stream, take bytes out of it, or change one to three of its bytes."""
    generator = np.random.default_rng(seed)
    data = bytearray(content)
    place = int(generator.integers(len(data)))
    if seed % 4 == 0:
        return bytes(data[:place])
    if seed % 4 == 1:
        del data[place : place + int(generator.integers(1, 50))]
        return bytes(data)
    for _ in range(int(generator.integers(1, 4))):
        data[int(generator.integers(len(data)))] ^= int(generator.integers(1, 256))
    return bytes(data)


def read(video: Path) -> Iterator[tuple[bytes, bool]]:
    """Yield the pixels of a video's frames, and whether they are marked as damaged; motion is followed, too."""
    with open_video(video) as stream:
        for frame in LiveVideo(stream, Following(), PAPER_RULES, Stopwatch()):
            yield frame.pixels.to_ndarray().tobytes(), frame.is_damaged


def survey(folder: Path, name: str, seeds: range, report: Path) -> None:
    """Append a line for each damage, its seed before the attempt, lest a decoder crash."""
    sound = folder / f"{name}.{STREAMS[name][-1]}"
    content, known = sound.read_bytes(), {pixels for pixels, _ in read(sound)}
    video = sound.with_stem(f"{name}-damaged")
    with report.open("a") as file:
        for seed in seeds:
            file.write(f'{{"seed": {seed}')
            file.flush()
            video.write_bytes(damage(content, seed))
            counts, error, started = Counter[str](), "", time.monotonic()
            try:
                for pixels, is_damaged in read(video):
                    counts["marked" if is_damaged else "sound" if pixels in known else "unnoticed"] += 1
            except ArsegError:
                counts["refused"] += 1
            except Exception as caught:
                error = f"{type(caught).__name__}: {caught}"
            more = {**counts, "error": error, "seconds": time.monotonic() - started}
            file.write(f", {json.dumps(more)[1:]}\n")
            file.flush()


def supervise(folder: Path, name: str, seeds: range) -> list[dict[str, Any]]:
    """Survey all damages, in processes that begin anew after one that has crashed or hangs."""
    report = folder / f"{name}.report"
    report.touch()
    outcomes: list[dict[str, Any]] = []
    while len(outcomes) < len(seeds):
        rest, size = seeds[len(outcomes) :], -1
        process = multiprocessing.get_context("spawn").Process(target=survey, args=(folder, name, rest, report))
        process.start()
        while process.is_alive() and report.stat().st_size != size:
            size = report.stat().st_size
            process.join(SECONDS)
        hangs = process.is_alive()
        process.kill()
        process.join()
        *lines, last = report.read_text().split("\n")
        outcomes = [json.loads(line) for line in lines]
        if last:
            error = "hang" if hangs else f"exit code {process.exitcode}"
            outcomes.append({"seed": seeds[len(outcomes)], "error": error})
            report.write_text("".join(f"{json.dumps(outcome)}\n" for outcome in outcomes))
        elif process.exitcode:
            raise RuntimeError(f"{name}: the sound stream cannot be read")
    return outcomes


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", nargs="+", choices=STREAMS, default=list(STREAMS))
    parser.add_argument("--seeds", type=int, default=500, help="damages of each stream")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    arguments = parser.parse_args(words)
    rows, failed = [], False
    kinds = ("refused", "marked", "sound", "unnoticed", "errors")
    with TemporaryDirectory() as created:
        for name in arguments.streams:
            encode(name, Path(created, f"{name}.{STREAMS[name][-1]}"))
            found = supervise(Path(created), name, range(arguments.first, arguments.first + arguments.seeds))
            total = Counter[str]()
            for outcome in found:
                total.update({kind: outcome.get(kind, 0) for kind in kinds})
                if outcome["error"]:
                    print(f"{name}, seed {outcome['seed']}: {outcome['error']}")
                    total["errors"] += 1
            share = total["unnoticed"] / max(1, total["sound"] + total["unnoticed"])
            failed |= bool(total["errors"] or (name in HASHED and total["unnoticed"]))
            slowest = max(outcome.get("seconds", 0) for outcome in found)
            rows.append([name, len(found), *(total[kind] for kind in kinds), f"{100 * share:.2f}", f"{slowest:.2f}"])
    print(tabulate(rows, ["stream", "damaged", *kinds, "% unnoticed", "slowest, s"], tablefmt="pipe"))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
