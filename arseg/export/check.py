"""The comparison of an exported graph with PyTorch: on noise and on a drawn street, in values, labels and time."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from arseg.codec.frame import num_blocks
from arseg.datasets.synthetic.render import Street
from arseg.errors import ArsegError
from arseg.spec import EVIDENCE

TOLERANCE = 1e-4
"""Largest difference that passes for rounding unseen, as a share of an output's largest value."""

ROUNDING_MARGIN = 4
"""A larger difference passes up to so many times PyTorch's own rounding on the same frames. Positions in a frame of
width W are rounded by W / 2^24 pixels, which costs that times the slope of what is read there, and networks pass it on:
no one bound fits all sizes. Two programs that round alike are twice as far from each other as from the exact value; as
much again is for the order of their sums."""

MAX_DIFFERING_SHARE = 1e-4
"""Share of the street's pixels whose label may be another: ties, which rounding decides."""

REPETITIONS = 3

BLOCK = 16
"""Side in pixels of the blocks of the street that move as one."""

Outputs = Mapping[str, Tensor]
"""A graph's outputs by name; its scores (1, K, H, W) are one of them."""


class ExportError(ArsegError, RuntimeError):
    """An exported graph does not compute what the network computes."""


class Frames(NamedTuple):
    """A keyframe, a frame after it, and the motion between the two."""

    what: str
    """For messages."""
    keyframe: Tensor
    """RGB, uint8, shape (1, H, W, 3)."""
    image: Tensor
    """RGB, uint8, shape (1, H, W, 3)."""
    motion_qpel: Tensor
    """From each pixel of the image to its source in the keyframe, (x, y) in int16 quarter pixels, (1, H, W, 2)."""
    evidence: Tensor
    """How far the motion can be trusted, uint8, shape (1, ceil(H / 4), ceil(W / 4), 3)."""
    labels_decide: bool
    """Whether labels must be the same: noise, on which scores are close to each other everywhere, only tries values."""


@dataclass(frozen=True)
class Comparison:
    """What was found for one graph on one kind of frames."""

    graph: str
    """Name of the file."""
    what: str
    """Kind of frames."""
    difference: float
    """Largest difference of any output, as a share of that output's largest value."""
    differing_share: float
    """Share of the pixels that get another label."""
    onnxruntime_ms: float
    """Median time of a frame."""
    pytorch_ms: float
    """Median time of a frame."""

    def __str__(self) -> str:
        return (
            f"{self.graph} on {self.what}: outputs differ by {self.difference:.1e} of their largest value, labels on "
            f"{self.differing_share:.3%} of the pixels; onnxruntime {self.onnxruntime_ms:.0f} ms, PyTorch "
            f"{self.pytorch_ms:.0f} ms"
        )


def example_frames(size: tuple[int, int]) -> tuple[Frames, Frames]:
    """Return the inputs of the comparison for a size (height, width): always the same.

    The first are noise with motion that points anywhere, also out of the frame; the second, a synthetic street whose
    blocks move outwards by whole pixels, as a codec's do when the camera drives.
    """
    height, width = size
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    reach = 4 * max(size) // 8  # an eighth of the frame
    anywhere = rng.integers(-reach, reach + 1, (height, width, 2), dtype=np.int16)
    blocks_and_counts = num_blocks(height), num_blocks(width), len(EVIDENCE)
    evidence = _batch(np.random.default_rng(1).integers(0, 12, blocks_and_counts, dtype=np.uint8))
    noise = Frames("noise", _batch(images[0]), _batch(images[1]), _batch(anywhere), evidence, labels_decide=False)

    drive = Street(rng, 12, width, height)
    keyframe, image = (drive.render(frame)[0] for frame in (0, 11))
    blocks = [np.arange(side) // BLOCK * BLOCK + BLOCK // 2 - side / 2 for side in (width, height)]
    outwards = -0.06 * np.stack(np.meshgrid(*blocks), axis=-1)  # (H, W, 2), pixels
    motion_qpel = 4 * np.rint(outwards).astype(np.int16)
    street = Frames("a street", _batch(keyframe), _batch(image), _batch(motion_qpel), evidence, labels_decide=True)
    return noise, street


def compare(
    graph: str, frames: Frames, run: Callable[[], Outputs], reference: Callable[[torch.dtype], Outputs]
) -> Comparison:
    """Compare what a graph and PyTorch make of the same frames, and how long they take.

    `run` returns the graph's outputs; `reference` PyTorch's, computed in float32 or, to see what rounding does, in
    float64. An ExportError says that outputs differ by more than rounding, or too many labels do.
    """
    with torch.inference_mode():
        found, onnxruntime_ms = _timed(run)
        expected, pytorch_ms = _timed(lambda: reference(torch.float32))
        difference, tolerance = _difference(found, expected), TOLERANCE
        if difference > TOLERANCE:
            tolerance = max(TOLERANCE, ROUNDING_MARGIN * _difference(expected, reference(torch.float64)))
    if not difference <= tolerance:  # which also refuses what is not a number
        raise ExportError(
            f"{graph}: on {frames.what}, onnxruntime's outputs differ from PyTorch's by {difference:.1e} of their "
            f"largest value, and no more than {tolerance:.1e} is rounding. It was not written. Try other versions "
            "of torch, onnxscript and onnxruntime, and report this with theirs"
        )
    labels = (outputs["scores"].argmax(dim=1) for outputs in (found, expected))
    differing_share = torch.ne(*labels).float().mean().item()
    if frames.labels_decide and differing_share > MAX_DIFFERING_SHARE:
        raise ExportError(
            f"{graph}: on {frames.what}, {differing_share:.3%} of the pixels have another label in onnxruntime than in "
            f"PyTorch, and no more than {MAX_DIFFERING_SHARE:.2%} may. It was not written. The scores of its classes "
            "may be too close to each other: arseg evaluate tells whether the network is trained"
        )
    return Comparison(graph, frames.what, difference, differing_share, onnxruntime_ms, pytorch_ms)


def _batch(array: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(array)[None]


def _difference(found: Outputs, expected: Outputs) -> float:
    """Return the largest difference of any output, as a share of that output's largest value."""
    return torch.tensor([_share(found[name], expected[name]) for name in expected]).max().item()  # NaN if one is


def _share(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape:
        return float("inf")
    scale = expected.abs().max().clamp(min=torch.finfo(torch.float32).tiny)
    return ((found - expected).abs().max() / scale).item()


def _timed(run: Callable[[], Outputs]) -> tuple[Outputs, float]:
    outputs = run()  # also warms up
    times = []
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - started))
    return outputs, median(times)
