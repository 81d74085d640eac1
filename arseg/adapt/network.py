"""The network that is adapted, as the checkpoint of an HR branch."""

from pathlib import Path

import torch

from arseg.data.manifest import read_classes
from arseg.errors import ConfigError
from arseg.files import file_digest
from arseg.infer.teacher import load_teacher
from arseg.models.checkpoint import read_checkpoint
from arseg.models.finished import create_checkpoint
from arseg.networks import own_file, own_name


def hr_checkpoint(
    network: str, folder: Path, *, classes: Path | None, weights: Path | None, normalization: str | None
) -> Path:
    """Return the checkpoint that is named, or make it of a network's name, as ``hr.pt`` in a folder.

    One that an earlier run has made is taken where it is of the same network, so that nothing is trained again.

    Parameters
    ----------
    network : str
        A checkpoint, or the name of a network.
    folder : Path
        Where to make it.
    classes, weights, normalization
        Of a network by name, as `arseg.models.finished.finished_network` takes them.

    Raises
    ------
    ConfigError
        If the folder has the checkpoint of another network, or this one is not there or not trained; or if options of a
        name are given beside a checkpoint.
    CheckpointError, DataError
        If the weights do not fit, the checkpoint is not of an HR branch whose classes have names, or the sheet cannot
        be read.
    """
    if Path(network).is_file() and not network.endswith(".py"):
        given = {"--classes": classes, "--weights": weights, "--normalization": normalization}
        if stray := [option for option, value in given.items() if value is not None]:
            raise ConfigError(f"{stray[0]}: is of a network by name, and {network} has its own. Leave it out")
        load_teacher(Path(network), torch.device("cpu"))
        _link_code(Path(network), folder)
        return Path(network)
    if network.endswith((".pt", ".pth")):
        raise ConfigError(f"--network {network}: no such file. Correct the path of the checkpoint")
    # Jobs run in the folder, where a relative path would name nothing.
    own = own_file(network)
    name = network if own is None else f"{own.resolve()}{network.removeprefix(own_name(network).source)}"
    table, hr = None if classes is None else read_classes(classes), folder / "hr.pt"
    if not hr.exists():
        create_checkpoint(name, table, hr, weights=weights, normalization=normalization)
    _, spec, trained_on, _ = read_checkpoint(hr)
    file = weights or own_file(name)
    asked = (
        name,
        table or spec.classes,
        normalization or spec.normalization,
        None if file is None else file_digest(file),
    )
    if asked != (spec.backbone, spec.classes, spec.normalization, (trained_on.initialized_from or {}).get("sha256")):
        raise ConfigError(
            f"{hr}: is of an earlier run with another network, other classes, weights or normalization. Choose another "
            "folder (-o), or delete this one"
        )
    return hr


def _link_code(checkpoint: Path, folder: Path) -> None:
    """Link the file that a checkpoint names by a relative path into the folder, in which jobs look for it."""
    backbone = read_checkpoint(checkpoint).spec.backbone
    file = own_file(backbone)
    if file is None or file.is_absolute():
        return
    if ".." in file.parts:
        raise ConfigError(
            f"{checkpoint}: its network is {backbone}, whose path leads out of this folder. Make the checkpoint where "
            "the file or a folder with it is: arseg checkpoint create"
        )
    link = folder / file
    if not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file.resolve())
