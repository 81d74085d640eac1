"""The optimiser and its schedule, without the seconds that PyTorch's compiler takes to be imported."""

import inspect
import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from arseg.config import TrainConfig
from arseg.train.parallel import average_gradients

MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
"""Of SGD (docs/method.md, 'Training')."""

Schedule = Literal["cosine", "poly"]
POLY_POWER = 0.9
"""Exponent of the schedule "poly"."""


class Optimization:
    """One optimiser step after another: learning rate, arithmetic, gradients over all processes, update.

    The network's parameters that take gradients learn; `t_max` is the schedule's period, see `schedule_length`.
    """

    def __init__(self, network: nn.Module, config: TrainConfig, t_max: int) -> None:
        _keep_the_compiler_out()
        self._network, self._config, self._t_max = network, config, t_max
        learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self._device = learning[0].device
        self._optimizer: Optimizer = (
            Adam(learning, lr=config.learning_rate)
            if config.optimizer == "adam"
            else SGD(learning, lr=config.learning_rate, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
        )
        # Small gradients vanish in float16, unless the loss is scaled up before.
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=config.precision == "16-mixed")

    def step(self, number: int, loss_parts: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Do step `number`, from 0; return the named parts of the loss and their sum ``loss``, without gradients."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(number, self._config.learning_rate, self._t_max, self._config.schedule)
        with autocast(self._config, self._device):
            parts = loss_parts()
            loss = torch.stack(list(parts.values())).sum()
        self._optimizer.zero_grad()
        self._scaler.scale(loss).backward()
        average_gradients(self._network)
        if self._scaler.is_enabled():
            self._scaler.step(self._optimizer)
            self._scaler.update()
        else:
            # `Optimizer.step` without its wrapper, which imports PyTorch's compiler.
            with torch.no_grad():
                inspect.unwrap(type(self._optimizer).step)(self._optimizer)
        return {name: value.detach() for name, value in (parts | {"loss": loss}).items()}

    def state_dict(self) -> dict[str, Any]:
        """Return what the next step depends on, beside the weights."""
        return {"optimizer": self._optimizer.state_dict(), "scaler": self._scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])


def autocast(config: TrainConfig, device: torch.device) -> torch.autocast:
    """Compute products in the type that the configuration's precision names."""
    dtype = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}[config.precision]
    return torch.autocast(device.type, dtype, enabled=dtype is not None)


def learning_rate(step: int, first_rate: float, t_max: int, schedule: Schedule = "cosine") -> float:
    """Return the learning rate of a step, which falls from `first_rate` at step 0 to zero at step `t_max`.

    Parameters
    ----------
    step : int
        Number of the optimisation step, from 0.
    first_rate : float
        Rate at step 0.
    t_max : int
        Period, see `schedule_length`.
    schedule : {"cosine", "poly"}
        Half a cosine; or the published PIDNet's power, one step late: steps 0 and 1 have the first rate.
    """
    if schedule == "poly":
        return first_rate * (1 - max(0, step - 1) / t_max) ** POLY_POWER
    return first_rate * (1 + math.cos(math.pi * step / t_max)) / 2


def schedule_length(epochs: int, num_samples: int, batch_size: int, schedule: Schedule = "cosine") -> int:
    """Return the period T_max of the learning-rate schedule, in iterations.

    Published quirk of the cosine: each epoch is counted with one iteration more than full batches, though incomplete
    last batches are dropped. It therefore never quite reaches zero.

    Parameters
    ----------
    epochs : int
        Passes over the training split.
    num_samples : int
        Samples in the training split.
    batch_size : int
        Samples per optimisation step, over all devices.
    schedule : {"cosine", "poly"}
        Kind of schedule.

    Returns
    -------
    t_max : int
    """
    return epochs * (num_samples // batch_size + (schedule == "cosine"))


def _keep_the_compiler_out() -> None:
    """Let PyTorch know that its optimisers' methods are ready to run as they are.

    At their first call they import ``torch._dynamo``, which takes longer than all of PyTorch, to exclude themselves
    from compilation, and note that in this attribute. Nothing is compiled here. Where the attribute means nothing, in
    another version of PyTorch, all that is lost is the time.
    """
    for name in ("add_param_group", "load_state_dict", "state_dict", "zero_grad"):
        method = inspect.unwrap(getattr(Optimizer, name))
        setattr(method, "__dynamo_disable", method)
