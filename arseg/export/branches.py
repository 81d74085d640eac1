"""Export of what segments a video: the two branches of AR-Seg, or a single network."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.onnx.errors import OnnxExporterError

from arseg.ar import AlteringResolution, Method, method_of
from arseg.errors import ConfigError
from arseg.export.check import Comparison, ExportError, Outputs, compare, example_frames
from arseg.export.graphs import ConstantGraph, FusedGraph, Graph, KeyframeGraph
from arseg.export.onnx_file import Session, describe, require_packages, write_graph
from arseg.files import atomic_path, refuse_filled
from arseg.models.branch import Branch
from arseg.models.inference import to_low_resolution
from arseg.models.pixels import normalize

Reference = Callable[[int, torch.dtype], Outputs]
"""What PyTorch computes in a dtype from the frames of an example."""


def export_branches(
    first: Branch,
    lr: Branch | None,
    size: tuple[int, int],
    output: Path,
    report: Callable[[Comparison], None] = lambda comparison: None,
) -> None:
    """Write the networks of one method as ONNX files, if each computes what PyTorch does.

    Parameters
    ----------
    first, lr : Branch
        HR branch and LR branch of AR-Seg, on the CPU; or a network that sees every frame, and None.
    size : tuple of int
        Height and width of the frames that the files are for.
    output : Path
        Folder to write: ``hr.onnx`` and ``lr.onnx``, or ``constant.onnx``.
    report : callable
        Told what each comparison found, two for each file.

    Raises
    ------
    ConfigError
        If packages are missing, or nothing would be left of a side of the frames in low resolution.
    ExportError
        If a graph cannot be made, or does not compute what PyTorch does. There is no file of it then; a file that was
        written before stays.
    FileAccessError
        If the folder has something in it, or cannot be written.
    """
    require_packages()
    check_folder(output)
    to_low_resolution(torch.zeros(1, 3, *size), (lr or first).spec.scale_percent)  # raises if nothing would be left
    frames = example_frames(size)

    def image(pixels: Tensor, dtype: torch.dtype) -> Tensor:
        return normalize(pixels, first.normalization).to(dtype)

    @cache  # a keyframe is encoded once, before times are taken
    def method(example: int, dtype: torch.dtype) -> Method:
        begun = method_of(_in(dtype, first), None if lr is None else _in(dtype, lr))
        begun.begin(image(frames[example].keyframe, dtype))
        return begun

    def keyframe(example: int, dtype: torch.dtype) -> Outputs:
        chosen = method(example, dtype)
        scores = chosen.keyframe(image(frames[example].keyframe, dtype))
        return {"scores": scores} | ({"feature": chosen.feature} if isinstance(chosen, AlteringResolution) else {})

    def frame(example: int, dtype: torch.dtype) -> Outputs:
        tried = frames[example]
        return {"scores": method(example, dtype).frame(image(tried.image, dtype), tried.motion_qpel, tried.evidence)}

    def export(
        name: str, graph: Graph, inputs: Sequence[Mapping[str, Tensor]], reference: Reference, metadata: dict[str, Any]
    ) -> Session:
        """Write one file, if it passes the comparison; return it as onnxruntime runs it."""
        with atomic_path(output / name) as temporary:
            try:
                write_graph(temporary, graph.eval(), inputs[0], metadata)
            except (ImportError, OnnxExporterError) as error:  # an onnxscript that PyTorch has outgrown, among others
                reason = str(error).strip().partition("\n")[0]
                raise ExportError(
                    f"{name}: PyTorch {torch.__version__} could not export it ({reason}). It was not written. "
                    "Install versions that fit together: pip install --upgrade onnx onnxscript onnxruntime"
                ) from error
            session = Session(temporary)
            for example, tensors in enumerate(inputs):
                run = partial(session, tensors)
                report(compare(name, frames[example], run, partial(reference, example)))
        return session

    keyframes = [{"image": example.keyframe} for example in frames]
    if lr is None:
        export("constant.onnx", ConstantGraph(first), keyframes, keyframe, describe(first, "constant", size))
        return
    hr_session = export("hr.onnx", KeyframeGraph(first), keyframes, keyframe, describe(first, "hr", size))
    # The LR branch is compared on features of the exported HR branch, as a program will use it.
    features = [hr_session(tensors)["feature"] for tensors in keyframes]
    height, width = features[0].shape[-2:]
    fused = FusedGraph(lr, (height, width))
    inputs = []
    for example, feature in zip(frames, features, strict=True):
        tensors = example._asdict() | {"keyframe_feature": feature}
        inputs.append({name: tensors[name] for name in fused.inputs})
    export("lr.onnx", fused, inputs, frame, describe(lr, "lr", size, first))


def check_folder(output: Path) -> None:
    """Refuse what cannot be the folder of an export: a file, or one that has something in it."""
    if output.is_file():
        raise ConfigError(f"{output}: --output is a folder, and this is a file. Name another one.")
    refuse_filled(output)


def _in(dtype: torch.dtype, branch: Branch) -> Branch:
    return branch if dtype == torch.float32 else replace(branch, network=deepcopy(branch.network).to(dtype))
