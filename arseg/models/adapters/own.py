"""Anybody's module: what a function of a file or of an importable module builds."""

import importlib
from functools import cache
from pathlib import Path
from typing import Any

from torch import nn

from arseg.errors import ConfigError
from arseg.models.adapters.adapted import adapted
from arseg.models.adapters.cut import UnbuiltError
from arseg.models.registry import Architecture
from arseg.plugins import import_file


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
            import_file(Path(source)) if source.endswith(".py") else importlib.import_module(source), function
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
            raise UnbuiltError(
                f"backbone {name!r}: {function}({num_classes}) failed ({type(error).__name__}: {error}). It must take "
                "a number of classes and return a torch.nn.Module"
            ) from error
        if not isinstance(module, nn.Module):
            raise ConfigError(f"backbone {name!r}: {function} returned a {type(module).__name__}, no torch.nn.Module")
        return module

    return adapted(name, build, convolution or None)
