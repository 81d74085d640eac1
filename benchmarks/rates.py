"""Measure what `arseg plan` reckons with: processor seconds per unit of work, on this machine.

Prints lines as they stand in ``arseg/plan/rates.csv``; a file of them, for another machine, is given to ``arseg plan
--rates``. Frames are those of a folder of PNG files, in order of name a video, or drawn.

    python benchmarks/rates.py --frames camvid/val --size 960x720 > rates.csv
"""

import argparse
import csv
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import deflate
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from arseg.codec.decode import read_clip
from arseg.codec.encode import encode_clip
from arseg.codec.extract_frames import extract_frames
from arseg.config import EncodeConfig, TrainConfig
from arseg.data.augmentation import draw_augmentation
from arseg.data.cityscapes_labels import write_train_ids
from arseg.data.clips import make_clip_stores
from arseg.data.images import read_image, read_label
from arseg.data.manifest import Manifest, ManifestRow
from arseg.data.synthetic.dataset import synthesize
from arseg.data.transforms import PairSample, apply
from arseg.evaluate.complexity import count_macs
from arseg.machine import processor_name, usable_cores
from arseg.models.registry import ARCHITECTURES, build_network
from arseg.motion.compose import MotionComposer
from arseg.plan.rates import COLUMNS
from arseg.store import ClipStore
from arseg.train.step import phase1_loss

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
NUM_CLASSES = 12
NETWORK_SIZE = (360, 480)
STARTS = {
    "media": "arseg.cli.clips",
    "train": "arseg.train.phase2",
    "evaluate": "arseg.evaluate.protocol",
    "plot": "arseg.cli.panel",
    "tables": "arseg.cli.tables",
}
"""What commands of each kind import."""


def cpu_seconds(action: Callable[[], object], repeats: int = 1) -> float:
    """Processor seconds of this process and those that it waits for; the least of several times."""

    def used() -> float:
        usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(usage.ru_utime + usage.ru_stime for usage in usages)

    seconds = []
    for _ in range(repeats):
        before = used()
        action()
        seconds.append(used() - before)
    return min(seconds)


def drawn_frames(folder: Path, size: tuple[int, int], count: int) -> list[Path]:
    """Draw a video, and print what that costs."""
    width, height = size
    options = {"num_train_sequences": 1, "num_val_sequences": 1, "num_test_sequences": 1}
    synthesize(folder, width=width, height=height, frames_per_sequence=count, gop=2, **options)
    return sorted((folder / "images").glob("train*.png"))


def media_rates(paths: list[Path], folder: Path) -> Iterator[tuple[str, float, str]]:
    """Time reading, encoding with each preset, decoding with composition, and storage: per megapixel."""
    frames = np.stack([read_image(path) for path in paths])  # (T, H, W, 3)
    megapixels = frames.shape[0] * frames.shape[1] * frames.shape[2] / 1e6
    per_frame = "core-seconds per megapixel of a frame"
    yield "read", cpu_seconds(lambda: [read_image(path) for path in paths], 3) / megapixels, per_frame
    for codec in ("h264", "hevc"):
        for preset in PRESETS:
            config = EncodeConfig(codec, "3000k", preset=preset, gop=len(paths))
            repeats = 3 if preset == "medium" else 1
            seconds = cpu_seconds(lambda config=config: encode_clip(frames, config), repeats)
            yield f"encode {codec} {preset}", seconds / megapixels, per_frame
        config = EncodeConfig(codec, "3000k", gop=len(paths))
        bitstream = encode_clip(frames, config).bitstream
        yield f"decode {codec}", cpu_seconds(lambda: decode(bitstream, config), 3) / megapixels, per_frame  # noqa: B023
    yield from store_rates(paths, folder, frames)
    video = folder / "video.264"
    video.write_bytes(encode_clip(frames, EncodeConfig("h264", "3000k", gop=len(paths))).bitstream)
    seconds = cpu_seconds(lambda: extract_frames(video, folder / "decoded", "%06d.png"))
    yield "extract", seconds / megapixels, per_frame


def label_rate(label: Path, folder: Path) -> float:
    """Time the conversion of a label map, per megapixel."""
    root = folder / "cityscapes"
    label_ids = Image.fromarray(read_label(label, 256) % 10 + 20)  # train ids would be refused
    for split in ("train", "val"):
        copy = root / f"gtFine/{split}/aachen/aachen_000000_000019_gtFine_labelIds.png"
        copy.parent.mkdir(parents=True, exist_ok=True)
        label_ids.save(copy)
    megapixels = 2 * label_ids.width * label_ids.height / 1e6
    return cpu_seconds(lambda: write_train_ids(root, folder / "labels")) / megapixels


def decode(bitstream: bytes, config: EncodeConfig) -> NDArray[np.int16]:
    decoded = read_clip(bitstream, config.codec)
    composer = MotionComposer(decoded.height, decoded.width)
    for motion_qpel, ref_back in zip(decoded.block_motion_qpel, decoded.block_ref_back, strict=True):
        composer.push(motion_qpel, ref_back)
    decoded.rgb(len(decoded) - 1)
    return composer.compose()


