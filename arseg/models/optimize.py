"""Make a trained network faster to run, at unchanged results: batch norms go into the convolutions before them.

This is for networks that only run. Training and checkpoints keep the networks as they are built.
"""

import copy
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from arseg.models.attention.choice import is_traced
from arseg.models.network import SegmentationNetwork

PLAIN_CLASSES = frozenset({"Conv2d", "Conv2dSame", "BatchNorm2d", "BatchNormAct2d"})
"""PyTorch's classes that can be folded, and timm's: others may compute their weights, or more than the name says."""

IMAGE_SIZE = 128, 128
"""Height and width in pixels of the image that a network is looked through with."""


def prepare_for_inference(network: SegmentationNetwork, *, channels_last: bool | None = None) -> SegmentationNetwork:
    """Copy a network into a form that gives the same scores and features, but for rounding, in less time.

    Batch norms are folded, auxiliary heads are not run, and weights lie in the channels-last memory format, which the
    encoded features then have, too; the last convolution takes features in either format. See docs/inference-speed.md
    for what each is worth, and for what was tried and left out.

    Parameters
    ----------
    network : SegmentationNetwork
        Stays as it is.
    channels_last : bool, optional
        Whether to use that memory format; by default on the CPU, where it was measured.

    Returns
    -------
    prepared : SegmentationNetwork
        In evaluation mode, on the device of `network`, and without gradients. No network to train, nor to save: its
        state dict has other keys.
    """
    prepared = copy.deepcopy(network).eval().requires_grad_(False)
    fold_batch_norms(prepared)
    prepared.runs_auxiliary = False
    last = prepared.last_convolution
    if (last.kernel_size, last.stride, last.padding, last.groups) == ((1, 1), (1, 1), (0, 0), 1):
        _replace(prepared, {last: _Pointwise(last)})
    if channels_last is None:
        channels_last = next(prepared.parameters()).device.type == "cpu"
    return prepared.to(memory_format=torch.channels_last) if channels_last else prepared


def fold_batch_norms(network: SegmentationNetwork) -> int:
    """Fold each batch norm into the convolution whose output it alone reads.

    Which these are is seen by running the network on a small image. A batch norm that does not run there, runs more
    than once, or reads what something else reads too, stays; so does one of a class that computes more than the two
    do, unless it is timm's `BatchNormAct2d`, of which the activation stays.

    Parameters
    ----------
    network : SegmentationNetwork
        In evaluation mode; changed in place.

    Returns
    -------
    num_folded : int
    """
    pairs = _pairs(network)
    for norm, convolution in pairs.items():
        fused = fuse_conv_bn_eval(convolution, norm)
        convolution.weight, convolution.bias = fused.weight, fused.bias
    _replace(network, {norm: _rest_of(norm) for norm in pairs})
    return len(pairs)


def _rest_of(norm: Any) -> nn.Module:
    """Return what a batch norm does beside normalising."""
    return nn.Identity() if type(norm) is nn.BatchNorm2d else nn.Sequential(norm.drop, norm.act)


def _replace(network: nn.Module, replacements: Mapping[nn.Module, nn.Module]) -> None:
    """Put modules in the places of others, each of which may be known by several names."""
    for parent in list(network.modules()):
        for name, child in parent._modules.items():
            if child is not None and child in replacements:
                setattr(parent, name, replacements[child])


class _Pointwise(nn.Conv2d):
    """A 1x1 convolution that multiplies matrices where channels lie apart, as in what the native CReFF gives.

    On the CPU, PyTorch's own would bring such features into another layout first, which takes longer than all else.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__(convolution.in_channels, convolution.out_channels, 1, bias=convolution.bias is not None)
        self.weight, self.bias = convolution.weight, convolution.bias
        self.eval()

    def forward(self, input: Tensor) -> Tensor:
        """Transform (N, C, h, w) to (N, K, h, w)."""
        if is_traced(input) or input.device.type != "cpu" or not input.is_contiguous() or not input.numel():
            return super().forward(input)
        product = self.weight.flatten(1) @ input.flatten(2)  # (N, K, h w)
        if self.bias is not None:
            product += self.bias[:, None]
        return product.unflatten(2, input.shape[2:])


def _pairs(network: SegmentationNetwork) -> dict[nn.BatchNorm2d, nn.Conv2d]:
    """Find batch norms that read a convolution's output, and nobody else does."""
    runs: Counter[nn.Module] = Counter()
    outputs: dict[int, nn.Conv2d] = {}
    found: dict[nn.BatchNorm2d, tuple[int, nn.Conv2d]] = {}
    readers = _Readers()

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        runs[module] += 1
        if isinstance(module, nn.Conv2d):
            outputs[id(output)] = module
        elif isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and id(inputs[0]) in outputs:
            found[module] = id(inputs[0]), outputs[id(inputs[0])]

    hooks = [
        module.register_forward_hook(note) for module in network.modules() if type(module).__name__ in PLAIN_CLASSES
    ]
    parameter = next(network.parameters())
    try:
        with torch.no_grad(), readers:
            prediction = network(torch.zeros(1, 3, *IMAGE_SIZE, dtype=parameter.dtype, device=parameter.device))
    finally:
        for hook in hooks:
            hook.remove()
    readers.add(prediction)  # what the caller gets has a reader, too
    return {
        norm: convolution
        for norm, (output, convolution) in found.items()
        if runs[norm] == runs[convolution] == 1 and readers.count[output] == 1
    }


class _Readers(TorchFunctionMode):
    """Counts the operations that make a tensor of another one; keeps what they make, so that no identity comes twice.

    A dispatch mode would see more, but loads PyTorch's compiler first, which takes seconds.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[int] = Counter()
        self._kept: list[Any] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if any(isinstance(x, Tensor) for x in tree_leaves(result)):  # others ask for a shape or a dtype
            self._kept.append(result)
            self.add((args, kwargs))
        return result

    def add(self, given: Any) -> None:
        """Count one reader of each tensor in a tree."""
        self.count.update({id(x) for x in tree_leaves(given) if isinstance(x, Tensor)})
