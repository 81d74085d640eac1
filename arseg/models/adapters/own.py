"""Anybody's module: what a function of a file or of an importable module builds."""

import importlib
import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from arseg.errors import ConfigError
from arseg.models.adapters.adapted import adapted
from arseg.models.registry import Architecture


@cache
def architecture(name: str) -> Architecture:
    """Return the architecture of ``FILE.py:FUNCTION`` or ``MODULE:FUNCTION``, perhaps with ``#CONVOLUTION``.

    Raises
    ------
    ConfigError
        If it cannot be imported, is no function of a number of classes, or what it returns cannot be cut.
    """
    where, _, convolution = name.partition("#")
    source, _, function = where.partition(":")
    try:
        made_by = getattr(
            _import_file(Path(source)) if source.endswith(".py") else importlib.import_module(source), function
        )
    except Exception as error:  # of whatever the file does
        raise ConfigError(
            f"backbone {name!r}: {function} cannot be imported from {source} ({type(error).__name__}: {error}). Name a "
            "function as FILE.py:FUNCTION, or as MODULE:FUNCTION of a module on Python's path"
        ) from error

    def build(num_classes: int) -> nn.Module:
        try:
            module: Any = made_by(num_classes)
        except Exception as error:
            raise ConfigError(
                f"backbone {name!r}: {function}({num_classes}) failed ({type(error).__name__}: {error}). It must take "
                "a number of classes and return a torch.nn.Module"
            ) from error
        if not isinstance(module, nn.Module):
            raise ConfigError(f"backbone {name!r}: {function} returned a {type(module).__name__}, no torch.nn.Module")
        return module

    return adapted(name, build, convolution or None)


def _import_file(path: Path) -> ModuleType:
    name = f"arseg_network_{path.resolve().as_posix()}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, path
    assert spec.loader is not None, path
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
