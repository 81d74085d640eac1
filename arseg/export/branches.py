"""Export of what segments a video: the two branches of AR-Seg, or a single network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.onnx.errors import OnnxExporterError

from arseg.ar import method_of
from arseg.errors import ConfigError
from arseg.export.check import Comparison, ExportError, Frames, Outputs, compare, example_frames
from arseg.export.graphs import ConstantGraph, FusedGraph, Graph, KeyframeGraph
from arseg.export.metadata import describe
from arseg.export.onnx_file import Session, require_packages, write_graph
from arseg.files import atomic_path
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
        If a graph cannot be made, or does not compute what PyTorch does; nothing is left of the folder then.
    FileAccessError
        If the folder has something in it, or cannot be written.
    """
    require_packages()
    if output.is_file():
        raise ConfigError(f"{output}: --output is a folder, and this is a file. Name another one.")
    to_low_resolution(torch.zeros(1, 3, *size), (second or first).spec.scale_percent)  # raises if nothing would be left
    job = _Job(size, example_frames(size), report)
    with atomic_path(output) as folder:
        folder.mkdir()
        if second is None:
            job.export_constant(first, folder / "constant.onnx")
        else:
            features = job.export_keyframe(first, folder / "hr.onnx")
            job.export_fused(second, first, features, folder / "lr.onnx")


@dataclass(frozen=True)
class _Job:
    """What the files of one export have in common."""

    size: tuple[int, int]
    frames: Sequence[Frames]
    report: Callable[[Comparison], None]

    def export_constant(self, branch: Branch, path: Path) -> None:
        def reference(example: int) -> Outputs:
            image = normalize(self.frames[example].image, branch.normalization)
            return {"scores": method_of(branch).keyframe(image)}

        inputs = [{"image": example.image} for example in self.frames]
        self._export(path, ConstantGraph(branch), inputs, reference, describe(branch, "constant", self.size))

    def export_keyframe(self, branch: Branch, path: Path) -> list[Tensor]:
        """Export the HR branch; give the features of the keyframes as onnxruntime computes them."""

        def reference(example: int) -> Outputs:
            prediction = branch.network(normalize(self.frames[example].keyframe, branch.normalization))
            return {"scores": resize(prediction.scores, self.size), "feature": prediction.feature}

        inputs = [{"image": example.keyframe} for example in self.frames]
        session = self._export(path, KeyframeGraph(branch), inputs, reference, describe(branch, "hr", self.size))
        return [session(tensors)["feature"] for tensors in inputs]

    def export_fused(self, branch: Branch, hr: Branch, features: Sequence[Tensor], path: Path) -> None:
        """Export the LR branch; compare it on features of the exported HR branch, as a program will use it."""
        method = method_of(hr, branch)

        def reference(example: int) -> Outputs:
            frames = self.frames[example]
            method.begin(normalize(frames.keyframe, hr.normalization))
            return {"scores": method.frame(normalize(frames.image, branch.normalization), frames.motion_qpel)}

        inputs = [
            {"image": example.image, "keyframe_feature": feature, "motion_qpel": example.motion_qpel}
            for example, feature in zip(self.frames, features, strict=True)
        ]
        height, width = features[0].shape[-2:]
        more = {
            "warp_alignment": branch.spec.warp_alignment,
            "motion": asdict(branch.motion),
            "hr_checkpoint_sha256": hr.digest,
        }
        graph = FusedGraph(branch, self.size, (height, width))
        self._export(path, graph, inputs, reference, describe(branch, "lr", self.size, **more))

    def _export(
        self,
        path: Path,
        graph: Graph,
        inputs: Sequence[dict[str, Tensor]],
        reference: Callable[[int], Outputs],
        metadata: Mapping[str, Any],
    ) -> Session:
        """Write one file and compare it; give it as onnxruntime runs it."""
        try:
            write_graph(path, graph.eval(), inputs[0], metadata)
        except (ImportError, OnnxExporterError) as error:  # an onnxscript that PyTorch has outgrown, among others
            reason = str(error).strip().partition("\n")[0]
            raise ExportError(
                f"{path.name}: PyTorch {torch.__version__} could not export it ({reason}). No file was left. Install "
                "versions that fit together: pip install --upgrade onnx onnxscript onnxruntime"
            ) from error
        session = Session(path)
        for example, tensors in enumerate(inputs):
            what = self.frames[example].what
            self.report(compare(path.name, what, partial(session, tensors), partial(reference, example)))
        return session
