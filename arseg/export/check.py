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

from arseg.data.synthetic.render import Street
from arseg.errors import ArsegError

TOLERANCE = 1e-4
"""Largest difference that passes for rounding, as a share of an output's largest value."""

MAX_DIFFERING_SHARE = 1e-4
"""Share of the pixels whose label may be another: ties, which rounding decides."""

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
    """Make the inputs of the comparison: always the same for a size.

    Parameters
    ----------
    size : tuple of int
        Height and width.

    Returns
    -------
    noise, street : Frames
        Noise with motion that points anywhere, also out of the picture; a synthetic street whose blocks move outwards
        by whole pixels, as a codec's do when the camera drives.
    """
    height, width = size
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    reach = 4 * max(size) // 8  # an eighth of the picture
    anywhere = rng.integers(-reach, reach + 1, (height, width, 2), dtype=np.int16)
    noise = Frames("noise", _batch(pictures[0]), _batch(pictures[1]), _batch(anywhere))

    drive = Street(rng, 12, width, height)
    keyframe, image = (drive.render(frame)[0] for frame in (0, 11))
    blocks = [np.arange(side) // BLOCK * BLOCK + BLOCK // 2 - side / 2 for side in (width, height)]
    outwards = -0.06 * np.stack(np.meshgrid(*blocks), axis=-1)  # (H, W, 2), pixels
    motion_qpel = 4 * np.rint(outwards).astype(np.int16)
    return noise, Frames("a street", _batch(keyframe), _batch(image), _batch(motion_qpel))


def compare(graph: str, what: str, run: Callable[[], Outputs], reference: Callable[[], Outputs]) -> Comparison:
    """Compare what a graph and PyTorch make of the same frames, and how long they take.

    Parameters
    ----------
    graph, what : str
        Names for the report.
    run, reference : callable
        Give the outputs of the one and of the other.

    Returns
    -------
    comparison : Comparison

    Raises
    ------
    ExportError
        If the outputs differ by more than rounding, or too many labels do.
    """
    with torch.inference_mode():
        found, onnxruntime_ms = _timed(run)
        expected, pytorch_ms = _timed(reference)
    difference = max(_difference(found[name], expected[name]) for name in expected)
    if not difference <= TOLERANCE:  # which also refuses what is not a number
        raise ExportError(
            f"{graph}: on {what}, onnxruntime's outputs differ from PyTorch's by {difference:.1e} of their largest "
            f"value, and no more than {TOLERANCE:.0e} is rounding. No file was left. Try other versions of torch, "
            "onnxscript and onnxruntime, and report this with theirs"
        )
    labels = (outputs["scores"].argmax(dim=1) for outputs in (found, expected))
    differing_share = torch.ne(*labels).float().mean().item()
    if differing_share > MAX_DIFFERING_SHARE:
        raise ExportError(
            f"{graph}: on {what}, {differing_share:.3%} of the pixels have another label in onnxruntime than in "
            f"PyTorch, and no more than {MAX_DIFFERING_SHARE:.2%} may. No file was left. The scores of its classes "
            "may be too close to each other: arseg evaluate tells whether the network is trained"
        )
    return Comparison(graph, what, difference, differing_share, onnxruntime_ms, pytorch_ms)


def _batch(array: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(array)[None]


def _difference(found: Tensor, expected: Tensor) -> float:
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
