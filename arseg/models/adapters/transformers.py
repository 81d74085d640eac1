"""SegFormer and other segmentation networks of Hugging Face's transformers."""

from functools import cache, partial
from typing import Any

from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSemanticSegmentation, SegformerConfig, SegformerModel

from arseg.errors import CheckpointError, ConfigError
from arseg.models.adapters.adapted import adapted
from arseg.models.registry import Architecture

SEGFORMER: dict[str, dict[str, Any]] = {
    name: {"depths": depths, "hidden_sizes": [32, 64, 160, 256] if name == "b0" else [64, 128, 320, 512]}
    | {"decoder_hidden_size": 256 if name in ("b0", "b1") else 768}
    for name, depths in {
        "b0": [2, 2, 2, 2],
        "b1": [2, 2, 2, 2],
        "b2": [3, 4, 6, 3],
        "b3": [3, 4, 18, 3],
        "b4": [3, 8, 27, 3],
        "b5": [3, 6, 40, 3],
    }.items()
}
"""Sizes of Xie et al., "SegFormer", NeurIPS 2021, table 7."""


@cache
def architecture(name: str) -> Architecture:
    """Return the architecture of ``transformers/segformer-b0`` or ``transformers/ORGANISATION/MODEL``.

    Raises
    ------
    ConfigError
        If the model's configuration cannot be had, or it is none for semantic segmentation.
    """
    own = name.removeprefix("transformers/segformer-")
    imagenet = partial(_imagenet, own) if own in SEGFORMER else None
    return adapted(name, partial(_build, name), takes_parts=True, imagenet=imagenet)


def _imagenet(size: str) -> dict[str, Tensor]:
    """Return the authors' ImageNet weights of a SegFormer's encoder, from the hub or its cache."""
    model = f"nvidia/mit-{size}"
    try:
        weights = SegformerModel.from_pretrained(model).state_dict()
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"initial_weights imagenet: {model} cannot be had ({' '.join(str(error).split())[:300]}). Without network, "
            "fetch it where there is one, and copy the cache that HF_HOME names"
        ) from error
    return {f"network.segformer.{key}": tensor for key, tensor in weights.items()}


def config_of(name: str) -> Any:
    """Return transformers' configuration of a network: of a size of SegFormer, or of a model of its hub.

    Raises
    ------
    ConfigError
        If the hub has no such model, or cannot be reached.
    """
    model = name.removeprefix("transformers/")
    if "/" not in model:
        return SegformerConfig(**SEGFORMER[model.removeprefix("segformer-")])
    try:
        return AutoConfig.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"backbone {name!r}: its configuration cannot be had ({' '.join(str(error).split())[:300]}). Correct the "
            "name; without network, fetch it where there is one, and copy the cache that HF_HOME names"
        ) from error


def _build(name: str, num_classes: int) -> nn.Module:
    config = config_of(name)
    config.num_labels = num_classes
    try:
        return AutoModelForSemanticSegmentation.from_config(config)
    except ValueError as error:
        raise ConfigError(f"backbone {name!r}: is no network for semantic segmentation ({error})") from error
