"""Write a graph as an ONNX file that says what it is; open one in onnxruntime."""

import importlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from arseg.errors import ConfigError
from arseg.export.graphs import Graph

OPSET = 18
"""Version of ONNX's operators: the oldest that PyTorch's exporter writes, so that older runtimes can read the files."""

PACKAGES = ("onnx", "onnx_ir", "onnxscript", "onnxruntime")
"""The optional dependencies."""


def require_packages() -> None:
    """Check that the optional dependencies are there.

    Raises
    ------
    ConfigError
        If one is missing; says how to install them.
    """
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ConfigError(
                f"export needs the Python packages {', '.join(PACKAGES)}, and {name} cannot be imported ({error}). "
                "Install them: pip install onnx onnxscript onnxruntime"
            ) from error


def write_graph(path: Path, graph: Graph, example: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write a graph.

    Parameters
    ----------
    path : Path
        File to write; weights go into it.
    graph : Graph
        In evaluation mode, on the CPU.
    example : mapping of str to Tensor
        Its inputs by name. Their shapes become those of the graph.
    metadata : mapping
        Builtins, which are written as JSON to the file's ``metadata_props``.
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
    """A graph in onnxruntime on the CPU, with as many threads as PyTorch has.

    Parameters
    ----------
    path : Path
        ONNX file.
    """

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
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
