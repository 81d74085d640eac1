"""``arseg bench inference``: HR and AR-Seg frame by frame, from the networks' parts to a video and its labels."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Annotated

import torch
from cyclopts import Parameter
from cyclopts.validators import Number

from arseg.ar import AlteringResolution, ConstantResolution
from arseg.bench.examples import Size, draw_video, random_image, random_motion, write_random_checkpoints
from arseg.bench.measure import Action, core_seconds, in_milliseconds, peak_mib, time_networks, time_programs
from arseg.bench.motion import decode
from arseg.bench.report import DEFAULTS, Options, Row, benchmark, publish
from arseg.config import parse_size
from arseg.errors import ConfigError
from arseg.evaluate.complexity import gmacs_per_frame
from arseg.infer.front_end import STAGES, FrontEnd
from arseg.infer.segment import segment
from arseg.models.branch import Branch
from arseg.models.branches import load_branches
from arseg.models.device import resolve_device
from arseg.models.inference import labels_of, no_evidence, resize, to_low_resolution, warp_keyframe
from arseg.models.pixels import normalize
from arseg.models.registry import get_architecture
from arseg.motion.live import Following
from arseg.options import Count, Device
from arseg.spec import NORMALIZATIONS, PAPER_RULES, Encoding
from arseg.stopwatch import Stopwatch

LENGTH = 4
"""GOPs of the video, all alike: opening it counts little then, as in a user's video."""


@benchmark("checkpoint", size="96x64", gop=3)
def inference(
    *,
    size: str = "960x720",
    backbones: tuple[str, ...] = ("psp18", "bise18"),
    scales: tuple[Count, ...] = (50,),
    checkpoint: list[Path] | None = None,
    gop: Annotated[int, Parameter(validator=Number(gte=2))] = 12,
    codec: str = "h264",
    decoded_hr_frames: Annotated[int, Parameter(validator=Number(gte=0))] = 3,
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
    front_end_only : bool
        Measure what comes before the networks, and no network.
    """
    shape, where, rounds = parse_size(size), resolve_device(device), common.repeats
    for backbone in backbones:
        get_architecture(backbone)  # refuses unknown ones
    if front_end_only:
        backbones, checkpoint = (), None
    tables: dict[str, list[Row]] = defaultdict(list)
    with TemporaryDirectory() as name, torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        clip = draw_video(Path(name), gop, shape, Encoding(codec, gop=gop))
        clip.write_bytes(LENGTH * clip.read_bytes())
        drawn = (write_random_checkpoints(Path(name), backbone, scale) for backbone in backbones for scale in scales)
        for paths in [checkpoint] if checkpoint else drawn:
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
        title = f"before the networks: ms of processor time per frame at {size}, one thread"
        tables[title].append({"codec": codec, **_front_end(clip, LENGTH * gop, rounds)})
    publish(tables, common.output, where)


@torch.inference_mode()
def _frames(hr: Branch, lr: Branch, shape: Size, gop: int, rounds: int, device: torch.device) -> tuple[Row, Row]:
    """Time HR's frames, AR-Seg's, and the parts of the latter, in turns."""
    image, motion, evidence = (x.to(device) for x in (random_image(shape), random_motion(shape), no_evidence(*shape)))
    network, scale, alignment = lr.network, lr.spec.scale_percent, lr.spec.warp_alignment
    method = AlteringResolution(hr.network, network, scale, alignment)
    method.begin(image)
    own = network.encode(to_low_resolution(image, scale)).feature
    warped = warp_keyframe(method.feature, motion, alignment)
    fused = network.fuse(warped, own, evidence)
    scores = network.classify(fused)
    frames: dict[str, Action] = {
        "HR": lambda: labels_of(ConstantResolution(hr.network).frame(image)),
        "AR": lambda: labels_of(method.frame(image, motion, evidence)),
    }
    parts: dict[str, Action] = {
        "encode": lambda: network.encode(to_low_resolution(image, scale)),
        "warp": lambda: warp_keyframe(method.feature, motion, alignment),
        "fuse": lambda: network.fuse(warped, own, evidence),
        "classify": lambda: network.classify(fused),
        "labels": lambda: labels_of(resize(scores, shape)),
    }
    peaks = {f"{mode}_peak_MiB": peak_mib(run, device) for mode, run in frames.items()}
    times = time_networks(frames | parts, rounds)
    row: Row = {f"{mode}_{name}": ms for mode in frames for name, ms in in_milliseconds(times[mode]).items()}
    mean, least = ((row[f"HR_{name}"] + (gop - 1) * row[f"AR_{name}"]) / gop for name in ("median_ms", "min_ms"))
    network_and_size = (hr.spec.backbone, hr.network.num_classes, *shape)
    macs = [gmacs_per_frame(*network_and_size, *mode, gop, device=device) for mode in (("ar", scale), ("hr", 100))]
    row |= {
        "AR_mean_of_GOP_ms": mean,
        "AR/HR": mean / row["HR_median_ms"],
        "AR/HR_of_minima": least / row["HR_min_ms"],
        "AR/HR_of_MACs": macs[0] / macs[1],
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


def _front_end(video: Path, num_frames: int, rounds: int) -> Row:
    """Time in one thread what comes before the networks: decoding, motion, RGB and normalisation.

    The row has milliseconds of processor time per frame in the best round: of each stage, of all together, and of
    FFmpeg's decoder alone, which is the limit.
    """
    watches: list[Stopwatch] = []

    @torch.inference_mode()
    def prepare() -> None:
        watches.append(watch := Stopwatch(clock=core_seconds))
        for _, rgb in FrontEnd(str(video), Following(), PAPER_RULES, watch):
            with watch("normalize"):
                normalize(torch.from_numpy(rgb)[None], NORMALIZATIONS["camvid"])

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = time_programs({"prepare": prepare, "decode": lambda: decode(video)}, rounds, warmup=1)
    finally:
        torch.set_num_threads(threads)
    best = min((watch.seconds for watch in watches[1:]), key=lambda seconds: sum(seconds.values()))
    seconds = {stage: best[stage] for stage in (*STAGES, "normalize")}
    seconds |= {"total": sum(seconds.values()), "limit: decoding alone": times["decode"][:, 1].min()}
    return {name: 1000 * value / num_frames for name, value in seconds.items()}
