"""How much work a command is: processor seconds, multiply-accumulates of networks, and bytes on disk.

Commands are judged by their own words, which a rule's shell command and the record of a finished command both have.
What counts is data, encoder and networks; what changes an encoder's time by some tenths, as the bitrate, is left out.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

from arseg.config import EncodeConfig, Mode, TrainConfig
from arseg.data.camvid import SEQUENCES
from arseg.data.cityscapes_verify import EXPECTED_FRAMES
from arseg.data.synthetic.dataset import StreetOptions
from arseg.errors import ArsegError
from arseg.evaluate.complexity import count_macs
from arseg.plan.inventory import Inventory
from arseg.plan.jobs import Command
from arseg.plan.rates import Rates
from arseg.plan.sizes import CAMVID_FRAMES, CAMVID_SIZE, CITYSCAPES_SIZE, DataSize

STEP_PASSES = 3
"""A training step takes a pass, and two more passes' worth for the gradients of inputs and of weights."""


@dataclass(frozen=True)
class Work:
    """What a command takes."""

    core_seconds: float = 0.0
    """Processor seconds, networks left out."""
    network_core_seconds: float = 0.0
    """Processor seconds of the networks, if they run on the processor."""
    gmacs: float = 0.0
    """Multiply-accumulates of the networks, in 1e9; a training step counts as three passes."""
    bytes: float = 0.0
    """What it writes and keeps."""
    download: float = 0.0
    """Bytes that it fetches from a network."""


def work_of(command: Command, inventory: Inventory, rates: Rates) -> Work | None:
    """Say how much work a command is, once it has started.

    Parameters
    ----------
    command : Command
        The command.
    inventory : Inventory
        What it reads.
    rates : Rates
        What a unit of work takes.

    Returns
    -------
    work : Work or None
        None if that depends on something which is not there yet, or is damaged.
    """
    judge = _JUDGES.get(command.name)
    if judge is None:
        return Work()
    try:
        return judge(command, inventory, rates)
    except (ArsegError, ValueError, LookupError, OSError):
        return None


def start_of(command: Command, rates: Rates) -> float:
    """Give the processor seconds that a command takes before it does anything."""
    return rates[f"start {_STARTS.get(command.name, 'media')}"]


def _synthesize(command: Command, inventory: Inventory, rates: Rates) -> Work:
    default = {name: parameter.default for name, parameter in inspect.signature(StreetOptions).parameters.items()}

    def number(name: str) -> float:
        return command.number(name.replace("_", "-"), default[name])

    sequences = sum(number(f"num_{split}_sequences") for split in ("train", "val", "test"))
    pixels = sequences * number("frames_per_sequence") * number("width") * number("height")
    written = pixels * (rates["bytes frame"] + rates["bytes label"])
    return Work(rates["synthesize"] * pixels / 1e6, bytes=written)


def _download(command: Command, inventory: Inventory, rates: Rates) -> Work:
    size = rates["bytes camvid file"]
    return Work(bytes=size, download=size)


def _download_cityscapes(command: Command, inventory: Inventory, rates: Rates) -> Work:
    size = rates[f"bytes {command.arguments[0].partition('_')[0]}"]
    if command.arguments[0].startswith("leftImg8bit_sequence"):
        size = rates["bytes leftImg8bit_sequence"]
    return Work(bytes=size, download=size)


def _unpack_cityscapes(command: Command, inventory: Inventory, rates: Rates) -> Work:
    return Work(bytes=rates["bytes cityscapes frames"])


def _label_camvid(command: Command, inventory: Inventory, rates: Rates) -> Work:
    return _labels(sum(CAMVID_FRAMES["kaggle"].values()), CAMVID_SIZE, rates)


def _label_cityscapes(command: Command, inventory: Inventory, rates: Rates) -> Work:
    return _labels(sum(EXPECTED_FRAMES.values()), CITYSCAPES_SIZE, rates)


def _labels(count: int, size: tuple[int, int], rates: Rates) -> Work:
    pixels = count * size[0] * size[1]
    return Work(rates["label"] * pixels / 1e6, bytes=rates["bytes label"] * pixels)


def _extract(command: Command, inventory: Inventory, rates: Rates) -> Work:
    pixels = SEQUENCES[command.value("sequence")].last_decoded * CAMVID_SIZE[0] * CAMVID_SIZE[1]
    return Work(rates["extract"] * pixels / 1e6, bytes=rates["bytes frame"] * pixels)


def _build_reader(command: Command, inventory: Inventory, rates: Rates) -> Work:
    return Work(rates["build reader"])


