"""What a training starts from: ImageNet's weights of a backbone, a file's, a whole network's, or none."""

import logging
import shutil
import sys
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from torch import Tensor

from arseg.access import HINTS, access_error
from arseg.errors import CheckpointError, ConfigError
from arseg.files import atomic_path, file_digest
from arseg.models.checkpoint import load_checkpoint, read_tensors
from arseg.models.network import SegmentationNetwork
from arseg.models.registry import Architecture, build_network, get_architecture
from arseg.models.state_dict import (
    COUNTER,
    FUSION,
    classifier_name,
    first_names,
    guess_network,
    is_own_checkpoint,
    network_from_state_dict,
    read_state_dict,
)

log = logging.getLogger(__name__)

MIN_SHARE = 0.25
"""Least part of a network's tensors that a file must have for the network to start from it."""

HINT_CACHED = "delete this file to download it again"


def initialize_network(network: SegmentationNetwork, backbone: str, source: str) -> dict[str, Any] | None:
    """Start a network, or its ResNet-18, from given weights.

    Parameters
    ----------
    network : SegmentationNetwork
        Changed in place.
    backbone : str
        Its name in `arseg.networks.networks`.
    source : str
        "imagenet" (torchvision's ResNet-18 weights, downloaded once into torch's cache, or what the network's library
        has for its encoder), "none" (keep the random weights), or the path of a file: a state dict of torchvision's
        ResNet-18; or a network of this backbone or, for a library's, a part of it, as a checkpoint of arseg or a plain
        state dict, of which all is taken but the layers whose number of classes differs.

    Returns
    -------
    origin : dict or None
        Of a network or encoder, the file's name and SHA-256 ("file", "sha256") if it is one, how many tensors were
        taken ("num_taken"), and the names of those that were not ("left_random"); None otherwise.

    Raises
    ------
    ConfigError
        If weights of ResNet-18 are given to a network without one.
    CheckpointError
        If the download fails, the file cannot be read, or its weights do not fit.
    """
    architecture = get_architecture(backbone)
    if source == "none":
        log.info("backbone starts from random weights (initial_weights: none)")
    elif source == "imagenet" and architecture.imagenet is not None:
        return _take(network, backbone, architecture.imagenet(), f"ImageNet weights of {backbone}'s encoder")
    elif source == "imagenet":
        _require_resnet(architecture, backbone, source)
        _load_cached(network, architecture, _download())
        log.info("backbone starts from torchvision's ImageNet weights")
    else:
        return _load_file(network, backbone, Path(source))
    return None


def write_imagenet(output: Path, backbone: str | None = None) -> None:
    """Write ImageNet weights as a file of their own: torchvision's of ResNet-18, or those of a library's encoder.

    ResNet-18's file is the one that torchvision downloads, byte for byte, so that its SHA-256 is the published one. The
    download is kept in torch's cache, ``$TORCH_HOME/hub/checkpoints``.

    Parameters
    ----------
    output : Path
        File to write, usually with the suffix ``.pth``; `initialize_network` takes its path.
    backbone : str, optional
        Network that shall start from them; by default those with a ResNet-18.

    Raises
    ------
    CheckpointError
        If the download fails, or what the cache holds is damaged or something else.
    ConfigError
        If there are none for the network.
    """
    if backbone is not None:
        architecture = get_architecture(backbone)
        if architecture.imagenet is not None:
            weights = dict(architecture.imagenet())
            with atomic_path(output) as temporary, temporary.open("wb") as file:
                torch.save(weights, file)
            return
        _require_resnet(architecture, backbone, "imagenet")
    cached = _download()
    _load_cached(build_network("bise18", 1, fusion=False), get_architecture("bise18"), cached)  # must fit a backbone
    with atomic_path(output) as temporary:
        shutil.copyfile(cached, temporary)


def _download() -> Path:
    """Fetch the weights into torch's cache, unless they are there, and give their path."""
    # torchvision is slow to import and only needed here.
    from torchvision.models import ResNet18_Weights  # noqa: PLC0415

    weights = ResNet18_Weights.IMAGENET1K_V1
    cached = Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(urlparse(weights.url).path).name
    if not cached.is_file():
        try:
            # Its hash is checked before the file gets its name in the cache.
            weights.get_state_dict(progress=sys.stderr.isatty(), check_hash=True, weights_only=True)
        except (URLError, HTTPException, OSError, RuntimeError) as error:
            if isinstance(error, OSError) and error.errno in HINTS:
                raise access_error(cached, error, writes=True) from error
            raise CheckpointError(
                f"initial_weights imagenet: {weights.url} could not be downloaded ({error}). Without network, "
                f"fetch that file elsewhere and put it at {cached}, or set initial_weights to the path of it, or to "
                '"none" for random weights'
            ) from error
    return cached


