"""Measure what composing motion without rounding is worth: how well a frame is predicted from its keyframe.

Clips of PNG frames, which in order of name are a video, are encoded; the keyframe's luma is sampled (bilinearly,
between pixels) where the composed motion says, and compared with the decoded frame. Prints a Markdown table.

    python benchmarks/subpixel.py --frames camvid/val
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from arseg.codec.decode import read_clip
from arseg.codec.encode import encode_clip
from arseg.codec.frame import DecodedClip
from arseg.motion.compose import MotionComposer
from arseg.spec import Encoding

DISTANCES = (1, 6, 11)
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def read_clips(folder: Path, config: Encoding) -> Iterator[DecodedClip]:
    paths = sorted(folder.glob("*.png"))
    for start in range(0, len(paths) - config.gop + 1, config.gop):
        pictures = [Image.open(path).convert("RGB") for path in paths[start : start + config.gop]]
        bitstream = encode_clip(np.stack([np.asarray(picture) for picture in pictures]), config).bitstream
        yield read_clip(bitstream, config.codec)


def sample(plane: NDArray[np.float32], motion_qpel: NDArray[np.int16]) -> NDArray[np.float32]:
    height, width = plane.shape
    x = np.arange(width) + motion_qpel[..., 0] / np.float32(4)
    y = np.arange(height)[:, None] + motion_qpel[..., 1] / np.float32(4)
    left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    x, y = x - left, y - top
    above = plane[top, left] * (1 - x) + plane[top, right] * x
    return above * (1 - y) + (plane[below, left] * (1 - x) + plane[below, right] * x) * y


def measure(clips: Iterator[DecodedClip]) -> dict[tuple[int, bool], NDArray[np.float64]]:
    """PSNR in dB and mean absolute error of luma, by distance and whether composition is without rounding."""
    results = defaultdict(list)
    for clip in clips:
        keyframe = clip.frames[0].to_rgb() @ LUMA
        composers = {subpixel: MotionComposer(clip.height, clip.width, subpixel=subpixel) for subpixel in (False, True)}
        for index, (vectors, ref_back) in enumerate(zip(clip.block_vectors_qpel, clip.block_ref_back, strict=True)):
            for composer in composers.values():
                composer.push(vectors, ref_back)
            if index in DISTANCES:
                frame = clip.frames[index].to_rgb() @ LUMA
                for subpixel, composer in composers.items():
                    error = sample(keyframe, composer.compose()) - frame
                    psnr = 10 * np.log10(255**2 / np.mean(error**2))
                    results[index, subpixel].append((psnr, np.abs(error).mean()))
    return {key: np.mean(values, axis=0) for key, values in results.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=Path, required=True, help="folder of PNG frames; in order of name, a video")
    parser.add_argument("--rate", default="3000k", help="3000k, qp27 or crf23")
    arguments = parser.parse_args()
    print("| codec | d | whole pixels: PSNR | error | without rounding: PSNR | error |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for codec in ("hevc", "h264"):
        results = measure(read_clips(arguments.frames, Encoding(codec, arguments.rate)))
        for distance in DISTANCES:
            cells = [f"{value:.2f}" for subpixel in (False, True) for value in results[distance, subpixel]]
            print(f"| {codec} | {distance} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
