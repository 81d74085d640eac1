"""Networks with random weights, drawn videos and made-up motion: enough to measure speed with."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from arseg.codec.encode import encode_clip
from arseg.datasets.synthetic.render import Street
from arseg.files import file_digest
from arseg.models.checkpoint import save_checkpoint
from arseg.models.registry import build_network
from arseg.spec import Encoding, NetworkSpec, SegmentationClass, TrainedOn

NUM_CLASSES = 12
"""Those of CamVid, void included."""

BLOCK, REACH = 16, 16
"""Side of the blocks that move alike, and how far they move, in pixels."""

Size = tuple[int, int]
"""Height and width."""


def write_random_checkpoints(folder: Path, backbone: str, scale_percent: int) -> list[Path]:
    """Write an HR branch and an LR branch with random weights; return their paths in this order."""
    classes = (SegmentationClass(index, f"class {index}", (index, index, index), False) for index in range(NUM_CLASSES))
    hr_spec = NetworkSpec(backbone, NUM_CLASSES, classes=tuple(classes))
    lr_spec = replace(hr_spec, fusion=True, scale_percent=scale_percent)
    hr, lr = folder / f"{backbone}-hr.pt", folder / f"{backbone}-{scale_percent}.pt"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_checkpoint(hr, build_network(backbone, NUM_CLASSES, fusion=False), hr_spec)
        trained_on = TrainedOn(hr_digest=file_digest(hr))
        save_checkpoint(lr, build_network(backbone, NUM_CLASSES, fusion=True), lr_spec, trained_on)
    return [hr, lr]


def draw_frames(num_frames: int, size: Size) -> NDArray[np.uint8]:
    """Return a synthetic street video, shape (T, H, W, 3), RGB."""
    height, width = size
    street = Street(np.random.default_rng(0), num_frames, width, height)
    return np.stack([street.render(frame)[0] for frame in range(num_frames)])


def draw_video(folder: Path, num_frames: int, size: Size, config: Encoding) -> Path:
    """Encode a synthetic street video as one closed GOP after the other; return the path of its bitstream."""
    frames, path = draw_frames(num_frames, size), folder / f"drawn.{config.codec}"
    gops = [frames[start : start + config.gop] for start in range(0, num_frames, config.gop)]
    path.write_bytes(b"".join(encode_clip(gop, config).bitstream for gop in gops))
    return path


def random_image(size: Size) -> Tensor:
    """Return a normalised image (1, 3, H, W) of noise."""
    return torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))


def random_motion(size: Size) -> Tensor:
    """Return motion of blocks by whole pixels, int16 (1, H, W, 2) in quarter pixels, as AR-Seg composes it."""
    height, width = size
    blocks = -(-height // BLOCK), -(-width // BLOCK)
    vectors = torch.randint(-REACH, REACH + 1, (1, *blocks, 2), generator=torch.Generator().manual_seed(0))
    field = vectors.repeat_interleave(BLOCK, dim=1).repeat_interleave(BLOCK, dim=2)[:, :height, :width]
    return (4 * field).to(torch.int16)
