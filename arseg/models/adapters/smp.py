"""Networks of segmentation_models_pytorch: any of its architectures on any of its encoders, timm's included."""

from difflib import get_close_matches
from functools import cache, partial
from typing import Any

import segmentation_models_pytorch as smp  # type: ignore[import-untyped]
from torch import nn

from arseg.errors import ConfigError
from arseg.models.adapters.adapted import adapted
from arseg.models.registry import Architecture


@cache
def architecture(name: str) -> Architecture:
    """Return the architecture of ``smp/ARCHITECTURE/ENCODER``.

    Raises
    ------
    ConfigError
        If the library has no such architecture or encoder, or the two do not go together.
    """
    _, decoder, encoder = name.split("/")
    _expect(name, "architecture", decoder, smp.MODEL_ARCHITECTURES_MAPPING)
    if not encoder.startswith("tu-"):
        _expect(name, "encoder", encoder, smp.encoders.get_encoder_names(), " or tu- and the name of one of timm's")
    return adapted(name, partial(_build, name, decoder, encoder), "segmentation_head.0")


def _expect(name: str, what: str, found: str, known: Any, more: str = "") -> None:
    if found not in known:
        nearest = "".join(f" Did you mean {close!r}?" for close in get_close_matches(found, known, n=1))
        raise ConfigError(f"backbone {name!r}: {what} {found!r}: expected one of {', '.join(known)}{more}.{nearest}")


def _build(name: str, decoder: str, encoder: str, num_classes: int, weights: str | None = None) -> nn.Module:
    try:
        return smp.create_model(decoder, encoder, encoder_weights=weights, classes=num_classes)
    except Exception as error:  # timm's and the library's own, of many kinds
        raise ConfigError(
            f"backbone {name!r}: segmentation_models_pytorch cannot build it ({type(error).__name__}: {error})"
        ) from error
