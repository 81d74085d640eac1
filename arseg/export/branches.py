"""Export of what segments a video: the two branches of AR-Seg, or a single network."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.onnx.errors import OnnxExporterError

from arseg.ar import Method, method_of
from arseg.errors import ConfigError
from arseg.export.check import Comparison, ExportError, Frames, Outputs, compare, example_frames
from arseg.export.graphs import ConstantGraph, FusedGraph, Graph, KeyframeGraph
from arseg.export.metadata import describe
from arseg.export.onnx_file import Session, require_packages, write_graph
from arseg.files import atomic_path, refuse_filled
from arseg.models.branch import Branch
from arseg.models.inference import to_low_resolution
from arseg.models.pixels import normalize
from arseg.models.resize import resize


def export_branches(
    first: Branch,
    second: Branch | None,
    size: tuple[int, int],
    output: Path,
    report: Callable[[Comparison], None] = lambda comparison: None,
) -> None:
    """Write the networks of one method as ONNX files, if each computes what PyTorch does.

    Parameters
    ----------
    first, second : Branch
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
    to_low_resolution(torch.zeros(1, 3, *size), (second or first).spec.scale_percent)  # raises if nothing would be left
    job = _Job(size, example_frames(size), report)
    if second is None:
        job.export_constant(first, output / "constant.onnx")
    else:
        features = job.export_keyframe(first, output / "hr.onnx")
        job.export_fused(second, first, features, output / "lr.onnx")


def check_folder(output: Path) -> None:
    """Refuse what cannot be the folder of an export.

    Raises
    ------
    ConfigError
        If it is a file.
    FileAccessError
        If it has something in it.
    """
    if output.is_file():
        raise ConfigError(f"{output}: --output is a folder, and this is a file. Name another one.")
    refuse_filled(output)


@dataclass(frozen=True)
class _Job:
    """What the files of one export have in common."""

    size: tuple[int, int]
    frames: Sequence[Frames]
    report: Callable[[Comparison], None]

    def export_constant(self, branch: Branch, path: Path) -> None:
        def reference(example: int, dtype: torch.dtype) -> Outputs:
            image = normalize(self.frames[example].image, branch.normalization).to(dtype)
            return {"scores": method_of(_in(dtype, branch)).keyframe(image)}

        inputs = [{"image": example.image} for example in self.frames]
        self._export(path, ConstantGraph(branch), inputs, reference, describe(branch, "constant", self.size))

    def export_keyframe(self, branch: Branch, path: Path) -> list[Tensor]:
        """Export the HR branch; return the features of the keyframes as onnxruntime computes them."""

        def reference(example: int, dtype: torch.dtype) -> Outputs:
            keyframe = normalize(self.frames[example].keyframe, branch.normalization).to(dtype)
            prediction = _in(dtype, branch).network(keyframe)
            return {"scores": resize(prediction.scores, self.size), "feature": prediction.feature}

        inputs = [{"image": example.keyframe} for example in self.frames]
        session = self._export(path, KeyframeGraph(branch), inputs, reference, describe(branch, "hr", self.size))
        return [session(tensors)["feature"] for tensors in inputs]

    def export_fused(self, branch: Branch, hr: Branch, features: Sequence[Tensor], path: Path) -> None:
        """Export the LR branch; compare it on features of the exported HR branch, as a program will use it."""

        @cache  # the keyframe is encoded once, before times are taken
        def method(example: int, dtype: torch.dtype) -> Method:
            begun = method_of(_in(dtype, hr), _in(dtype, branch))
            begun.begin(normalize(self.frames[example].keyframe, hr.normalization).to(dtype))
            return begun

        def reference(example: int, dtype: torch.dtype) -> Outputs:
            frames = self.frames[example]
            image = normalize(frames.image, branch.normalization).to(dtype)
            return {"scores": method(example, dtype).frame(image, frames.motion_qpel)}

        inputs = [
            {"image": example.image, "keyframe_feature": feature, "motion_qpel": example.motion_qpel}
            for example, feature in zip(self.frames, features, strict=True)
        ]
        height, width = features[0].shape[-2:]
        graph = FusedGraph(branch, (height, width))
        self._export(path, graph, inputs, reference, describe(branch, "lr", self.size, hr))

    def _export(
        self,
        path: Path,
        graph: Graph,
        inputs: Sequence[dict[str, Tensor]],
        reference: Callable[[int, torch.dtype], Outputs],
        metadata: Mapping[str, Any],
    ) -> Session:
        """Write one file, if it passes the comparison; return it as onnxruntime runs it."""
        with atomic_path(path) as temporary:
            try:
                write_graph(temporary, graph.eval(), inputs[0], metadata)
            except (ImportError, OnnxExporterError) as error:  # an onnxscript that PyTorch has outgrown, among others
                reason = str(error).strip().partition("\n")[0]
                raise ExportError(
                    f"{path.name}: PyTorch {torch.__version__} could not export it ({reason}). It was not written. "
                    "Install versions that fit together: pip install --upgrade onnx onnxscript onnxruntime"
                ) from error
            session = Session(temporary)
            for example, tensors in enumerate(inputs):
                run = partial(session, tensors)
                self.report(compare(path.name, self.frames[example], run, partial(reference, example)))
        return session


def _in(dtype: torch.dtype, branch: Branch) -> Branch:
    return branch if dtype == torch.float32 else replace(branch, network=deepcopy(branch.network).to(dtype))
