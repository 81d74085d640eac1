"""What a result without a record tells about itself: clip stores, motion files, evaluations and checkpoints do."""

import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py

from arseg.errors import ArsegError
from arseg.hdf5 import as_builtin


def found_in(path: Path) -> dict[str, Any]:
    """Read what a file says about itself.

    Parameters
    ----------
    path : Path
        A file or folder of any kind.

    Returns
    -------
    facts : dict
        By name; empty if nothing is known of this kind of file, or it is unreadable.
    """
    try:
        if path.suffix in (".h5", ".hdf5"):
            with h5py.File(path, "r", locking=False) as file:
                return {name: as_builtin(value) for name, value in sorted(file.attrs.items())}
        if path.suffix == ".npz" and zipfile.is_zipfile(path):
            from arseg.evaluate.result import load_evaluation  # noqa: PLC0415  (each kind loads its own libraries)

            return asdict(load_evaluation(path).settings)
        if path.suffix in (".pt", ".pth"):
            from arseg.models.describe import describe_checkpoint  # noqa: PLC0415

            return dict(describe_checkpoint(path))
    except (ArsegError, OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError):
        pass  # arseg's own commands say what is wrong with it
    return {}
