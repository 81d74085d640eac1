"""Time HR and AR-Seg frame by frame: the networks, their parts, and a video from its bitstream to its labels."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Literal

import torch
from torch import Tensor

from arseg.ar import ConstantResolution
from arseg.bench.examples import (
    NUM_CLASSES,
    draw_frames,
    random_image,
    random_motion,
    write_clip,
    write_random_checkpoints,
)
from arseg.bench.front_end import measure_front_end
from arseg.bench.report import Report, Table, check_positive, parse_size
from arseg.bench.timing import Memory, Timing, measure, synchronize, watch_memory
from arseg.errors import ConfigError
from arseg.evaluate.complexity import gmacs_per_frame
from arseg.infer.segment import Segmentation
from arseg.models.branch import Branch
from arseg.models.branches import load_branches
from arseg.models.inference import labels_of, resize, to_low_resolution, warp_keyframe
from arseg.models.network import SegmentationNetwork
from arseg.models.optimize import prepare_for_inference
from arseg.models.registry import build_network, get_architecture
from arseg.spec import Encoding
from arseg.stopwatch import Stopwatch

PARTS = ("encode", "warp", "fuse", "classify", "resize", "argmax")
"""Of a frame of AR-Seg that is no keyframe. "encode" includes the image's resize, "fuse" the feature's."""

FORMS = ("as trained", "without auxiliary heads", "folded, too", "channels-last, too")
QUICK_SIZE = "96x64"


@dataclass(frozen=True)
class InferenceOptions:
    """What to measure."""

    size: str = "960x720"
    """WIDTHxHEIGHT of the frames."""
    backbones: tuple[str, ...] = ("psp18", "bise18")
    """Architectures, with random weights."""
    scales: tuple[int, ...] = (50,)
    """Resolutions of the LR branch, in percent."""
    gop: int = 12
    """Frames from one keyframe to the next."""
    repeats: int = 3
    """Frames of HR that count; of AR-Seg three times as many."""
    codec: Literal["h264", "hevc"] = "h264"
    """Of the video that is decoded."""
    decoded_hr_frames: int = 3
    """Frames of that video which HR segments alone; 0 leaves segmenting the video out."""
    forms: bool = False
    """Measure each optimisation of the networks alone as well."""
    front_end_only: bool = False
    """Measure what comes before the networks, and no network."""


def bench_inference(
    options: InferenceOptions, device: torch.device, *, checkpoint: Sequence[Path] = (), quick: bool = False
) -> Report:
    """Measure what a frame costs.

    HR and AR-Seg take turns, so that whatever else the machine does disturbs both. Where it does much, the ratio of the
    minima says more than that of the medians.

    Parameters
    ----------
    options : InferenceOptions
        What to measure.
    device : torch.device
        Where.
    checkpoint : sequence of Path
        Checkpoints as `arseg.models.branches.load_branches` takes them, in place of backbones and scales.
    quick : bool
        Small frames, a short group of pictures and one run, for a first look.

    Returns
    -------
    report : Report

    Raises
    ------
    ConfigError
        If an option cannot be.
    CheckpointError
        If checkpoints hold no LR branch with its HR branch.
    """
    if quick:
        num_decoded = min(1, options.decoded_hr_frames)
        options = replace(options, size=QUICK_SIZE, gop=3, repeats=1, decoded_hr_frames=num_decoded)
    check_positive(repeats=options.repeats)
    if options.gop < 2:
        raise ConfigError(f"--gop {options.gop}: must be at least 2, a keyframe and a frame that is none")
    height, width = parse_size(options.size)
    for backbone in options.backbones:
        get_architecture(backbone)  # refuses unknown ones
    names = ("frames", "parts", "from a video", "forms", "front end")
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with TemporaryDirectory() as name:
        folder = Path(name)
        config = Encoding(options.codec, gop=options.gop)
        clip = write_clip(folder / f"clip.{options.codec}", draw_frames(options.gop, height, width), config)
        tables["front end"].append({"codec": options.codec, **measure_front_end(clip, options.repeats)})
        for paths in [] if options.front_end_only else _choices(options, checkpoint, folder):
            hr, lr = load_branches(paths, device)
            if lr is None:
                raise ConfigError("--checkpoint: name an LR branch and its HR branch; there is a single network")
            frames, parts = _frames(hr, lr, options, device, height, width)
            tables["frames"].append(frames)
            tables["parts"].append(parts)
            if options.decoded_hr_frames > 0:
                tables["from a video"] += _from_video(clip, paths, lr, options, device)
    if options.forms and not options.front_end_only:
        for backbone in options.backbones:
            tables["forms"] += _forms(backbone, options, device, height, width)
    titles = {
        "frames": f"ms per frame at {width}x{height}, group of {options.gop} pictures",
        "parts": "median ms of the parts of a frame that is no keyframe",
        "from a video": f"frames per second from {options.codec} to labels",
        "forms": "ms of the network alone, by form",
        "front end": f"before the networks: ms of processor time per picture at {width}x{height}, one thread",
    }
    found = [Table(titles[name], rows) for name, rows in tables.items() if rows]
    return Report("inference", vars(options) | {"checkpoint": list(map(str, checkpoint)), "quick": quick}, found)


def _choices(options: InferenceOptions, checkpoint: Sequence[Path], folder: Path) -> Iterator[list[Path]]:
    if checkpoint:
        yield list(checkpoint)
        return
    for backbone in options.backbones:
        for scale_percent in options.scales:
            own = folder / f"{backbone}-{scale_percent}"
            own.mkdir()
            yield write_random_checkpoints(own, backbone, scale_percent)


def _frames(
    hr: Branch, lr: Branch, options: InferenceOptions, device: torch.device, height: int, width: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Time HR's frames and AR-Seg's in turns, the latter part by part."""
    image, motion = random_image(height, width).to(device), random_motion(height, width).to(device)
    first, second = hr.network, lr.network
    parts: dict[str, list[float]] = {part: [] for part in PARTS}

    def hr_frame() -> Tensor:
        return labels_of(ConstantResolution(first).frame(image))

    def ar_frame() -> Tensor:
        watch = Stopwatch(lambda: synchronize(device))
        labels = _ar_frame(second, feature, image, motion, lr, watch)
        for part in PARTS:
            parts[part].append(1000 * watch.seconds[part])
        return labels

    hr_times: list[float] = []
    ar_times: list[float] = []
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        feature = first.encode(image).feature
        hr_memory, ar_memory = _memory(hr_frame, device), _memory(ar_frame, device)
        for times in parts.values():
            times.clear()
        for _ in range(options.repeats):
            hr_times += measure(hr_frame, device, repeats=1, warmup=0).milliseconds
            ar_times += measure(ar_frame, device, repeats=3, warmup=0).milliseconds
    hr_timing, ar_timing = Timing(tuple(hr_times)), Timing(tuple(ar_times))
    mean = (hr_timing.median + (options.gop - 1) * ar_timing.median) / options.gop
    least_mean = (hr_timing.least + (options.gop - 1) * ar_timing.least) / options.gop
    count = (hr.spec.backbone, hr.network.num_classes, height, width)
    macs_hr = gmacs_per_frame(*count, "hr", 100, options.gop)
    macs_ar = gmacs_per_frame(*count, "ar", lr.spec.scale_percent, options.gop)
    named = {"backbone": hr.spec.backbone, "scale": lr.spec.scale_percent / 100}
    frames = named | {
        "HR_min": round(hr_timing.least, 3),
        "HR_median": round(hr_timing.median, 3),
        "HR_p95": round(hr_timing.p95, 3),
        "AR_min": round(ar_timing.least, 3),
        "AR_median": round(ar_timing.median, 3),
        "AR_p95": round(ar_timing.p95, 3),
        "AR_mean_of_GOP": round(mean, 3),
        "AR/HR": round(mean / hr_timing.median, 4),
        "AR/HR_of_minima": round(least_mean / hr_timing.least, 4),
        "AR/HR_of_MACs": round(macs_ar / macs_hr, 4),
        "keyframe/mean": round(hr_timing.median / mean, 3),
        "HR_peak_MiB": hr_memory.peak_mib,
        "AR_peak_MiB": ar_memory.peak_mib,
    }
    return frames, named | {part: round(median(times), 3) for part, times in parts.items()}


