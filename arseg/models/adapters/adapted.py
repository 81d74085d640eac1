"""A foreign module as a network of AR-Seg: run up to its last convolution, which is applied apart."""

import logging
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arseg.errors import ConfigError
from arseg.fusions import BuildFusion
from arseg.models.adapters.cut import Cut, UnbuiltError, find_cut, least_side
from arseg.models.losses import cross_entropy
from arseg.models.network import Encoded, Prediction, SegmentationNetwork
from arseg.models.registry import Architecture
from arseg.models.resize import resize

LOG = logging.getLogger(__name__)

PROBED_CLASSES = 5


class _Reached(BaseException):
    """The last convolution is about to run; no ``except Exception`` of a module stops this."""


class AdaptedNetwork(SegmentationNetwork):
    """A module that segments images, and where it is cut.

    Images whose sides the module does not take are padded at the right and at the bottom, by repeating their last
    pixels; feature and scores are cropped to what belongs to the image, so that the feature lies over it as it would
    without padding.

    Parameters
    ----------
    name : str
        The network's name.
    module : nn.Module
        From images (N, 3, H, W) to scores.
    cut : Cut
        Where it is cut.
    fusion : callable, optional
        Makes the fusion that an LR branch needs.
    """

    def __init__(self, name: str, module: nn.Module, cut: Cut, fusion: BuildFusion | None = None) -> None:
        last: Any = module.get_submodule(cut.convolution)
        super().__init__(last.out_channels, last.in_channels, cut.min_training_batch)
        self.name, self.cut = name, cut
        self.network = module
        self.fuse_attention = fusion(last.in_channels) if fusion else None

    @property
    def last_convolution(self) -> nn.Conv2d:
        """The convolution from the feature to the classes."""
        return self.network.get_submodule(self.cut.convolution)  # type: ignore[return-value]

    def encode(self, image: Tensor) -> Encoded:
        """Return the feature (N, C, ceil(H / stride), ceil(W / stride)); there are no auxiliary outputs."""
        self._check_image(image)
        height, width = image.shape[-2:]
        below, right = (-side % self.cut.multiple for side in (height, width))
        if below or right:
            _tell_of_padding(self.name, self.cut.multiple, (height, width), (height + below, width + right))
            image = F.pad(image, (0, right, 0, below), mode="replicate")
        try:
            feature = self._before_last(image)
        except RuntimeError as error:
            self._refuse_small(height, width, image.device, error)
            raise
        if below or right:
            rows, columns = (int(-(-side // self.cut.stride)) for side in (height, width))
            feature = feature[..., :rows, :columns]
        return Encoded(feature, ())

    def _before_last(self, image: Tensor) -> Tensor:
        seen: list[Tensor] = []

        def note(_convolution: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen.append(inputs[0])
            if not torch.compiler.is_compiling():  # an export keeps what leads to its outputs, and takes no exception
                raise _Reached

        hook = self.last_convolution.register_forward_pre_hook(note)
        try:
            self.network(image)
        except _Reached:
            pass
        finally:
            hook.remove()
        return seen[0]

    def _refuse_small(self, height: int, width: int, device: torch.device, error: RuntimeError) -> None:
        """Raise a ConfigError if it is the size of images that the module does not take."""
        least, shortest = least_side(self.network, self.cut.multiple, device), min(height, width)
        if least is not None and shortest <= least - self.cut.multiple:
            raise ConfigError(
                f"backbone {self.name!r}: images of {width}x{height} pixels are too small for it ({error}); both sides "
                f"must have more than {least - self.cut.multiple}. Choose a scale, crops or frames that are at least "
                f"{least / shortest:.2g} times as large"
            ) from error

    def classify(self, feature: Tensor, image_size: tuple[int, int] | None = None) -> Tensor:
        """Return logits: at the image's size if the module resizes its own, otherwise at the feature's."""
        logits = self.last_convolution(feature)
        if image_size is None or self.cut.resize is None:
            return logits
        mode, align_corners = self.cut.resize
        padded = [side + -side % self.cut.multiple for side in image_size]
        if padded != [*image_size]:  # resize as the module would: the whole, then crop
            below, right = (
                int(side / self.cut.stride) - own for side, own in zip(padded, logits.shape[-2:], strict=True)
            )
            logits = F.pad(logits, (0, right, 0, below), mode="replicate")
        logits = F.interpolate(logits, size=padded, mode=mode, align_corners=align_corners)
        return logits[..., : image_size[0], : image_size[1]]


@cache
def _tell_of_padding(name: str, multiple: int, size: tuple[int, int], padded: tuple[int, int]) -> None:
    LOG.info(
        "%s takes sides that are multiples of %d: images of %dx%d pixels are padded to %dx%d",
        *(name, multiple, size[1], size[0], padded[1], padded[0]),
    )


def cross_entropy_loss(prediction: Prediction, labels: Tensor, original: bool = False) -> dict[str, Tensor]:
    """Return the cross-entropy of the scores alone."""
    height, width = labels.shape[-2:]
    return {"cross_entropy": cross_entropy(resize(prediction.scores, (height, width)), labels, original)}


def adapted(name: str, build: Callable[[int], nn.Module], convolution: str | None = None, **more: Any) -> Architecture:
    """Return the architecture of a module.

    Parameters
    ----------
    name : str
        The network's name.
    build : callable
        Makes the module for a number of classes, with weights of its own or random ones.
    convolution : str, optional
        Name of its last convolution; looked for by default.
    **more
        Other fields of the architecture.

    Raises
    ------
    ConfigError
        If it has no last convolution; see `find_cut`.
    """
    find = partial(find_cut, build, name, convolution)
    try:
        with torch.device("cpu"):  # it is run, also where the network shall have no storage
            cut = find(PROBED_CLASSES)
    except UnbuiltError:  # perhaps it loads weights, and takes their number of classes alone
        return Architecture(partial(_build, name, build, find), cross_entropy_loss, prefix="network.", **more)
    fixed = None if cut.num_classes == PROBED_CLASSES else cut.num_classes
    return Architecture(
        partial(_build, name, build, lambda _num_classes: cut),
        cross_entropy_loss,
        num_classes=fixed,
        prefix="network.",
        **more,
    )


def _build(
    name: str,
    build: Callable[[int], nn.Module],
    find: Callable[[int], Cut],
    num_classes: int,
    fusion: BuildFusion | None,
) -> AdaptedNetwork:
    device = torch.get_default_device()
    with torch.device("cpu"):
        cut = find(num_classes)
    if device.type == "meta":  # on which many modules cannot be built
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            module = build(num_classes).to(device)
    else:
        module = build(num_classes)
    network = AdaptedNetwork(name, module.float().train().requires_grad_(), cut, fusion)
    if network.num_classes != num_classes:
        raise ConfigError(
            f"backbone {name!r}: its last convolution makes {network.num_classes} classes, and {num_classes} are "
            "needed, those of the data set's sheet. Let its function build it for num_classes, its parameter"
        )
    return network
