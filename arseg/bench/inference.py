"""``arseg bench inference``: HR and AR-Seg frame by frame, from the networks' parts to a video and its labels."""

import copy
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Annotated

import torch
from cyclopts import Parameter
from cyclopts.validators import Number

from arseg.ar import AlteringResolution, ConstantResolution
from arseg.bench.examples import (
    NUM_CLASSES,
    draw_frames,
    random_image,
    random_motion,
    write_random_checkpoints,
    write_video,
)
from arseg.bench.front_end import front_end_row
from arseg.bench.measure import Action, in_milliseconds, peak_mib, time_networks
from arseg.bench.report import DEFAULTS, Options, Row, benchmark, publish
from arseg.config import parse_size
from arseg.errors import ConfigError
from arseg.evaluate.complexity import gmacs_per_frame
from arseg.infer.front_end import STAGES
from arseg.infer.segment import segment
from arseg.models.branch import Branch
from arseg.models.branches import load_branches
from arseg.models.device import resolve_device
from arseg.models.inference import labels_of, resize, to_low_resolution, warp_keyframe
from arseg.models.optimize import prepare_for_inference
from arseg.models.registry import build_network, get_architecture
from arseg.options import Count, Device
from arseg.spec import Encoding

Size = tuple[int, int]
"""Height and width."""

LENGTH = 4
"""GOPs of the video, all alike: opening it counts little then, as in a user's video."""


@benchmark("checkpoint")
def inference(
    *,
    size: str = "960x720",
    backbones: tuple[str, ...] = ("psp18", "bise18"),
    scales: tuple[Count, ...] = (50,),
    checkpoint: list[Path] | None = None,
    gop: Annotated[int, Parameter(validator=Number(gte=2))] = 12,
    codec: str = "h264",
    decoded_hr_frames: Annotated[int, Parameter(validator=Number(gte=0))] = 3,
    forms: bool = False,
    front_end_only: bool = False,
    device: Device = "auto",
    common: Options = DEFAULTS,
) -> None:
    """Time frames of HR and of AR-Seg: the networks, their parts, and a video from its bitstream to its labels.

    Where the machine does other things as well, the ratio of the minima says more than that of the medians.

    Parameters
    ----------
    size : str
        WIDTHxHEIGHT of the frames.
    backbones : tuple of str
        Architectures, with random weights.
    scales : tuple of int
        Resolutions of the LR branch, in percent.
    checkpoint : list of Path
        An LR branch and its HR branch, or a folder with them, in place of random weights.
    gop : int
        Frames from one keyframe to the next.
    codec : str
        Of the video that is decoded.
    decoded_hr_frames : int
        Frames of that video which HR segments alone; 0 leaves segmenting the video out.
    forms : bool
        Measure each optimisation of the networks alone as well.
    front_end_only : bool
        Measure what comes before the networks, and no network.
    """
    rounds = common.repeats
    if common.quick:
        size, gop, rounds, decoded_hr_frames = "96x64", 3, 1, min(1, decoded_hr_frames)
    shape, where = parse_size(size), resolve_device(device)
    for backbone in backbones:
        get_architecture(backbone)  # refuses unknown ones
    tables: dict[str, list[Row]] = defaultdict(list)
    with TemporaryDirectory() as name, torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        folder = Path(name)
        clip = write_video(folder / f"clip.{codec}", draw_frames(gop, *shape), Encoding(codec, gop=gop))
        clip.write_bytes(LENGTH * clip.read_bytes())
        choices = [checkpoint] if checkpoint else _random(folder, backbones, scales)
        for paths in [] if front_end_only else choices:
            hr, lr = load_branches(paths, where)
            if lr is None:
                raise ConfigError("--checkpoint: name an LR branch and its HR branch; there is a single network")
            named = {"backbone": lr.spec.backbone, "scale": lr.spec.scale_percent / 100}
            frames, parts = _frames(hr, lr, shape, gop, rounds, where)
            tables[f"ms per frame at {size}, GOP {gop}"].append(named | frames)
            tables["median ms of the parts of a non-keyframe"].append(named | parts)
            if decoded_hr_frames:
                rows = _from_video(clip, paths, gop, decoded_hr_frames, device)
                tables[f"frames per second from {codec} to labels"] += [named | row for row in rows]
        for backbone in backbones if forms and not front_end_only else ():
            tables["ms of the network alone, by form"] += _forms(backbone, scales, shape, rounds, where)
        title = f"before the networks: ms of processor time per frame at {size}, one thread"
        tables[title].append({"codec": codec, **front_end_row(clip, LENGTH * gop, rounds)})
    publish(tables, common.output, where)


