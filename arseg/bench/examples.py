"""Networks with random weights, a drawn video and made-up motion: enough to measure speed with."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from arseg.codec.encode import encode_clip
from arseg.data.synthetic.layout import random_scene
from arseg.data.synthetic.render import render
from arseg.data.synthetic.street import make_textures
from arseg.files import file_digest
from arseg.models.checkpoint import save_checkpoint
from arseg.models.registry import build_network
from arseg.spec import Encoding, NetworkSpec, SegmentationClass, TrainedOn

NUM_CLASSES = 12
"""Those of CamVid, void included."""

BLOCK, REACH = 16, 16
"""Side of the blocks that move alike, and how far they move, in pixels."""


def write_random_checkpoints(folder: Path, backbone: str, scale_percent: int) -> list[Path]:
    """Write an HR branch and an LR branch with random weights.

    Returns
    -------
    paths : list of Path
        HR branch, LR branch.
    """
    classes = tuple(
        SegmentationClass(index, f"class {index}", (index, index, index), False) for index in range(NUM_CLASSES)
    )
    hr_spec = NetworkSpec(backbone, NUM_CLASSES, classes=classes)
    lr_spec = replace(hr_spec, fusion=True, scale_percent=scale_percent)
    hr, lr = folder / "hr.pt", folder / "lr.pt"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hr_network = build_network(backbone, NUM_CLASSES, fusion=False)
        lr_network = build_network(backbone, NUM_CLASSES, fusion=True)
    save_checkpoint(hr, hr_network, hr_spec)
    save_checkpoint(lr, lr_network, lr_spec, TrainedOn(hr_digest=file_digest(hr)))
    return [hr, lr]


def draw_frames(num_frames: int, height: int, width: int) -> NDArray[np.uint8]:
    """Draw a synthetic street video, shape (T, H, W, 3)."""
    rng = np.random.default_rng(0)
    scene = random_scene(rng, num_frames)
    textures = make_textures(scene, width, height)
    return np.stack([render(scene, textures, frame, (width, height), rng)[0] for frame in range(num_frames)])


def write_clip(path: Path, frames: NDArray[np.uint8], config: Encoding) -> Path:
    """Encode frames as one group of pictures."""
    path.write_bytes(encode_clip(frames, config).bitstream)
    return path


def random_image(height: int, width: int) -> Tensor:
    """Draw a normalised image (1, 3, H, W) of noise."""
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def random_motion(height: int, width: int) -> Tensor:
    """Draw motion of blocks by whole pixels, int16 (1, H, W, 2) in quarter pixels, as AR-Seg composes it."""
    blocks = -(-height // BLOCK), -(-width // BLOCK)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randint(-REACH, REACH + 1, (1, *blocks, 2), generator=generator)
    field = vectors.repeat_interleave(BLOCK, dim=1).repeat_interleave(BLOCK, dim=2)[:, :height, :width]
    return (4 * field).to(torch.int16)
