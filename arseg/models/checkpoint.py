"""The checkpoint file: weights and what is needed to know whose they are.

One file holds a dictionary of plain builtins and tensors, so that it loads with ``weights_only=True`` and no
code of its own::

    {"format_version": 1,
     "state_dict": {...},
     "metadata": {"backbone": ..., "num_classes": ..., "fusion": ..., ...}}
"""

import pickle
import re
import struct
from pathlib import Path
from typing import Any

import torch

from arseg import __version__
from arseg.access import reading
from arseg.errors import CheckpointError, ConfigError
from arseg.files import atomic_path, zip_damage
from arseg.models.network import SegmentationNetwork
from arseg.models.registry import build_network

FORMAT_VERSION = 1
"""Bumped when older programs could no longer read the file."""

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

REQUIRED_METADATA: dict[str, type] = {"backbone": str, "num_classes": int, "fusion": bool}
"""What `load_checkpoint` needs to build the network."""


def save_checkpoint(path: Path, network: SegmentationNetwork, metadata: dict[str, Any]) -> None:
    """Write a network's weights with what is known about them.

    Parameters
    ----------
    path : Path
        Output, usually ``weights.pt``; written whole or not at all.
    network : SegmentationNetwork
        The network; its tensors are stored on the CPU.
    metadata : dict
        Builtins only (None, bool, int, float, str, lists, tuples and dictionaries of them). "backbone",
        "num_classes" and "fusion" must be there. The version of this package is added as "arseg_version".

    Raises
    ------
    TypeError
        If a value is not a builtin, and would make the file unreadable with ``weights_only=True``.
    ValueError
        If a required entry is missing or contradicts the network.
    """
    _require_builtins(metadata, "metadata")
    found = (network.num_classes, network.fuse_attention is not None)
    if (metadata.get("num_classes"), metadata.get("fusion")) != found or "backbone" not in metadata:
        raise ValueError(
            f"metadata must name the backbone, num_classes {found[0]} and fusion {found[1]}; found {metadata}"
        )
    content = {
        "format_version": FORMAT_VERSION,
        "state_dict": {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()},
        "metadata": {"arseg_version": __version__, **metadata},
    }
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)  # given a path, it would write that, which is a temporary one, into the file


def load_checkpoint(
    path: Path, *, expect_backbone: str | None = None, expect_num_classes: int | None = None
) -> tuple[SegmentationNetwork, dict[str, Any]]:
    """Read a checkpoint and build its network.

    Parameters
    ----------
    path : Path
        File written by `save_checkpoint`.
    expect_backbone : str, optional
        Backbone that the caller needs.
    expect_num_classes : int, optional
        Number of classes that the caller needs.

    Returns
    -------
    network : SegmentationNetwork
        On the CPU, in evaluation mode.
    metadata : dict
        As saved.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, foreign, of another format version, of another network than expected, or
        holds weights for an earlier form of its network.
    """
    path = Path(path)
    content = _read(path)
    metadata = content["metadata"]
    _refuse_earlier_form(path, metadata)
    for key, found, expected in (
        ("backbone", metadata["backbone"], expect_backbone),
        ("num_classes", metadata["num_classes"], expect_num_classes),
    ):
        if expected is not None and found != expected:
            raise CheckpointError(
                f"{path}: {key} is {found}, expected {expected}. Give a checkpoint that was trained with this data "
                "set's classes and this backbone, or train one: arseg train ..."
            )
    try:
        network = build_network(metadata["backbone"], metadata["num_classes"], metadata["fusion"])
        network.load_state_dict(content["state_dict"], strict=True)
    except (ConfigError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{path}: its weights do not fit a {metadata['backbone']} with {metadata['num_classes']} classes "
            f"({reason[:300]}); train it again with this version of arseg"
        ) from error
    return network.eval(), metadata


def _refuse_earlier_form(path: Path, metadata: dict[str, Any]) -> None:
    """Refuse weights that arseg trained for a network that has been corrected since; imported ones stay valid."""
    since = REDESIGNED.get(metadata["backbone"])
    trained_here = "stage" in metadata and "imported_from" not in metadata
    if since is not None and trained_here and metadata["stage"] < since:
        raise CheckpointError(
            f"{path}: was trained at stage {metadata['stage']}, when {metadata['backbone']} was dilated otherwise than "
            f"published (corrected in stage {since}), so its weights are for another network. Train it again: arseg "
            "train ..."
        )


def read_metadata(path: Path) -> dict[str, Any]:
    """Read what a checkpoint says of itself, without building its network.

    Parameters
    ----------
    path : Path
        File written by `save_checkpoint`.

    Returns
    -------
    metadata : dict
        As saved.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, foreign or of another format version.
    """
    metadata: dict[str, Any] = _read(Path(path))["metadata"]
    return metadata


def read_tensors(path: Path, mend: str) -> Any:
    """Read a file of tensors and builtins, whoever wrote it, without running code that it may contain.

    Parameters
    ----------
    path : Path
        File written by ``torch.save``.
    mend : str
        What to do if it is unreadable, for the message.

    Raises
    ------
    CheckpointError
        If the file is missing or damaged, or holds other objects, of which the message names the first.
    FileAccessError
        If the operating system does not let it be read.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; {mend}")
    with reading(path), path.open("rb") as file:
        is_archive = file.read(len(ARCHIVE)) == ARCHIVE
    if is_archive and (damage := zip_damage(path)):  # PyTorch writes checksums, but does not compare them
        raise CheckpointError(f"{path}: not a readable checkpoint, perhaps truncated ({damage}); {mend}")

    def refused(error: Exception) -> CheckpointError:
        if "can't allocate memory" in str(error):  # PyTorch's word for what Python calls
            raise MemoryError(str(error)) from error
        reason, what_to_do = str(error).partition("\n")[0], mend
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

    with reading(path, refused, *(ARCHIVE_SIGNS if is_archive else OLDER_SIGNS)), path.open("rb") as file:
        return torch.load(file, map_location="cpu", weights_only=True)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; expected a checkpoint written by training")
    content = read_tensors(path, "delete it, and copy or train it again")
    if not isinstance(content, dict) or "format_version" not in content:
        raise CheckpointError(
            f"{path}: written by another program; expected a checkpoint of arseg with format_version, "
            "state_dict and metadata. A plain state dict must be converted first"
        )
    if content["format_version"] != FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: format_version {content['format_version']}, expected {FORMAT_VERSION}; use the "
            "version of arseg that wrote it, or train it again"
        )
    metadata = content.get("metadata")
    for key, kind in REQUIRED_METADATA.items():
        if not isinstance(metadata, dict) or not isinstance(metadata.get(key), kind):
            raise CheckpointError(f"{path}: metadata lacks {key}; name another file, or train it again")
    if not isinstance(content.get("state_dict"), dict):
        raise CheckpointError(f"{path}: state_dict is missing; name another file, or train it again")
    return content


def _require_builtins(value: object, where: str) -> None:
    """Refuse what ``weights_only=True`` would refuse, before hours of training end in an unreadable file."""
    # Subclasses, such as NumPy's float64 of float, count as foreign: hence `type` instead of `isinstance`.
    if isinstance(value, dict) and type(value) is dict:
        for key, item in value.items():
            _require_builtins(key, f"{where} key")
            _require_builtins(item, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple) and type(value) in (list, tuple):
        for index, item in enumerate(value):
            _require_builtins(item, f"{where}[{index}]")
    elif value is not None and type(value) not in (bool, int, float, str):
        raise TypeError(f"{where} is {type(value).__name__}: expected a builtin type")
