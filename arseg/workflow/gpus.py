"""What rules ask a scheduler for by way of GPUs, checked and corrected before anything is submitted.

A rule asks for `gpu`, a profile may say more: another number, a `gres` in its place, a model. How many devices a
training uses is `devices`. What contradicts itself is refused here, where it costs nothing.
"""

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from snakemake.exceptions import WorkflowError  # type: ignore[import-untyped]


def settle_gpus(workflow: Any, device: str, place: str) -> None:
    """Check what rules ask for, after profile and command line.

    With device "cpu", they ask for no GPU. With "auto" on a machine without one, they do not queue for it; what they
    ask for on the nodes of a cluster stays.

    Parameters
    ----------
    workflow : snakemake.workflow.Workflow
        All rules are known; their resources are changed in place.
    device : str
        Where networks run, as the configuration says.
    place : str
        Where resources are set, for messages: the file of the profile.

    Raises
    ------
    WorkflowError
        If a rule asks for GPUs twice, or for another number than it uses.
    """
    problems = []
    for rule in workflow.rules:
        if device == "cpu" and {"gpu", "gres", "gpu_model"} & set(rule.resources):
            _release(rule.resources)
        else:
            problems += [f"{place}: set-resources: {rule.name}: {problem}" for problem in _problems(rule.resources)]
    if problems:
        raise WorkflowError("\n".join(problems))
    if device == "auto" and "gpu" in workflow.global_resources and not has_gpu():
        workflow.register_resource("gpu", workflow.global_resources["_cores"].value)  # each job takes a core


def has_gpu(devices: Path = Path("/dev")) -> bool:
    """Return whether this machine seems to have a GPU that PyTorch can use; importing that would take seconds."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return any(next(devices.glob(name), None) for name in ("nvidia[0-9]*", "nvhost-gpu", "nvgpu", "kfd", "dxg"))


def _release(resources: Any) -> None:
    resources["gpu"] = 0
    for name in ("gres", "gpu_model"):
        if name == "gpu_model" or _is_gpu(_value(resources, name)):
            resources[name] = ""  # the scheduler's plugin takes it for none


def _problems(resources: Any) -> list[str]:
    gpu, gres, devices = (_value(resources, name) for name in ("gpu", "gres", "devices"))
    if _is_gpu(gres) and gpu not in (None, 0):
        return [f'gpu: {gpu} and gres: "{gres}" ask for GPUs twice. Write gpu: 0 beside gres, or leave gres out']
    if _is_gpu(gres) and "gpu_model" in resources:
        return [f'gpu_model and gres: "{gres}" ask for GPUs twice. Name the model in gres: "gpu:MODEL:1"']
    asked, key = (_number_in(gres), "gres") if _is_gpu(gres) else (gpu, "gpu")
    if not isinstance(asked, int) or not isinstance(used := 1 if devices is None else devices, int):
        return []  # an expression, which Snakemake evaluates for each job
    if devices is None and asked > 1:
        return [f"{key} asks for {asked} GPU(s), but the rule uses one. Ask for 1"]
    if asked and asked != used:
        return [f"{key} asks for {asked} GPU(s), but devices: {used}. Set devices: {asked}, or ask for {used}"]
    return []


def _value(resources: Any, name: str) -> Any:
    """Return a resource as it was written: a number, or a text, which may be an expression; None if it is not set."""
    raw = resources[name].raw if name in resources else None
    return raw.strip("'\"") if isinstance(raw, str) else raw


def _is_gpu(gres: Any) -> bool:
    return isinstance(gres, str) and gres.split(":")[0] == "gpu"


def _number_in(gres: str) -> int:
    last = gres.rpartition(":")[2]
    return int(last) if last.isdigit() else 1


def profile_named(words: Sequence[str]) -> str:
    """Return the profile that words of Snakemake's command line name; "command line" if they name none."""
    for flag in ("--workflow-profile", "--profile"):
        for word, following in pairwise([*words, ""]):
            if word == flag or word.startswith(f"{flag}="):
                return following if word == flag else word.removeprefix(f"{flag}=")
    return "command line"