def _ar_frame(
    network: SegmentationNetwork, keyframe_feature: Tensor, image: Tensor, motion: Tensor, lr: Branch, watch: Stopwatch
) -> Tensor:
    """Do what `arseg.ar.AlteringResolution` does, and choose classes, step by step."""
    height, width = image.shape[-2:]
    with watch("encode", on_device=True):
        feature = network.encode(to_low_resolution(image, lr.spec.scale_percent)).feature
    with watch("warp", on_device=True):
        warped = warp_keyframe(keyframe_feature, motion, lr.spec.warp_alignment)
    with watch("fuse", on_device=True):
        fused = network.fuse(warped, feature)
    with watch("classify", on_device=True):
        scores = network.classify(fused)
    with watch("resize", on_device=True):
        scores = resize(scores, (height, width))
    with watch("argmax", on_device=True):
        return labels_of(scores)


def _memory(action: Callable[[], object], device: torch.device) -> Memory:
    action()
    with watch_memory(device) as memory:
        action()
    if memory.peak_mib is not None:
        memory.peak_mib = round(memory.peak_mib, 1)
    return memory


def _from_video(
    clip: Path, paths: Sequence[Path], lr: Branch, options: InferenceOptions, device: torch.device
) -> Iterator[dict[str, Any]]:
    """Segment a video as `arseg segment` does, and without its networks: motion is its own, decoding runs ahead."""
    named = {"backbone": lr.spec.backbone, "scale": lr.spec.scale_percent / 100}
    hr_only = [path for path in paths if path.is_file()][:1]
    runs: dict[str, tuple[Sequence[Path], int]] = {"AR": (paths, options.gop)}
    if len(paths) == 2:
        runs["HR"] = hr_only, min(options.decoded_hr_frames, options.gop)
    for mode, (chosen, num_frames) in runs.items():
        segmentation = Segmentation(clip, chosen, device=str(device), max_frames=num_frames)
        with closing(iter(segmentation)) as frames:
            started = perf_counter()
            count = sum(1 for _ in frames)
            seconds = perf_counter() - started
        spent = segmentation.watch.seconds
        network = sum(spent[stage] for stage in ("hr", "lr", "fusion"))
        yield named | {
            "mode": mode,
            "frames": count,
            "with_decoding": round(count / seconds, 3),
            "networks_alone": round(count / network, 3),
            "decode_ms": round(1000 * spent["decode"] / count, 3),
            "motion_ms": round(1000 * spent["motion"] / count, 3),
            "convert_ms": round(1000 * spent["convert"] / count, 3),
            "normalize_ms": round(1000 * spent["normalize"] / count, 3),
        }


def _forms(
    backbone: str, options: InferenceOptions, device: torch.device, height: int, width: int
) -> Iterator[dict[str, Any]]:
    """Time what `arseg.models.optimize` does to a network, one step after the other, in turns."""
    with torch.random.fork_rng(devices=[]):
        trained = build_network(backbone, NUM_CLASSES, fusion=False).eval().to(device)
    without_heads = copy.deepcopy(trained)
    without_heads.runs_auxiliary = False
    folded = prepare_for_inference(trained, channels_last=False)
    networks = (trained, without_heads, folded, prepare_for_inference(trained, channels_last=True))
    for scale_percent in (100, *options.scales):
        image = to_low_resolution(random_image(height, width).to(device), scale_percent)
        times: dict[str, list[float]] = {form: [] for form in FORMS}
        with torch.inference_mode():
            for repeat in range(options.repeats + 1):
                for form, network in zip(FORMS, networks, strict=True):
                    taken = measure(partial(network, image), device, repeats=1, warmup=0)
                    if repeat:  # the first is for warming up
                        times[form] += taken.milliseconds
        for form in FORMS:
            yield {"backbone": backbone, "scale": scale_percent / 100, "form": form, **Timing(tuple(times[form])).row()}
