"""Measure the bytes of a sample in the clip store, part by part, against the published file layout.

The published programs keep each sample as two PNG files and one file of raw int16 motion. Both layouts get
the same decoded frames and the same motion here, of clips that follow each other without overlap. Prints a
Markdown table.

    python benchmarks/bytes_per_sample.py --frames camvid/val --size 960x720 --codec hevc
"""

import argparse
import io
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
from PIL import Image

from arseg.codec.clip import DecodedClip
from arseg.codec.decode import check_readable, read_clip
from arseg.codec.encode import encode_clip
from arseg.motion.compose import compose_motion
from arseg.spec import Encoding
from arseg.store import ClipIdentity, ClipStore, StoreAttributes, create_stores

PARTS = {"keyframe": "keyframe", "frame": "annotated frame", "motion_qpel": "motion", "intra": "intra blocks"}


def read_clips(folder: Path, size: tuple[int, int] | None, config: Encoding) -> Iterator[DecodedClip]:
    paths = sorted(folder.glob("*.png"))
    for start in range(0, len(paths) - config.gop + 1, config.gop):
        pictures = [Image.open(path).convert("RGB") for path in paths[start : start + config.gop]]
        if size:
            pictures = [picture.resize(size, Image.Resampling.BICUBIC) for picture in pictures]
        frames = np.stack([np.asarray(picture) for picture in pictures])
        yield read_clip(encode_clip(frames, config).bitstream, config.codec)


def sample_of(clip: DecodedClip) -> dict[str, np.ndarray]:
    """Make the sample whose annotated frame is the clip's last."""
    motion = compose_motion(clip.block_motion_qpel, clip.block_ref_back, clip.height, clip.width)
    return {
        "keyframe": clip.rgb(0),
        "frame": clip.rgb(len(clip) - 1),
        "motion_qpel": motion[-1],
        "intra": clip.block_ref_back[-1] == 0,
    }


def measure_store(samples: list[dict[str, np.ndarray]], config: Encoding) -> tuple[dict[str, float], dict[str, float]]:
    """Bytes of each part, and milliseconds to write and read, per sample."""
    attributes = StoreAttributes(
        dataset="benchmark",
        split="all",
        manifest_digest="",
        encoding=config,
        distance=config.gop - 1,
        shard=0,
        num_shards=1,
    )
    identities = [ClipIdentity("benchmark", i, i, f"{i}.png", f"{i}.png", "") for i in range(len(samples))]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "store.h5"
        started = time.perf_counter()
        with create_stores({path: (attributes, identities)}) as writers:
            for index, sample in enumerate(samples):
                writers[path].write(index, **sample)
        written = time.perf_counter()
        with ClipStore(path) as store:
            for index in range(len(samples)):
                store.read(index)
        read = time.perf_counter()
        with h5py.File(path) as file:
            size = {name: file[name].id.get_storage_size() / len(samples) for name in PARTS}
        size["rest"] = path.stat().st_size / len(samples) - sum(size.values())
    milliseconds = {"write": 1e3 * (written - started), "read": 1e3 * (read - written)}
    return size, {name: total / len(samples) for name, total in milliseconds.items()}


def measure_published(samples: list[dict[str, np.ndarray]]) -> tuple[dict[str, float], dict[str, float]]:
    """Bytes of each file, and milliseconds to write and read (in memory), per sample."""
    size = {"keyframe": 0.0, "frame": 0.0, "motion_qpel": 0.0}
    milliseconds = {"write": 0.0, "read": 0.0}
    for sample in samples:
        for name in ("keyframe", "frame"):
            stream = io.BytesIO()
            started = time.perf_counter()
            Image.fromarray(sample[name]).save(stream, "PNG")
            written = time.perf_counter()
            np.asarray(Image.open(stream))
            milliseconds["write"] += 1e3 * (written - started)
            milliseconds["read"] += 1e3 * (time.perf_counter() - written)
            size[name] += len(stream.getvalue())
        size["motion_qpel"] += sample["motion_qpel"].nbytes
    return (
        {name: total / len(samples) for name, total in size.items()},
        {name: total / len(samples) for name, total in milliseconds.items()},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=Path, required=True, help="folder of PNG frames; in order of name, a video")
    parser.add_argument("--size", help="resize the frames to WIDTHxHEIGHT first")
    parser.add_argument("--codec", choices=("hevc", "h264"), default="hevc")
    parser.add_argument("--rate", default="3000k", help="3000k, qp27 or crf23")
    arguments = parser.parse_args()
    size = tuple(int(side) for side in arguments.size.split("x")) if arguments.size else None
    config = Encoding(arguments.codec, arguments.rate)
    check_readable(config.codec)
    samples = [sample_of(clip) for clip in read_clips(arguments.frames, size, config)]
    height, width = samples[0]["frame"].shape[:2]
    ours, our_times = measure_store(samples, config)
    published, published_times = measure_published(samples)
    print(f"{len(samples)} samples of {width}x{height}, {config.name}, distance {config.gop - 1}")
    print()
    print("| per sample | clip store | PNG, PNG, raw int16 | ratio |")
    print("| --- | ---: | ---: | ---: |")
    for name, title in {**PARTS, "rest": "file structure, identities"}.items():
        other = f"{published[name]:,.0f} B | {ours[name] / published[name]:.3f}" if name in published else "- | -"
        print(f"| {title} | {ours[name]:,.0f} B | {other} |")
    total, published_total = sum(ours.values()), sum(published.values())
    print(f"| **sum** | **{total:,.0f} B** | **{published_total:,.0f} B** | **{total / published_total:.2f}** |")
    for name in ("write", "read"):
        print(f"| {name} | {our_times[name]:.1f} ms | {published_times[name]:.1f} ms | |")


if __name__ == "__main__":
    main()