def _random(folder: Path, backbones: Sequence[str], scales: Sequence[int]) -> Iterator[list[Path]]:
    for backbone in backbones:
        for scale_percent in scales:
            yield write_random_checkpoints(folder, backbone, scale_percent)


@torch.inference_mode()
def _frames(hr: Branch, lr: Branch, shape: Size, gop: int, rounds: int, device: torch.device) -> tuple[Row, Row]:
    """Time HR's frames, AR-Seg's, and the parts of the latter, in turns."""
    image, motion = random_image(*shape).to(device), random_motion(*shape).to(device)
    network, scale, alignment = lr.network, lr.spec.scale_percent, lr.spec.warp_alignment
    method = AlteringResolution(hr.network, network, scale, alignment)
    method.begin(image)
    own = network.encode(to_low_resolution(image, scale)).feature
    warped = warp_keyframe(method.feature, motion, alignment)
    fused = network.fuse(warped, own)
    scores = network.classify(fused)
    frames: dict[str, Action] = {
        "HR": lambda: labels_of(ConstantResolution(hr.network).frame(image)),
        "AR": lambda: labels_of(method.frame(image, motion)),
    }
    parts: dict[str, Action] = {
        "encode": lambda: network.encode(to_low_resolution(image, scale)),
        "warp": lambda: warp_keyframe(method.feature, motion, alignment),
        "fuse": lambda: network.fuse(warped, own),
        "classify": lambda: network.classify(fused),
        "labels": lambda: labels_of(resize(scores, shape)),
    }
    peaks = {f"{mode}_peak_MiB": peak_mib(run, device) for mode, run in frames.items()}
    times = time_networks(frames | parts, rounds)
    row: Row = {f"{mode}_{name}": ms for mode in frames for name, ms in in_milliseconds(times[mode]).items()}
    mean, least = ((row[f"HR_{name}"] + (gop - 1) * row[f"AR_{name}"]) / gop for name in ("median_ms", "min_ms"))
    count = (hr.spec.backbone, hr.network.num_classes, *shape)
    row |= {
        "AR_mean_of_GOP_ms": mean,
        "AR/HR": mean / row["HR_median_ms"],
        "AR/HR_of_minima": least / row["HR_min_ms"],
        "AR/HR_of_MACs": gmacs_per_frame(*count, "ar", scale, gop, device=device)
        / gmacs_per_frame(*count, "hr", 100, gop, device=device),
        "keyframe/mean": row["HR_median_ms"] / mean,
    }
    return row | peaks, {name: 1000 * times[name].median for name in parts}


def _from_video(clip: Path, paths: Sequence[Path], num_frames: int, hr_frames: int, device: str) -> Iterator[Row]:
    """Segment a video as `arseg segment` does, and without its networks: motion is its own, decoding runs ahead."""
    for mode, chosen, most in (("AR", paths, num_frames), ("HR", paths[:1], hr_frames))[: len(paths)]:
        segmentation = segment(clip, chosen, device=device, max_frames=most)
        with closing(iter(segmentation)) as segmented:
            started = perf_counter()
            count = sum(1 for _ in segmented)
            row = {"mode": mode, "frames": count, "with_decoding": count / (perf_counter() - started)}
        spent = segmentation.watch.seconds
        row["networks_alone"] = count / sum(spent[stage] for stage in ("hr", "lr", "fusion"))
        yield row | {f"{stage}_ms": 1000 * spent[stage] / count for stage in (*STAGES, "normalize")}


@torch.inference_mode()
def _forms(backbone: str, scales: Sequence[int], shape: Size, rounds: int, device: torch.device) -> Iterator[Row]:
    """Time what `arseg.models.optimize` does to a network, one step after the other, in turns."""
    with torch.random.fork_rng(devices=[]):
        trained = build_network(backbone, NUM_CLASSES, fusion=False).eval().to(device)
    without_heads = copy.deepcopy(trained)
    without_heads.runs_auxiliary = False
    networks = {
        "as trained": trained,
        "without auxiliary heads": without_heads,
        "folded, too": prepare_for_inference(trained, channels_last=False),
        "channels-last, too": prepare_for_inference(trained, channels_last=True),
    }
    for scale_percent in (100, *scales):
        image = to_low_resolution(random_image(*shape).to(device), scale_percent)
        times = time_networks({form: partial(network, image) for form, network in networks.items()}, rounds)
        for form, measured in times.items():
            yield {"backbone": backbone, "scale": scale_percent / 100, "form": form, **in_milliseconds(measured)}