def _load_cached(network: SegmentationNetwork, architecture: Architecture, path: Path) -> None:
    # torchvision would read a cached file with the right to run what is in it, and would not check what it holds.
    state_dict = read_state_dict(path, HINT_CACHED)
    try:
        architecture.load_imagenet(network, state_dict)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}; {HINT_CACHED}") from None


def _require_resnet(architecture: Architecture, backbone: str, source: str) -> None:
    if not architecture.backbone_modules:
        raise ConfigError(
            f"initial_weights {source}: {backbone} has no ResNet-18 that could start from them; set initial_weights to "
            f'"none", or to a checkpoint of {backbone}'
        )


def _load_file(network: SegmentationNetwork, backbone: str, path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        raise CheckpointError(f'initial_weights {path}: no such file; expected "imagenet", "none" or a path')
    hint = f"initial_weights takes a state dict of torchvision's resnet18, or a checkpoint of {backbone}"
    if is_own_checkpoint(read_tensors(path, hint)):
        trained, spec, _ = load_checkpoint(path)
        if spec.backbone != backbone:
            raise CheckpointError(f"initial_weights {path}: is a checkpoint of {spec.backbone}; {hint}")
        return _take(network, backbone, trained.state_dict(), f"{path}, {_form(backbone, trained)}", path)
    state_dict = read_state_dict(path, hint)
    architecture = get_architecture(backbone)
    if architecture.takes_parts and classifier_name(backbone) not in state_dict:
        return _take(network, backbone, state_dict, f"{path}, a part of {backbone}", path)
    if "conv1.weight" not in state_dict:  # as torchvision names it, and none of the networks does
        fusion = any(name.startswith(FUSION) for name in state_dict)
        try:
            trained = network_from_state_dict(state_dict, backbone, fusion=fusion).network
        except CheckpointError as error:
            guess = guess_network(state_dict)
            likely = f"\nThis looks like {guess.description}" if guess and guess.backbone != backbone else ""
            raise CheckpointError(f"initial_weights {path}: {error}{likely}") from None
        return _take(network, backbone, trained.state_dict(), f"{path}, {_form(backbone, trained)}", path)
    _require_resnet(architecture, backbone, str(path))
    try:
        architecture.load_imagenet(network, state_dict)
    except CheckpointError as error:
        raise CheckpointError(f"initial_weights {path}: {error}") from None
    log.info("backbone starts from %s", path)
    return None


def _form(backbone: str, network: SegmentationNetwork) -> str:
    fusion = "without" if network.fuse_attention is None else "with"
    return f"{backbone} {fusion} fusion, {network.num_classes} classes"


def _take(
    network: SegmentationNetwork,
    backbone: str,
    theirs: Mapping[str, Tensor],
    described: str,
    path: Path | None = None,
) -> dict[str, Any]:
    """Copy what the tensors of a network of the same backbone, or of a part of it, have in common with this one."""
    first, own = first_names(backbone, network.num_classes), network.state_dict()
    taken = {
        name: theirs[name] for name, tensor in own.items() if name in theirs and theirs[name].shape == tensor.shape
    }
    num_taken = len({first.get(name, name) for name in taken})
    if num_taken < len(own) * MIN_SHARE:
        raise CheckpointError(
            f"initial_weights {path or 'imagenet'}: has {num_taken} of the {len(own)} tensors of {backbone}, by name "
            f"and shape; give a file of {backbone}, or of a large part of it"
        )
    network.load_state_dict(own | taken, strict=True)
    left = [name for name in own if name not in taken and first.get(name, name) == name and not name.endswith(COUNTER)]
    log.info("starts from %s: %d tensors; left random: %s", described, num_taken, ", ".join(left) or "none")
    origin = {"file": path.name, "sha256": file_digest(path)} if path else {"file": "imagenet"}
    return origin | {"num_taken": num_taken, "left_random": left}
