"""Initial weights of a backbone: ImageNet's, a file's, or none."""

import logging
import shutil
import sys
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.error import URLError
from urllib.parse import urlparse

import torch

from arseg.access import HINTS, access_error
from arseg.errors import CheckpointError, ConfigError
from arseg.files import atomic_path
from arseg.models.network import SegmentationNetwork
from arseg.models.published import read_published
from arseg.models.registry import Architecture, build_network, get_architecture

log = logging.getLogger(__name__)

MEND_CACHED = "delete this file to download it again"


def initialize_backbone(network: SegmentationNetwork, architecture: Architecture, source: str) -> None:
    """Start a network's backbone from given weights.

    Parameters
    ----------
    network : SegmentationNetwork
        Built by `architecture`; its backbone is changed in place.
    architecture : Architecture
        Knows where the backbone lies in the network, if it has one.
    source : str
        "imagenet" (torchvision's ResNet-18 weights, downloaded once into torch's cache), "none" (keep the
        random weights), or the path of a state dict of torchvision's ResNet-18.

    Raises
    ------
    ConfigError
        If weights are given to a network without a ResNet-18.
    CheckpointError
        If the download fails, the file cannot be read, or its weights do not fit.
    """
    if source == "none":
        log.info("backbone starts from random weights (initial_weights: none)")
    elif not architecture.backbone_modules:
        raise ConfigError(
            f"initial_weights {source}: {type(network).__name__} has no ResNet-18 that could start from them; "
            'set initial_weights to "none"'
        )
    elif source == "imagenet":
        _load_cached(network, architecture, _download())
        log.info("backbone starts from torchvision's ImageNet weights")
    else:
        _load_file(network, architecture, Path(source))
        log.info("backbone starts from %s", source)


def write_imagenet(output: Path) -> None:
    """Write torchvision's ImageNet weights of ResNet-18 as a file of their own.

    The file is the one that torchvision downloads, byte for byte, so that its SHA-256 is the published one. The
    download is kept in torch's cache, ``$TORCH_HOME/hub/checkpoints``.

    Parameters
    ----------
    output : Path
        File to write, usually with the suffix ``.pth``; `initialize_backbone` takes its path.

    Raises
    ------
    CheckpointError
        If the download fails, or what the cache holds is damaged or something else.
    """
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
    state_dict = read_published(path, MEND_CACHED)
    try:
        architecture.load_imagenet(network, state_dict)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}; {MEND_CACHED}") from None


def _load_file(network: SegmentationNetwork, architecture: Architecture, path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(f'initial_weights {path}: no such file; expected "imagenet", "none" or a path')
    state_dict = read_published(path, "initial_weights takes a state dict of torchvision's resnet18")
    try:
        architecture.load_imagenet(network, state_dict)
    except CheckpointError as error:
        raise CheckpointError(f"initial_weights {path}: {error}") from None
