"""Anybody's module: what a function of a file or of an importable module builds."""

import importlib
from functools import cache
from typing import Any

from torch import nn

from arseg.errors import ConfigError
from arseg.models.adapters.adapted import adapted
from arseg.models.adapters.cut import UnbuiltError
from arseg.models.registry import Architecture
from arseg.networks import name_function, own_file, own_name
from arseg.plugins import import_file


@cache
def architecture(name: str) -> Architecture:
    """Return the architecture of ``FILE.py:FUNCTION`` or ``MODULE:FUNCTION``, perhaps with ``#CONVOLUTION``.

    Raises
    ------
    ConfigError
        If it cannot be imported, is no function of a number of classes, or what it returns cannot be cut.
    """
    source, function, convolution = own_name(name)
    file = own_file(name)
    try:
        module = importlib.import_module(source) if file is None else import_file(file)
    except Exception as error:  # of whatever the file does
        raise ConfigError(
            f"backbone {name!r}: {source} cannot be imported ({type(error).__name__}: {error}). Name a function as "
            "FILE.py:FUNCTION, or as MODULE:FUNCTION of a module on Python's path"
        ) from error
    if not hasattr(module, function):
        advice = f"Name one of {source}" if file is None else name_function(file)
        raise ConfigError(f"backbone {name!r}: {source} has no {function}. {advice}")
    made_by = getattr(module, function)

    def build(num_classes: int) -> nn.Module:
        try:
            network: Any = made_by(num_classes)
        except Exception as error:
            raise UnbuiltError(
                f"backbone {name!r}: {function}({num_classes}) failed ({type(error).__name__}: {error}). It must take "
                "a number of classes and return a torch.nn.Module"
            ) from error
        if not isinstance(network, nn.Module):
            raise ConfigError(f"backbone {name!r}: {function} returned a {type(network).__name__}, no torch.nn.Module")
        return network

    return adapted(name, build, convolution)
