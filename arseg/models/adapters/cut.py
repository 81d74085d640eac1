"""Where a foreign module is cut: its last convolution, found and checked by running it on noise."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from arseg.errors import ConfigError

MULTIPLES = (1, 2, 4, 8, 14, 16, 28, 32, 64)
"""What the sides of an image may have to be multiples of; the least that works is taken."""

FIXED_SIDES = (224, 256, 384, 448, 512, 518, 640, 768, 1024)
"""Sides of squares that are tried where none works, to say which size does."""

TOLERANCE = 1e-4
"""Largest difference from the module's own output that passes for rounding, as a share of its largest value."""

PROBED_SIDE = 128
"""Least side in pixels of the images that a module is tried with: some pool a stride of 16 three times more."""

RESIZES: tuple[tuple[str, bool | None], ...] = (("bilinear", False), ("bilinear", True), ("nearest", None))


class UnbuiltError(ConfigError):
    """A module cannot be built for a number of classes."""


@dataclass(frozen=True)
class Cut:
    """How to run a module up to its last convolution, and to make its scores from there."""

    convolution: str
    """Name of the last convolution in the module."""
    num_classes: int
    """Channels of its output, when it was looked at."""
    multiple: int
    """What both sides of an image must be multiples of."""
    stride: Fraction
    """Side of an image by that of its feature."""
    resize: tuple[str, bool | None] | None
    """Mode and `align_corners` of the resize to the image's size that follows; None if nothing does."""
    min_training_batch: int
    """Fewest images per batch in training: 2 where a batch norm sees one pixel per image."""


def scores_of(output: Any) -> Tensor | None:
    """Return the scores (N, K, h, w) in what a module returned: "out", "logits", or the first tensor of that form."""
    if isinstance(output, Mapping):
        output = [output[key] for key in ("out", "logits") if key in output] + list(output.values())
    if isinstance(output, Tensor):
        return output if output.ndim == 4 else None
    found = map(scores_of, output) if isinstance(output, Sequence) and not isinstance(output, str) else ()
    return next((scores for scores in found if scores is not None), None)


