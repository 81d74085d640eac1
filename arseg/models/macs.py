"""Counting the multiply-accumulates of whatever runs, by the matrix products and convolutions that PyTorch does."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass
class MacCount:
    """Multiply-accumulates, which may be added up."""

    products: int = 0
    """In convolutions, linear layers and other products of matrices."""
    local_attention: int = 0
    """In the similarities and the weighted sum of the local attention."""

    @property
    def total(self) -> int:
        """Both together: what the paper reports."""
        return self.products + self.local_attention

    def add(self, other: "MacCount") -> None:
        """Add another count to this one."""
        self.products += other.products
        self.local_attention += other.local_attention


@contextmanager
def counting_macs(network: nn.Module) -> Iterator[MacCount]:
    """Count what runs in this context, without gradients.

    A module of `network` that computes by other means than PyTorch's operators has a method ``macs``, which takes what
    its ``forward`` takes and returns its `MacCount`; nothing in it is counted otherwise.

    Yields
    ------
    count : MacCount
        What has run so far.
    """
    from torch.utils.flop_counter import flop_registry  # noqa: PLC0415  (who counts nothing need not wait for it)

    counter = _Counter(flop_registry)
    with_own = [module for module in network.modules() if hasattr(module, "macs")]
    hooks = [
        hook
        for module in with_own
        for hook in (
            module.register_forward_pre_hook(counter.enter),
            module.register_forward_hook(counter.leave, always_call=True),
        )
    ]
    # The fast path of nn.MultiheadAttention is one operator, whose products nobody counts.
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), counter:
            yield counter.count
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        for hook in hooks:
            hook.remove()


class _Counter(TorchDispatchMode):
    """Counts operators by the formulas of `torch.utils.flop_counter`.

    PyTorch's own mode with them would load its compiler first, for longer than the evaluation of a small split takes.
    """

    def __init__(self, formulas: Mapping[Any, Any]) -> None:
        super().__init__()
        self.formulas = formulas
        self.count = MacCount()
        self._depth = 0  # in modules that count themselves

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # to tell the compiler to skip this mode is to load it

    def enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if not self._depth:
            self.count.add(module.macs(*inputs))  # type: ignore[operator]
        self._depth += 1

    def leave(self, *_: object) -> None:
        self._depth -= 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with self:  # in inference mode, operators come here that are made of others
            result = func.decompose(*args, **(kwargs or {}))
        if result is not NotImplemented:
            return result
        result = func(*args, **(kwargs or {}))
        if not self._depth:
            self.count.products += self._macs(func.overloadpacket, args, kwargs or {}, result)
        return result

    def _macs(self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> int:
        if operator in (torch.ops.aten.mv, torch.ops.aten.dot):
            return args[0].numel()
        if operator is torch.ops.aten.addmv:
            return args[1].numel()
        if operator not in self.formulas and operator.__name__.startswith(
            "_scaled_dot_product"
        ):  # PyTorch 2.11's on CPUs
            query, key, value = args[:3]
            return query.shape[:-1].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1])
        # A multiply-accumulate is two operations.
        return self.formulas[operator](*args, **kwargs, out_val=result) // 2 if operator in self.formulas else 0
