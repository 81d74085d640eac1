"""Measure the motion of an HEVC stream with B-frames against that of encoding its frames again.

PNG frames, which in order of name are a video, are encoded with x265 and its B-frames. Every 12th frame becomes a
keyframe; the keyframe's luma is sampled (bilinearly, between pixels) where the motion says, and compared with the
decoded frame. Prints a Markdown table: PSNR in dB by distance, and milliseconds of processor time per frame for
decoding and motion.

    python benchmarks/stream_motion.py --frames camvid/val
"""

import argparse
import resource
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType
from numpy.typing import NDArray
from PIL import Image
from subpixel import sample

from arseg.codec.stream import open_video
from arseg.motion.live import Following, LiveVideo
from arseg.spec import MotionRules
from arseg.stopwatch import Stopwatch

GOP = 12
DISTANCES = (1, 3, 6, 11)
STREAMS = {
    "x265's defaults": ("yuv420p", ""),
    "a keyframe every 12 frames": ("yuv420p", f"keyint={GOP}:min-keyint={GOP}:scenecut=0"),
    "Main 10": ("yuv420p10le", ""),
}


@dataclass
class Encoder:
    """Encodes the frames of a folder with x265."""

    folder: Path
    bitrate_kbps: int
    frames_per_second: int

    def encode(self, path: Path, pix_fmt: str, parameters: str) -> str:
        """Write a video; return how many frames it has of each kind."""
        with av.open(str(path), "w") as container:
            options = {"x265-params": f"log-level=none:{parameters}".strip(":")}
            stream = container.add_stream("libx265", rate=self.frames_per_second, options=options)
            stream.bit_rate, stream.pix_fmt = 1000 * self.bitrate_kbps, pix_fmt
            pictures = [Image.open(file).convert("RGB") for file in sorted(self.folder.glob("*.png"))]
            stream.width, stream.height = pictures[0].size
            for picture in pictures:
                container.mux(stream.encode(av.VideoFrame.from_image(picture).reformat(format=pix_fmt)))
            container.mux(stream.encode(None))
        with av.open(str(path)) as container:
            kinds = [PictureType(frame.pict_type).name for frame in container.decode(video=0)]
        return " ".join(f"{kinds.count(kind)} {kind}" for kind in "IPB")


def luma(frame: av.VideoFrame) -> NDArray[np.float32]:
    return frame.reformat(format="gray").to_ndarray().astype(np.float32)


def measure(path: Path, motion: str, subpixel: bool) -> dict[int | str, float]:
    """PSNR by distance, its mean, and the time; by `motion`, which may be "none"."""
    following = Following(f"distance={GOP - 1}", motion="stream" if motion == "none" else motion)
    before = processor_seconds()
    for _ in follow(path, following, subpixel):
        pass
    seconds = processor_seconds() - before
    psnr = defaultdict(list)
    for frame in follow(path, following, subpixel):
        if frame.motion_qpel is None:
            keyframe = luma(frame.pixels)
            continue
        displacement = frame.motion_qpel * (motion != "none")
        error = sample(keyframe, displacement) - luma(frame.pixels)
        psnr[frame.distance].append(10 * np.log10(255**2 / np.mean(error**2)))
    means = {distance: float(np.mean(values)) for distance, values in psnr.items()}
    num_frames = GOP + sum(map(len, psnr.values()))
    return means | {"mean": float(np.mean(list(means.values()))), "ms": 1000 * seconds / num_frames}


def follow(path: Path, following: Following, subpixel: bool) -> Iterator:
    with open_video(path) as stream:
        yield from LiveVideo(stream, following, MotionRules(subpixel=subpixel, gop=GOP), Stopwatch())


def processor_seconds() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=Path, required=True, help="folder of PNG frames; in order of name, a video")
    parser.add_argument("--bitrate-kbps", type=int, default=375)
    parser.add_argument("--frames-per-second", type=int, default=30)
    parser.add_argument("--subpixel", action="store_true", help="compose without rounding")
    arguments = parser.parse_args()
    encoder = Encoder(arguments.frames, arguments.bitrate_kbps, arguments.frames_per_second)
    print(f"| video | frames | motion | {' | '.join(f'd = {d}' for d in DISTANCES)} | mean | ms |")
    print(f"| --- | --- | --- | {'---: | ' * (len(DISTANCES) + 2)}".strip())
    with tempfile.TemporaryDirectory() as folder:
        for name, (pix_fmt, parameters) in STREAMS.items():
            path = Path(folder, "video.mp4")
            kinds = encoder.encode(path, pix_fmt, parameters)
            for motion in ("none", "reencode", "stream"):
                found = measure(path, motion, arguments.subpixel)
                cells = [f"{found[key]:.2f}" for key in (*DISTANCES, "mean")] + [f"{found['ms']:.1f}"]
                print(f"| {name} | {kinds} | {motion} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
