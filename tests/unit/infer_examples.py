"""Videos of moving textures, and networks with random weights that tell them apart."""

import subprocess

import av
import torch
from video_examples import encode_with, moving_texture, texture

from arseg.codec.ffmpeg import find_ffmpeg
from arseg.files import file_digest
from arseg.models.checkpoint import save_checkpoint
from arseg.models.inference import no_evidence
from arseg.models.network import SegmentationNetwork
from arseg.models.pixels import normalize
from arseg.models.registry import build_network
from arseg.spec import NORMALIZATIONS, NetworkSpec, SegmentationClass, TrainedOn

HEIGHT, WIDTH = 64, 96
STEP = (3, 1)
CLASSES = ["sky", "road", "car", "void"]
NUM_CLASSES = len(CLASSES)
COLORS = [[70, 130, 180], [128, 64, 128], [0, 0, 142], [0, 0, 0]]
SEGMENTATION_CLASSES = [
    SegmentationClass(index, name, tuple(color), name == "void")
    for index, (name, color) in enumerate(zip(CLASSES, COLORS, strict=True))
]
P_ONLY = "bframes=0:ref=1:scenecut=0:keyint={gop}:min-keyint={gop}"
"""x264 as it is when motion can be taken from its streams."""


def frames_of(num_frames, height=HEIGHT, width=WIDTH, seed=0):
    return moving_texture(num_frames, height, width, STEP, seed)


def taking_turns(num_frames, period=5):
    """A moving texture, and in a third of the picture several in turn: it is most like itself a period back."""
    frames = frames_of(num_frames)
    scenes = [frames_of(num_frames, seed=seed) for seed in range(1, period + 1)]
    for number in range(num_frames):
        frames[number, :, : WIDTH // 3] = scenes[number % period][number, :, : WIDTH // 3]
    return frames


def two_scenes(num_frames):
    """Two textures that have nothing in common."""
    frames = frames_of(num_frames)
    frames[num_frames // 2 :] = texture(HEIGHT, WIDTH, 99)
    return frames


def write_video(path, frames, *options, encoder="libx264", pix_fmt="yuv420p"):
    forms = {".264": "h264", ".265": "hevc", ".ts": "mpegts", ".mkv": "matroska", ".mp4": "mp4", ".avi": "avi"}
    more = ["-movflags", "frag_keyframe+empty_moov"] if path.suffix == ".mp4" else []
    path.write_bytes(encode_with(encoder, frames, *options, *more, form=forms[path.suffix], pix_fmt=pix_fmt))
    return path


def p_only_video(path, frames, gop=6):
    return write_video(path, frames, "-x264-params", P_ONLY.format(gop=gop))


def b_picture_video(path, frames, gop=12):
    parameters = f"bframes=2:b-adapt=0:scenecut=0:keyint={gop}:min-keyint={gop}"
    return write_video(path, frames, "-x264-params", parameters)


def random_network(fusion, seed, num_classes=NUM_CLASSES, backbone="tiny") -> SegmentationNetwork:
    torch.manual_seed(seed)
    network = build_network(backbone, num_classes, fusion).eval()
    example = normalize(torch.tensor(texture(HEIGHT, WIDTH, seed))[None], NORMALIZATIONS["camvid"])
    with torch.no_grad():  # no class shall win everywhere
        feature = network.encode(example).feature
        weights = network.last_convolution.weight[:, :, 0, 0]
        weights /= feature.std()
        if isinstance(fusion, str) and fusion.startswith("gated"):  # which would be propagation
            network.fuse_attention.gate.weight.normal_(std=0.3)
            network.fuse_attention.gate.bias.zero_()
        feature = network.fuse(feature, feature, no_evidence(HEIGHT, WIDTH)) if fusion else feature
        average = weights @ feature.mean(dim=(0, 2, 3))
        if network.last_convolution.bias is None:
            weights -= average[:, None] / feature.mean(dim=(0, 2, 3)).sum()
        else:
            network.last_convolution.bias.copy_(-average)
    return network


def described(fusion, scale_percent, *, backbone="tiny", warp_alignment="published", classes=None, **trained_on):
    """What the checkpoint of a network in these tests says of itself."""
    classes = SEGMENTATION_CLASSES if classes is None else classes
    spec = NetworkSpec(
        backbone, len(classes), fusion, scale_percent, warp_alignment=warp_alignment, classes=tuple(classes)
    )
    return spec, TrainedOn(**trained_on)


def write_checkpoints(folder, fusion=True, **more):
    """An HR branch, two LR branches beside it, and a baseline; `more` is what the LR branches were trained on."""
    hr = folder / "phase1/scale100/weights.pt"
    save_checkpoint(hr, random_network(False, 1), *described(False, 100))
    digest = file_digest(hr)
    for scale in (50, 30):
        path = folder / f"phase2/scale{scale}/weights.pt"
        save_checkpoint(path, random_network(fusion, scale), *described(fusion, scale, hr_digest=digest, **more))
    save_checkpoint(folder / "phase1/scale50/weights.pt", random_network(False, 3), *described(False, 50))
    return folder


def rgb_frames(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]


def slow_video(path, frames, parameters, *options, rate=1):
    """A video of so few frames a second that it is long for them; HEVC if that stands in its name."""
    _, height, width, _ = frames.shape
    encoder, option = ("libx265", "-x265-params") if ".hevc" in path.name else ("libx264", "-x264-params")
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(rate), "-i", "-"]
    target = ["-pix_fmt", "yuv420p", "-c:v", encoder, *options, option, parameters, str(path)]
    command = [find_ffmpeg(), "-loglevel", "error", "-y", *source, *target]
    subprocess.run(command, input=frames.tobytes(), check=True)
    return path
