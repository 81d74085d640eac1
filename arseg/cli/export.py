"""``arseg export``: the networks for runtimes other than PyTorch."""

import logging
from pathlib import Path

import torch

from arseg.config import parse_size
from arseg.export.branches import check_folder, export_branches
from arseg.models.branches import load_branches
from arseg.options import Output
from arseg.provenance.recording import records

LEAST_SIDE = 32
"""Pixels; the deepest features of the networks have one for 32."""


@records("export", inputs=["checkpoint"], outputs=["output"])
def export(
    checkpoint: list[Path],
    *,
    output: Output,
    size: str = "960x720",
    scale_percent: int | None = None,
) -> None:
    """Write networks as ONNX files for frames of one size, after comparing each with PyTorch in onnxruntime.

    Frames go in as RGB bytes, scores come out: docs/export.md has a complete program. A file that does not compute
    what PyTorch does is not written.

    Parameters
    ----------
    checkpoint : list of Path
        Checkpoints, or folders with some (results/demo): an LR branch and its HR branch, or a single network.
    output : Path
        Folder to write: hr.onnx and lr.onnx, or constant.onnx of a single network.
    size : str
        Size of your frames, WIDTHxHEIGHT; CamVid's by default.
    scale_percent : int
        Resolution of the LR branch or of the single network, where the folder has several.
    """
    frame_size = parse_size(size, least=LEAST_SIDE)
    check_folder(output)
    first, second = load_branches(checkpoint, torch.device("cpu"), scale_percent)
    if difference := (second or first).size_difference(frame_size[1], frame_size[0]):
        logging.getLogger(__name__).warning("--size %s: %s", size, difference)
    export_branches(first, second, frame_size, output, report=print)
    for path in sorted(output.glob("*.onnx")):
        print(f"wrote {path}")