def store_rates(paths: list[Path], folder: Path, frames: NDArray[np.uint8]) -> Iterator[tuple[str, float, str]]:
    """Time the making and reading of stores: what a sample costs beside its clip's frames."""
    pattern = str(paths[0]).replace(paths[0].stem, paths[0].stem.rstrip("0123456789") + "{index:03d}")
    gop = len(paths)
    rows = tuple(
        ManifestRow("rates", "all", "video", index, pattern.format(index=index), "", pattern, 1) for index in (gop - 1,)
    )
    config = EncodeConfig("h264", "3000k", preset="ultrafast", gop=gop)
    (path,) = make_clip_stores(Manifest(rows, (), "rates"), "all", config, [gop - 1], folder / "store")
    megapixels = frames.shape[1] * frames.shape[2] / 1e6
    with ClipStore(path) as store:
        sample = store.read(0)
        yield "load", cpu_seconds(lambda: store.read(0), 3) / megapixels, "core-seconds per megapixel of a sample"
    parts = [sample.keyframe, sample.frame, *np.moveaxis(sample.motion_qpel, -1, 0)]

    def compress() -> None:
        for part in parts:
            shuffled = part.reshape(-1, 1).view(np.uint8).T.tobytes() if part.itemsize > 1 else part.tobytes()
            deflate.zlib_compress(shuffled, 6)

    yield "store", cpu_seconds(compress, 3) / megapixels, "core-seconds per megapixel of a sample"


def network_rates(frame: Path) -> Iterator[tuple[str, float, str]]:
    """Time passes of the networks per multiply-accumulate, and what a training sample costs beside them."""
    height, width = NETWORK_SIZE
    torch.manual_seed(0)
    image, labels = torch.rand(2, 3, height, width), torch.randint(0, NUM_CLASSES, (2, height, width))
    for backbone in ("bise18", "psp18", "tiny", "small"):
        gmacs = 2 * count_macs(backbone, NUM_CLASSES, height, width, "hr", 100).total / 1e9
        network = build_network(backbone, NUM_CLASSES, fusion=False)
        optimizer = torch.optim.Adam(network.parameters())

        def step(network=network, backbone=backbone, optimizer=optimizer) -> None:
            optimizer.zero_grad()
            sum(phase1_loss(network, ARCHITECTURES[backbone], image, labels, 100).values()).backward()
            optimizer.step()

        def forward(network=network) -> None:
            with torch.no_grad():
                network(image)

        step()
        forward()
        yield f"train {backbone}", cpu_seconds(step, 3) / gmacs, "core-seconds per 1e9 multiply-accumulates of a pass"
        network.eval()
        yield f"run {backbone}", cpu_seconds(forward, 3) / gmacs, "core-seconds per 1e9 multiply-accumulates"
    picture = read_image(frame)
    height, width = picture.shape[:2]
    label = np.zeros((height, width), np.uint8)
    with TemporaryDirectory() as name:
        path = Path(name, "label.png")
        Image.fromarray(label).save(path)
        config = TrainConfig(crop=f"{width}x{height}")

        def prepare() -> None:
            sample = PairSample(read_image(frame), None, read_label(path, NUM_CLASSES), None)
            apply(draw_augmentation((width, height), random.Random(0), config), sample)

        seconds = cpu_seconds(prepare, 5)
    yield "prepare", seconds / (height * width / 1e6), "core-seconds per megapixel of a frame"


def start_rates() -> Iterator[tuple[str, float, str]]:
    """Time what a command costs before it does anything: imports, most of all PyTorch."""
    for kind, module in STARTS.items():
        command = [sys.executable, "-c", f"import arseg.cli.main, {module}"]
        seconds = cpu_seconds(lambda command=command: subprocess.run(command, check=True, capture_output=True), 3)
        yield f"start {kind}", seconds, "core-seconds per command"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=Path, help="folder of PNG frames; in order of name, a video")
    parser.add_argument("--size", default="960x720", help="resize, or draw, frames of WIDTHxHEIGHT")
    parser.add_argument("--count", type=int, default=12, help="frames to measure on")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    width, height = (int(side) for side in arguments.size.split("x"))
    note = f"benchmarks/rates.py, {time.strftime('%Y-%m-%d')}, {usable_cores()} cores of {processor_name()}"
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(COLUMNS)

    def write(name: str, value: float, unit: str) -> None:
        table.writerow((name, f"{value:.3g}", unit, note))
        sys.stdout.flush()

    with TemporaryDirectory() as name:
        folder = Path(name)
        drawn: list[Path] = []
        count = arguments.count
        seconds = cpu_seconds(lambda: drawn.extend(drawn_frames(folder / "drawn", (width, height), count)))
        write("synthesize", seconds / (3 * count * width * height / 1e6), "core-seconds per megapixel of a frame")
        label = drawn[0].parents[1] / "labels" / drawn[0].name
        write("label", label_rate(label, folder), "core-seconds per megapixel of a label map")
        paths = drawn[:count]
        if arguments.frames:
            (folder / "frames").mkdir()
            paths = []
            for index, path in enumerate(sorted(arguments.frames.glob("*.png"))[:count]):
                paths.append(folder / f"frames/frame_{index:03d}.png")
                Image.open(path).convert("RGB").resize((width, height), Image.Resampling.BICUBIC).save(paths[-1])
        for rates in (media_rates(paths, folder), network_rates(paths[0]), start_rates()):
            for rate in rates:
                write(*rate)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
