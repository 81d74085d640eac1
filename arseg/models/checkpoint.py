"""The checkpoint file: weights and what is needed to know whose they are.

One file holds a dictionary of plain builtins and tensors, so that it loads with ``weights_only=True`` and no
code of its own::

    {"format_version": 2,
     "state_dict": {...},
     "network": {...},  # arseg.spec.NetworkSpec
     "trained_on": {...}}  # arseg.spec.TrainedOn
"""

import pickle
import re
import struct
import zipfile
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import torch
from torch import Tensor

from arseg import __version__
from arseg.access import reading, zip_damage
from arseg.errors import CheckpointError, ConfigError
from arseg.files import atomic_path
from arseg.models.network import SegmentationNetwork
from arseg.models.registry import build_network
from arseg.spec import NetworkSpec, TrainedOn

FORMAT_VERSION = 2
"""Bumped when older programs could no longer read the file. Version 1, which is still read, had one dictionary
``metadata`` for both descriptions."""

ARCHIVE = b"PK\x03\x04"
"""How files begin that `torch.save` writes today."""

ARCHIVE_SIGNS = (RuntimeError, pickle.UnpicklingError)
"""What PyTorch raises on a whole archive that it did not make, or that holds more than tensors and builtins."""

MEND_WHOLE = "name another file, or copy it again"

OLDER_SIGNS = (
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AssertionError,
    AttributeError,
    struct.error,
    *ARCHIVE_SIGNS,
)
"""What PyTorch raises on files that do not begin so. Its older format has no checksums: damaged bytes are run as the
instructions of a pickle, and fail as those do."""

REDESIGNED: dict[str, int] = {"psp18-cityscapes": 3}
"""Stage of training from which weights are for a backbone as it is now. Before, its later blocks were dilated otherwise
than published; names and shapes of the weights are the same."""
UNKNOWN = TrainedOn()


class Checkpoint(NamedTuple):
    """A network and what its file says of it."""

    network: SegmentationNetwork
    """On the CPU, in evaluation mode."""
    spec: NetworkSpec
    """What it is."""
    trained_on: TrainedOn
    """How it came to be."""


def save_checkpoint(
    path: Path, network: SegmentationNetwork, spec: NetworkSpec, trained_on: TrainedOn = UNKNOWN
) -> None:
    """Write a network's weights with its description.

    Parameters
    ----------
    path : Path
        Output, usually ``weights.pt``; written whole or not at all.
    network : SegmentationNetwork
        The network; its tensors are stored on the CPU.
    spec : NetworkSpec
        What it is.
    trained_on : TrainedOn
        How it came to be.

    Raises
    ------
    ValueError
        If the description contradicts the network.
    """
    found = (network.num_classes, network.fuse_attention is not None)
    if (spec.num_classes, bool(spec.fusion)) != found:
        raise ValueError(f"the network has {found[0]} classes and fusion {found[1]}, its description says {spec}")
    content = {
        "format_version": FORMAT_VERSION,
        "state_dict": {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()},
        "network": spec.to_dict(),
        "trained_on": replace(trained_on, arseg_version=__version__).to_dict(),
    }
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)  # given a path, it would write that, which is a temporary one, into the file


class StoredCheckpoint(NamedTuple):
    """What a file holds, before a network is built."""

    path: Path
    """The file."""
    spec: NetworkSpec
    """What the network is."""
    trained_on: TrainedOn
    """How it came to be."""
    state_dict: dict[str, Tensor]
    """Its weights, read from the disk when they are used."""


def load_checkpoint(
    source: Path | StoredCheckpoint, *, expect_backbone: str | None = None, expect_num_classes: int | None = None
) -> Checkpoint:
    """Read a checkpoint and build its network.

    Parameters
    ----------
    source : Path or StoredCheckpoint
        File written by `save_checkpoint`, or what `read_checkpoint` returned for it.
    expect_backbone : str, optional
        Backbone that the caller needs.
    expect_num_classes : int, optional
        Number of classes that the caller needs.

    Returns
    -------
    checkpoint : Checkpoint
        The network and its description.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, foreign, of another format version, of another network than expected, or
        holds weights for an earlier form of its network.
    """
    path, spec, trained_on, state_dict = (
        source if isinstance(source, StoredCheckpoint) else read_checkpoint(Path(source))
    )
    _refuse_earlier_form(path, spec, trained_on)
    for key, found, expected in (
        ("backbone", spec.backbone, expect_backbone),
        ("num_classes", spec.num_classes, expect_num_classes),
    ):
        if expected is not None and found != expected:
            raise CheckpointError(
                f"{path}: {key} is {found}, expected {expected}. Give a checkpoint that was trained with this data "
                "set's classes and this backbone, or train one: arseg train ..."
            )
    try:
        network = build_network(spec.backbone, spec.num_classes, spec.fusion)
    except ConfigError as error:
        raise CheckpointError(f"{path}: its network cannot be built: {error}") from error
    try:
        network.load_state_dict(state_dict, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{path}: its weights do not fit a {spec.backbone} with {spec.num_classes} classes "
            f"({reason[:300]}); train it again with this version of arseg"
        ) from error
    return Checkpoint(network.eval(), spec, trained_on)


