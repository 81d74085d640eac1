"""Moving textures, and encoders with settings that arseg itself never uses."""

import subprocess

import av
import numpy as np
from PIL import Image

from arseg.codec.ffmpeg import find_ffmpeg

BEEP = 1.0
"""Seconds from which on `heard` beeps for a tenth."""


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


def times(path):
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


def heard(path, *options, first_frame=0.0):
    """Write a video of 3 seconds, 10 frames a second, that beeps."""
    beep = f"aevalsrc='if(between(t,{BEEP},{BEEP + 0.1}),sin(2*PI*1000*t),0)':d=3:s=44100"
    video = f"testsrc2=s=96x64:r=10:d={3 - first_frame},setpts=PTS+{first_frame}/TB"
    command = [find_ffmpeg(), "-loglevel", "error", "-f", "lavfi", "-i", video, "-f", "lavfi", "-i", beep]
    subprocess.run([*command, *options, str(path)], check=True)
    return path


def sound(path):
    """Return codec, seconds at which the beep begins and at which the sound ends."""
    with av.open(str(path)) as container:
        codec = container.streams.audio[0].codec_context.codec.canonical_name
        frames = list(container.decode(audio=0))
    rate = frames[0].sample_rate
    samples = np.concatenate([frame.to_ndarray().reshape(-1, frame.samples)[0] for frame in frames]).astype(float)
    (loud,) = np.nonzero(np.abs(samples) > np.abs(samples).max() / 4)
    return codec, frames[0].time + loud[0] / rate, frames[0].time + len(samples) / rate
