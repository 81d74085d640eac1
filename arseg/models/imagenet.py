"""Initial weights of a backbone: ImageNet's, a file's, or none."""

import logging
from pathlib import Path
from urllib.error import URLError

from torch import Tensor

from arseg.errors import CheckpointError
from arseg.models.checkpoint import read_tensors
from arseg.models.network import SegmentationNetwork
from arseg.models.registry import Architecture

log = logging.getLogger(__name__)


def initialize_backbone(network: SegmentationNetwork, architecture: Architecture, source: str) -> None:
    """Start a network's backbone from given weights.

    Parameters
    ----------
    network : SegmentationNetwork
        Built by `architecture`; its backbone is changed in place.
    architecture : Architecture
        Knows where the backbone lies in the network.
    source : str
        "imagenet" (torchvision's ResNet-18 weights, downloaded once into torch's cache), "none" (keep the
        random weights), or the path of a state dict of torchvision's ResNet-18.

    Raises
    ------
    CheckpointError
        If the download fails, the file cannot be read, or its weights do not fit.
    """
    if source == "none":
        log.info("backbone starts from random weights (initial_weights: none)")
        return
    state_dict = _download() if source == "imagenet" else _read(Path(source))
    try:
        architecture.load_imagenet(network, state_dict)
    except CheckpointError as error:
        raise CheckpointError(f"initial_weights {source}: {error}") from None
    log.info("backbone starts from %s", "torchvision's ImageNet weights" if source == "imagenet" else source)


def _download() -> dict[str, Tensor]:
    # torchvision is slow to import and only needed here.
    from torchvision.models import ResNet18_Weights  # noqa: PLC0415

    weights = ResNet18_Weights.IMAGENET1K_V1
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True))
    except (URLError, OSError, RuntimeError) as error:
        raise CheckpointError(
            f"initial_weights imagenet: {weights.url} could not be downloaded ({error}). Without network, "
            'set initial_weights to the path of that file fetched elsewhere, or to "none" for random weights'
        ) from error


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f'initial_weights {path}: no such file; expected "imagenet", "none" or a path')
    state_dict = read_tensors(path, "initial_weights takes a state dict of torchvision's resnet18")
    if not isinstance(state_dict, dict) or not all(isinstance(value, Tensor) for value in state_dict.values()):
        raise CheckpointError(f"initial_weights {path}: expected a plain state dict of torchvision's resnet18")
    return state_dict
