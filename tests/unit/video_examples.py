"""Moving textures, and encoders with settings that arseg itself never uses."""

import subprocess

import numpy as np
from PIL import Image

from arseg.codec.ffmpeg import find_ffmpeg


def texture(height, width, seed):
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def moving_texture(num_frames, height, width, step, seed=0):
    """A texture seen through a window that moves by `step` = (x, y) pixels a frame, so the motion is
    `step`."""
    x, y = step
    canvas = texture(height + abs(y) * num_frames, width + abs(x) * num_frames, seed)
    views = []
    for frame in range(num_frames):
        left = x * frame if x >= 0 else -x * (num_frames - frame)
        top = y * frame if y >= 0 else -y * (num_frames - frame)
        views.append(canvas[top : top + height, left : left + width])
    return np.stack(views)


def encode_with(encoder, frames, *options, form, pix_fmt="yuv420p"):
    """Encode with FFmpeg's `encoder` and any options; to standard output, so in a format that can be streamed."""
    _, height, width, _ = frames.shape
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "30", "-i", "-"]
    target = ["-pix_fmt", pix_fmt, "-c:v", encoder, *options, "-f", form, "-"]
    command = [find_ffmpeg(), "-loglevel", "error", *source, *target]
    return subprocess.run(command, input=frames.tobytes(), capture_output=True, check=True).stdout


def encode_with_x264(frames, parameters):
    return encode_with("libx264", frames, "-x264-params", parameters, form="h264")


def encode_with_x265(frames, parameters, pix_fmt="yuv420p"):
    quiet = f"log-level=none:{parameters}"
    return encode_with("libx265", frames, "-x265-params", quiet, form="hevc", pix_fmt=pix_fmt)