def _refuse_earlier_form(path: Path, spec: NetworkSpec, trained_on: TrainedOn) -> None:
    """Refuse weights that arseg trained for a network that has been corrected since; imported ones stay valid."""
    since, stage = REDESIGNED.get(spec.backbone), trained_on.stage
    if since is not None and stage is not None and stage < since and trained_on.imported_from is None:
        raise CheckpointError(
            f"{path}: was trained at stage {stage}, when {spec.backbone} was dilated otherwise than published "
            f"(corrected in stage {since}), so its weights are for another network. Train it again: arseg train ..."
        )


def read_checkpoint(path: Path) -> StoredCheckpoint:
    """Read a file that `save_checkpoint` wrote, without building its network.

    A CheckpointError says that it is missing, truncated, foreign or of another format version.
    """
    content = _read(path)
    return StoredCheckpoint(path, *_describe(path, content), content["state_dict"])


def read_tensors(path: Path, hint: str, *, mapped: bool = False) -> Any:
    """Read a file of tensors and builtins, whoever wrote it, without running code that it may contain.

    Parameters
    ----------
    path : Path
        File written by ``torch.save``.
    hint : str
        What to do if it is unreadable, for the message.
    mapped : bool
        Leave the tensors on the disk until they are used: of a folder of checkpoints, few are.

    Raises
    ------
    CheckpointError
        If the file is missing or damaged, or holds other objects, of which the message names the first.
    FileAccessError
        If the operating system does not let it be read.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; {hint}")
    with reading(path), path.open("rb") as file:
        is_archive = file.read(len(ARCHIVE)) == ARCHIVE
    if is_archive and (damage := zip_damage(path)):  # PyTorch writes checksums, but does not compare them
        raise CheckpointError(f"{path}: not a readable checkpoint, perhaps truncated ({damage}); {hint}")

    if is_archive and _is_program(path):
        raise CheckpointError(f"{path}: is a network with its code (TorchScript), not tensors alone; {hint}")

    def refused(error: Exception) -> CheckpointError:
        if "can't allocate memory" in str(error):  # PyTorch's word for what Python calls
            raise MemoryError(str(error)) from error
        reason, what_to_do = str(error).partition("\n")[0], hint
        # PyTorch's own words on unpickling advise to switch the protection off.
        if stranger := re.search(r"\bGLOBAL (\S+)", str(error)):
            problem = f": it holds {stranger[1]}, not only tensors and builtins; such a file can run code when opened"
        elif is_archive:
            problem, what_to_do = f": its checksums are right, but torch.save did not make it ({reason})", MEND_WHOLE
        elif isinstance(error, pickle.UnpicklingError):
            problem = ": it is damaged, or was not made by torch.save"
        else:
            problem = f", perhaps truncated ({reason})"
        return CheckpointError(f"{path}: not a readable checkpoint{problem}; {what_to_do}")

    if is_archive and mapped:
        with reading(path, refused, *ARCHIVE_SIGNS):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    with reading(path, refused, *(ARCHIVE_SIGNS if is_archive else OLDER_SIGNS)), path.open("rb") as file:
        return torch.load(file, map_location="cpu", weights_only=True)


def _is_program(path: Path) -> bool:
    """Whether an archive is one of TorchScript, by the file that `torch.load` tells it by."""
    with zipfile.ZipFile(path) as archive:
        return any(PurePosixPath(name).name == "constants.pkl" for name in archive.namelist())


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; expected a checkpoint written by training")
    content = read_tensors(path, "delete it, and copy or train it again", mapped=True)
    if not isinstance(content, dict) or "format_version" not in content:
        raise CheckpointError(
            f"{path}: written by another program; expected a checkpoint of arseg with format_version, "
            "state_dict and metadata. A plain state dict must be converted first"
        )
    if content["format_version"] not in (1, FORMAT_VERSION):
        raise CheckpointError(
            f"{path}: format_version {content['format_version']}, expected {FORMAT_VERSION}; use the "
            "version of arseg that wrote it, or train it again"
        )
    if not isinstance(content.get("state_dict"), dict):
        raise CheckpointError(f"{path}: state_dict is missing; name another file, or train it again")
    return content


def _describe(path: Path, content: dict[str, Any]) -> tuple[NetworkSpec, TrainedOn]:
    try:
        if content["format_version"] == 1:
            network = trained_on = _from_version_1(content["metadata"])
        else:
            network, trained_on = content["network"], content["trained_on"]
        return NetworkSpec.from_dict(network), TrainedOn.from_dict(trained_on)
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: its description is incomplete ({type(error).__name__}: {error}); copy or train it again"
        ) from error


def _from_version_1(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of both descriptions under their names of today."""
    columns = [metadata.get(f"class_{name}", ()) for name in ("names", "colors", "void")]
    classes = [
        {"index": index, "name": name, "color": color, "void": void}
        for index, (name, color, void) in enumerate(zip(*columns, strict=False))
    ]
    return metadata | {"classes": classes, "constants": metadata.get("train_config", {})}