def _clips(command: Command, inventory: Inventory, rates: Rates) -> Work:
    data, count = inventory.clips(command)
    codec = command.value("codec", EncodeConfig.codec)
    preset = command.value("preset", EncodeConfig.preset)
    per_frame = rates["read"] + rates[f"encode {codec} {preset}"] + rates[f"decode {codec}"]
    samples = sum(count.samples.values())
    near = count.samples.get(0, 0.0)  # of the keyframe itself one picture is stored
    stored = (samples - near) * rates["bytes sample"] + near * rates["bytes picture"]
    return Work(
        data.megapixels * (count.frames * per_frame + samples * rates["store"]), bytes=1e6 * data.megapixels * stored
    )


def _train_phase1(command: Command, inventory: Inventory, rates: Rates) -> Work:
    data = inventory.sizes.of_manifest(Path(command.value("manifest")))
    backbone, scale = command.value("backbone"), int(command.value("scale-percent", "100"))
    return _training(
        command,
        data,
        rates,
        backbone,
        train=data.split(command.value("train-split")),
        val=data.split(command.value("val-split")),
        trained=lambda height, width: _gmacs(backbone, data.num_classes, height, width, scale),
        frozen=lambda height, width: 0.0,
        images=1,
    )


def _train_phase2(command: Command, inventory: Inventory, rates: Rates) -> Work:
    backbone, scale = inventory.backbone(Path(command.value("hr"))), int(command.value("scale-percent", "100"))
    train = [inventory.store(Path(path)) for path in command.options["train-stores"]]
    val = [inventory.store(Path(path)) for path in command.options["val-stores"]]
    data = train[0].data
    return _training(
        command,
        data,
        rates,
        backbone,
        train=sum(store.samples for store in train),
        val=sum(store.samples for store in val),
        trained=lambda height, width: _gmacs(backbone, data.num_classes, height, width, scale, "ar"),
        frozen=lambda height, width: _gmacs(backbone, data.num_classes, height, width, 100),
        images=2,
    )


def _training(
    command: Command,
    data: DataSize,
    rates: Rates,
    backbone: str,
    *,
    train: float,
    val: float,
    trained: Callable[[int, int], float],
    frozen: Callable[[int, int], float],
    images: int,
) -> Work:
    """Add up epochs and validations; a branch is trained on crops and validated on whole frames."""
    epochs = command.number("epochs", TrainConfig.epochs)
    batch = command.number("batch-size", TrainConfig.batch_size)
    width, height = (int(side) for side in command.value("crop", TrainConfig.crop).split("x"))
    steps = epochs * (train // batch) * batch
    checks = val * (epochs // command.number("validate-every", TrainConfig.validate_every))
    network = backbone.partition("-")[0]
    learnt = steps * trained(height, width)
    run = steps * frozen(height, width) + checks * (trained(data.height, data.width) + frozen(data.height, data.width))
    return Work(
        images * data.megapixels * (steps * rates["prepare"] + checks * rates["read"]),
        learnt * rates[f"train {network}"] + run * rates[f"run {network}"],
        STEP_PASSES * learnt + run,
        rates[f"bytes weights {network}"],
    )


def _evaluate(command: Command, inventory: Inventory, rates: Rates) -> Work:
    mode, scale = command.value("mode").lower(), int(command.value("scale-percent", "100"))
    backbone = inventory.backbone(Path(command.value("lr" if mode == "lr" else "hr")))
    core_seconds = gmacs = 0.0
    for path in command.options["stores"]:
        store = inventory.store(Path(path))
        data = store.data
        size = (backbone, data.num_classes, data.height, data.width)
        full, low = _gmacs(*size, 100), _gmacs(*size, scale, "ar" if mode == "ar" else "lr")
        # A keyframe of AR is the HR branch alone; frames behind it need the keyframe's feature, too.
        each = {"hr": full, "lr": low, "ar": full if store.distance == 0 else full + low}[mode]
        gmacs += store.samples * each
        core_seconds += store.samples * data.megapixels * rates["load"]
    return Work(core_seconds, gmacs * rates[f"run {backbone.partition('-')[0]}"], gmacs)


@cache
def _gmacs(backbone: str, num_classes: int, height: int, width: int, scale_percent: int, mode: str = "lr") -> float:
    return count_macs(backbone, num_classes, height, width, cast(Mode, mode), scale_percent).total / 1e9


_JUDGES: dict[str, Callable[[Command, Inventory, Rates], Work]] = {
    "camvid frames": _extract,
    "camvid labels": _label_camvid,
    "cityscapes download": _download_cityscapes,
    "cityscapes labels": _label_cityscapes,
    "cityscapes unpack": _unpack_cityscapes,
    "clips": _clips,
    "download": _download,
    "evaluate": _evaluate,
    "native build": _build_reader,
    "synthesize": _synthesize,
    "train phase1": _train_phase1,
    "train phase2": _train_phase2,
}
"""Commands of which something is reckoned; the others take little more than their start."""

_STARTS = {
    "compare": "tables",
    "evaluate": "evaluate",
    "imagenet": "evaluate",
    "plot curves": "plot",
    "plot panel": "plot",
    "tabulate": "tables",
    "train phase1": "train",
    "train phase2": "train",
}
