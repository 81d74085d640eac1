"""Choosing the device that networks run on: what ``--device`` means, in one place."""

import torch

from arseg.errors import ConfigError


def resolve_device(name: str = "auto") -> torch.device:
    """Turn a device name of the command line into a device that exists.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda", "cuda:N"}
        "auto" is the first CUDA device if there is one, otherwise the CPU; "cuda" is "cuda:0".

    Returns
    -------
    device : torch.device

    Raises
    ------
    ConfigError
        If the name is another, or names a CUDA device that this machine does not have.
    """
    num_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda:0" if num_cuda else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    kind, _, number = name.partition(":")
    if kind != "cuda" or not (number.isdecimal() or name == "cuda"):
        raise ConfigError(f"--device {name}: expected auto, cpu, or cuda:N with a number N from 0")
    index = int(number or 0)
    if index >= num_cuda:
        found = f"{num_cuda} CUDA device(s)" if num_cuda else "no CUDA device"
        raise ConfigError(
            f"--device {name}: PyTorch {torch.__version__} finds {found} here. Use --device cpu, or install "
            "a driver and a PyTorch built for CUDA."
        )
    return torch.device("cuda", index)
