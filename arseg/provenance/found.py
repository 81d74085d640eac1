"""What a result without a record tells about itself: clip stores, motion files, evaluations and checkpoints do."""

import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py

from arseg.errors import CheckpointError, DataError, StoreError
from arseg.hdf5 import all_attributes, translate_read_errors


def found_in(path: Path) -> dict[str, Any]:
    """Read what a file says about itself.

    Parameters
    ----------
    path : Path
        A file or folder of any kind.

    Returns
    -------
    facts : dict
        By name; empty if nothing is known of this kind of file, or its content is damaged.

    Raises
    ------
    FileAccessError
        If the operating system does not let it be read.
    """
    try:
        if path.suffix in (".h5", ".hdf5"):
            with translate_read_errors(path, "is damaged", ""), h5py.File(path, "r", locking=False) as file:
                return dict(sorted(all_attributes(file, "").items()))
        if path.suffix == ".npz" and zipfile.is_zipfile(path):
            from arseg.evaluate.result import load_evaluation  # noqa: PLC0415  (each kind loads its own libraries)

            return asdict(load_evaluation(path).settings)
        if path.suffix in (".pt", ".pth"):
            from arseg.models.describe import describe_checkpoint  # noqa: PLC0415

            return dict(describe_checkpoint(path))
    except (StoreError, DataError, CheckpointError, FileNotFoundError):
        pass  # arseg's own commands say what is wrong with it
    return {}
