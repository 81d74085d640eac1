"""The network that is adapted, as the checkpoint of an HR branch."""

import re
from pathlib import Path

from arseg.data.manifest import read_classes
from arseg.errors import ConfigError
from arseg.files import file_digest
from arseg.models.checkpoint import read_checkpoint
from arseg.models.imagenet import create_checkpoint


def hr_checkpoint(
    network: str, folder: Path, *, classes: Path | None, weights: Path | None, normalization: str
) -> Path:
    """Return the checkpoint that is named, or make it of a network's name, as ``hr.pt`` in a folder.

    One that an earlier run has made is taken where it is of the same network, so that nothing is trained again.

    Parameters
    ----------
    network : str
        A checkpoint, or the name of a network.
    folder : Path
        Where to make it.
    classes : Path, optional
        Sheet of the classes, which a network by name needs.
    weights : Path, optional
        Weights of a network by name.
    normalization : str
        What a network by name was trained with.

    Raises
    ------
    ConfigError
        If the sheet is missing, or the folder has the checkpoint of another network.
    CheckpointError, DataError
        If the weights do not fit, or the sheet cannot be read.
    """
    if Path(network).is_file():
        return Path(network)
    if classes is None:
        raise ConfigError(
            f"--network {network}: is not a file, and a network by name needs the sheet of its classes: --classes"
        )
    # Jobs run in the folder, where a relative path would name nothing.
    name = re.sub(r"^(.+\.py)(?=:)", lambda file: str(Path(file[1]).resolve()), network)
    table, hr = read_classes(classes), folder / "hr.pt"
    if not hr.exists():
        create_checkpoint(name, table, hr, weights=weights, normalization=normalization)
    _, spec, trained_on, _ = read_checkpoint(hr)
    asked = (name, table, normalization, None if weights is None else file_digest(weights))
    if asked != (spec.backbone, spec.classes, spec.normalization, (trained_on.initialized_from or {}).get("sha256")):
        raise ConfigError(
            f"{hr}: is of an earlier run with another network, other classes, weights or normalization. Choose another "
            "folder (-o), or delete this one"
        )
    return hr
