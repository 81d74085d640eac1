"""SegFormer and other segmentation networks of Hugging Face's transformers."""

from functools import cache, partial
from typing import Any

from torch import nn
from transformers import AutoConfig, AutoModelForSemanticSegmentation, BaseImageProcessor, SegformerConfig

from arseg.errors import CheckpointError, ConfigError
from arseg.models.adapters.adapted import adapted
from arseg.models.registry import Architecture, Pretrained

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
    model = _in_hub(name)
    return adapted(name, partial(_build, name), pretrained=partial(pretrained, name, model) if model else None)


def config_of(name: str) -> Any:
    """Return transformers' configuration of a network: of a size of SegFormer, or of a model of its hub.

    Raises
    ------
    ConfigError
        If the hub has no such model, or cannot be reached.
    """
    model = _in_hub(name)
    if model is None:
        return SegformerConfig(**SEGFORMER[name.removeprefix("transformers/segformer-")])
    try:
        return AutoConfig.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise _unavailable(name, "configuration", error) from error


def pretrained(name: str, model: str) -> Pretrained:
    """Return the weights, classes and normalisation of a model of the hub.

    Raises
    ------
    ConfigError
        If they cannot be had, or the model takes images with blue first.
    CheckpointError
        If some weights are missing, as in models that were only pretrained.
    """
    try:
        module, info = AutoModelForSemanticSegmentation.from_pretrained(
            model, dtype="float32", output_loading_info=True
        )
    except (OSError, ValueError) as error:
        raise _unavailable(name, "weights", error) from error
    if missing := sorted(info["missing_keys"]):
        raise CheckpointError(
            f"backbone {name!r}: the hub's model has no weights for {len(missing)} tensors ({', '.join(missing[:3])}, "
            "...): it is not trained for semantic segmentation. Name one that is, or give weights: --weights FILE"
        )
    labels = module.config.id2label
    return Pretrained(
        module.state_dict(), tuple(labels[index] for index in sorted(labels)), _normalization(name, model)
    )


def _normalization(name: str, model: str) -> str | None:
    try:
        settings, _ = BaseImageProcessor.get_image_processor_dict(model)
    except OSError:  # a model need not have them
        return None
    if settings.get("do_flip_channel_order"):
        raise ConfigError(f"backbone {name!r}: takes images with blue first, and arseg gives them with red first")
    if not settings.get("do_normalize", True):
        return "0,0,0/1,1,1"
    numbers = (settings.get(key) for key in ("image_mean", "image_std"))
    text = "/".join(",".join(map(str, three)) for three in numbers if three)
    return text if "/" in text else None


def _in_hub(name: str) -> str | None:
    """Return the name of a model in the hub; None for a size of SegFormer."""
    model = name.removeprefix("transformers/")
    return model if "/" in model else None


def _unavailable(name: str, what: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"backbone {name!r}: its {what} cannot be had ({' '.join(str(error).split())[:300]}). Correct the "
        "name; without network, fetch it where there is one, and copy the cache that HF_HOME names"
    )


def _build(name: str, num_classes: int) -> nn.Module:
    config = config_of(name)
    config.num_labels = num_classes
    try:
        return AutoModelForSemanticSegmentation.from_config(config)
    except ValueError as error:
        raise ConfigError(f"backbone {name!r}: is no network for semantic segmentation ({error})") from error
