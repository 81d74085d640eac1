"""Open HDF5 files that were written once, whole, and never changed afterwards."""

from pathlib import Path

import h5py

from arseg.errors import StoreError


def open_finished(
    path: Path, kind: str, *, format_version: int, attributes: set[str], command: str, mend: str
) -> h5py.File:
    """Open a file for reading, if it is what it shall be.

    Parameters
    ----------
    path : Path
        The file.
    kind : str
        What it shall be, in words: "clip store".
    format_version : int
        Its root attribute ``format_version``.
    attributes : set of str
        Root attributes that tell the kind.
    command : str
        What makes such a file, for the message.
    mend : str
        What to do with one that is of no use.

    Returns
    -------
    file : h5py.File
        Open; the caller closes it.

    Raises
    ------
    StoreError
        If the file is missing, truncated, unfinished, of another format version or of another kind.
    """
    try:
        # Finished files never change, so there is nothing to lock; some network file systems cannot.
        file = h5py.File(path, "r", locking=False)
    except FileNotFoundError as error:
        raise StoreError(f"{path}: no such {kind}. Make it: {command}") from error
    except OSError as error:
        raise StoreError(
            f"{path}: expected a {kind} (HDF5), found a file that is truncated or something else ({error}). {mend}"
        ) from error
    problem = None
    if not {"format_version", *attributes} <= set(file.attrs):
        problem = f"expected a {kind}, found an HDF5 file without its attributes"
    elif file.attrs["format_version"] != format_version:
        problem = f"expected {kind} format {format_version}, found {file.attrs['format_version']}"
    elif not file.attrs.get("complete", False):
        problem = f"expected a complete {kind}, found one whose writer was interrupted"
    if problem:
        file.close()
        raise StoreError(f"{path}: {problem}. {mend}")
    return file