def find_cut(build: Callable[[int], nn.Module], name: str, convolution: str | None, num_classes: int) -> Cut:
    """Find the last convolution of a module, and check that its scores are made from there.

    Parameters
    ----------
    build : callable
        Makes the module for a number of classes.
    name : str
        The network's, for messages.
    convolution : str or None
        Name of the convolution in the module; None to look for it.
    num_classes : int
        Classes to build for. The module may have another number.

    Raises
    ------
    ConfigError
        If there is no such convolution, what follows it is no resize, or the module takes images of one size alone.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        module = build(num_classes).float().eval()
        problem, misfit = "", None
        for multiple in MULTIPLES:
            image = torch.randn(1, 3, *probe_size(multiple))
            if (error := _error(module, image)) is not None:
                problem = error
                continue
            try:
                return _cut_at(module, image, multiple, name, convolution)
            except ConfigError as error:  # a resize by a factor fits once the stride divides the sides
                misfit = misfit or error
        raise misfit or _unsized(module, name, problem)


def probe_size(multiple: int) -> tuple[int, int]:
    """Return a small size whose sides are odd multiples."""
    first = PROBED_SIDE // multiple // 2 * 2 + 1
    return first * multiple, (first + 2) * multiple


def least_side(module: nn.Module, multiple: int, device: torch.device) -> int | None:
    """Return the side in pixels of the smallest square that a module segments; None if none up to the probed is."""
    was_training = module.training
    module.eval()
    sides = range(multiple, probe_size(multiple)[0] + 1, multiple)
    with torch.no_grad():
        found = next(
            (side for side in sides if _error(module, torch.zeros(1, 3, side, side, device=device)) is None), None
        )
    module.train(was_training)
    return found


def _cut_at(module: nn.Module, image: Tensor, multiple: int, name: str, convolution: str | None) -> Cut:
    runs = _Runs(module)
    with runs:
        scores = scores_of(module(image))
    assert scores is not None  # it has run on such an image
    found, resize = _last(runs, scores, image, name, convolution)
    stride = Fraction(image.shape[-1], runs.inputs[found].shape[-1])
    return Cut(found, scores.shape[1], multiple, stride, resize, _min_training_batch(module, image))


class _Runs:
    """Notes what goes into the convolutions of a module while it runs."""

    def __init__(self, module: nn.Module) -> None:
        self.convolutions = {name: part for name, part in module.named_modules() if isinstance(part, nn.Conv2d)}
        self.inputs: dict[str, Tensor] = {}  # in the order of the last run
        self.count: Counter[str] = Counter()

    def __enter__(self) -> None:
        def note(name: str, inputs: tuple[Any, ...]) -> None:
            self.count[name] += 1
            self.inputs.pop(name, None)
            self.inputs[name] = inputs[0].clone()  # what follows may change it in place

        self._hooks = [
            part.register_forward_pre_hook(lambda _module, inputs, name=name: note(name, inputs))
            for name, part in self.convolutions.items()
        ]

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()


def _last(
    runs: _Runs, scores: Tensor, image: Tensor, name: str, wanted: str | None
) -> tuple[str, tuple[str, bool | None] | None]:
    """Return the name of the last convolution from which the scores can be made, and the resize that makes them."""
    if wanted is not None and wanted not in runs.inputs:
        known = ", ".join(runs.inputs) or "none"
        raise ConfigError(f"backbone {name!r}: no convolution {wanted!r} runs in it; expected one of {known}")
    of_classes = [
        key for key in runs.inputs if runs.convolutions[key].out_channels == scores.shape[1] and runs.count[key] == 1
    ]
    for candidate in reversed(of_classes) if wanted is None else [wanted]:
        made = runs.convolutions[candidate](runs.inputs[candidate])
        if _equal(made, scores):
            return candidate, None
        for mode, align_corners in RESIZES:
            resized = F.interpolate(made, size=image.shape[-2:], mode=mode, align_corners=align_corners)
            if _equal(resized, scores):
                return candidate, (mode, align_corners)
    if wanted is None and not of_classes:
        raise ConfigError(
            f"backbone {name!r}: has no last convolution: it returns {scores.shape[1]} channels, and no convolution "
            "that runs once makes as many. AR-Seg needs a convolution (nn.Conv2d) from the feature to the classes"
        )
    tried = wanted or ", ".join(of_classes)
    raise ConfigError(
        f"backbone {name!r}: its output is not that of its last convolution ({tried}), resized to the image's size. "
        "Let it return scores, without softmax or the like; or name another convolution: "
        f"{re.sub('#[A-Za-z0-9_.]+$', '', name)}#NAME"
    )


def _equal(made: Tensor, scores: Tensor) -> bool:
    return made.shape == scores.shape and bool((made - scores).abs().max() <= TOLERANCE * scores.abs().max())


def _unsized(module: nn.Module, name: str, problem: str) -> ConfigError:
    """Return what to say of a module that ran on no image whose sides are any multiples."""
    for side in FIXED_SIDES:
        if _error(module, torch.zeros(1, 3, side, side)) is None:
            return ConfigError(
                f"backbone {name!r}: takes images of {side}x{side} pixels, but not of other sizes ({problem}). AR-Seg "
                "shows it several; build it so that its positions are interpolated"
            )
    return ConfigError(
        f"backbone {name!r}: does not turn images (1, 3, H, W) into scores (1, K, h, w), at no sides that are "
        f"multiples of up to {MULTIPLES[-1]}: {problem}"
    )


def _error(module: nn.Module, image: Tensor) -> str | None:
    """Return what keeps a module from segmenting an image; None if nothing does."""
    try:
        output = module(image)
    except Exception as error:  # of whatever the module does
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    scores = scores_of(output)
    if scores is None:
        return f"it returned a {type(output).__name__} without scores"
    return None if len(scores) == 1 else f"it returned {tuple(scores.shape)}"


def _min_training_batch(module: nn.Module, image: Tensor) -> int:
    """Return 2 if the module does not run on a single image in training, as with batch norm after a global pool."""
    try:
        module.train()(image)
    except ValueError:
        return 2
    return 1
