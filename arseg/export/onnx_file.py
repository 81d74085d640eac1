"""Write a graph as an ONNX file that says what it is, so that a program needs nothing else; open one in onnxruntime."""

import importlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from arseg import __version__
from arseg.errors import ConfigError
from arseg.export.graphs import Graph
from arseg.models.branch import Branch

FORMAT_VERSION = 1
"""Of the metadata and of the graphs' inputs and outputs; bumped when programs for older files could not use them."""

OPSET = 18
"""Version of ONNX's operators: the oldest that PyTorch's exporter writes, so that older runtimes can read the files."""

PACKAGES = ("onnx", "onnx_ir", "onnxscript", "onnxruntime")
"""The optional dependencies."""


def require_packages() -> None:
    """Raise a ConfigError that says how to install the optional dependencies if one is missing."""
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ConfigError(
                f"export needs the Python packages {', '.join(PACKAGES)}, and {name} cannot be imported ({error}). "
                "Install them: pip install onnx onnxscript onnxruntime"
            ) from error


def describe(branch: Branch, role: str, size: tuple[int, int], hr: Branch | None = None) -> dict[str, Any]:
    """Return what a network is and what its classes are: builtins (docs/export.md).

    The role is "hr", "lr" or "constant"; the size is height and width of the frames; beside an LR branch is its HR
    branch.
    """
    spec = branch.spec
    found = {
        "arseg_version": __version__,
        "format_version": FORMAT_VERSION,
        "role": role,
        "height": size[0],
        "width": size[1],
        "checkpoint_sha256": branch.digest,
        "network": spec.to_dict(),
        "trained_on": branch.trained_on.to_dict(),
        # What programs need of these two, by itself.
        "backbone": spec.backbone,
        "scale_percent": spec.scale_percent,
        "class_names": spec.class_names,
        "class_colors": [cls.color for cls in spec.classes],
        "class_void": [cls.void for cls in spec.classes],
        "mean": branch.normalization.mean,
        "std": branch.normalization.std,
    }
    if hr is not None:
        found |= {
            "warp_alignment": spec.warp_alignment,
            "motion": asdict(branch.motion),
            "hr_checkpoint_sha256": hr.digest,
        }
    return found


def write_graph(path: Path, graph: Graph, example: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write a graph, in evaluation mode and on the CPU, with its weights for inputs of the example's shapes.

    The file's ``metadata_props`` say what `metadata` does: texts as they are, all else as JSON.
    """
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            graph,
            tuple(example[name] for name in graph.inputs),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            external_data=False,
            verbose=False,
        )
    assert program is not None
    # The exporter notes for each operator which lines of which files of this machine made it.
    passes: Any = importlib.import_module("onnx_ir.passes.common")
    passes.ClearMetadataAndDocStringPass()(program.model)
    program.model.metadata_props.update(
        {name: value if isinstance(value, str) else json.dumps(value) for name, value in metadata.items()}
    )
    program.save(str(path), external_data=False)


class Session:
    """A graph in onnxruntime on the CPU, with as many threads as PyTorch has; call it with inputs by name."""

    def __init__(self, path: Path) -> None:
        runtime: Any = importlib.import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._outputs = [output.name for output in self._session.get_outputs()]

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the outputs by name."""
        results = self._session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
        return dict(zip(self._outputs, map(torch.from_numpy, results), strict=True))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks about its own parts from the user."""
    loggers = {name: logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")}
    levels = {name: logger.level for name, logger in loggers.items()}
    for logger in loggers.values():
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            loggers[name].setLevel(level)
