"""HDF5 files that are written once, whole, and never changed afterwards, and that tell when they are damaged.

HDF5 1.10 gave every structure of a file a checksum, except the heap that holds strings of variable length, and the
contents of datasets. So files are written in that version's format, strings in fixed length, and every dataset goes
through a filter that has a checksum (zlib's, or fletcher32).
"""

import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import deflate
import h5py
import numpy as np
from numpy.typing import NDArray

from arseg import __version__
from arseg.access import reading
from arseg.errors import StoreError

LIBRARY_VERSIONS = ("v110", "v110")
"""The oldest, and the newest, format that HDF5 may use for the structures of a file."""

SIGNS = (RuntimeError, ValueError, deflate.DeflateError)
"""What h5py raises on damage, and libdeflate, beside OSError; which one depends on the structure that is hit. For an
entry of a group it is a KeyError, which `entry` and `read_attributes` turn into what they raise."""

ERRNO = re.compile(r"errno = (\d+)")
"""How HDF5 says what the operating system said, whatever exception h5py makes of it."""


class NewFile(h5py.File):  # type: ignore[misc]  # h5py has no types
    """A file to be written, whose structures have checksums; `create_file` opens it.

    HDF5 is never told that it could not write: it crashes when the process ends if a full disk kept it from writing
    what it holds. `raise_failure` says it instead.
    """

    def __init__(self, disk: "_Disk") -> None:
        super().__init__(disk, "w", libver=LIBRARY_VERSIONS)
        self.raise_failure = disk.raise_failure


@contextmanager
def create_file(path: Path) -> Iterator[NewFile]:
    """Open a file for writing, over what is there; call ``raise_failure()`` of it from time to time.

    When the block ends, all of it has been given to the operating system; raises OSError if that did not take it.
    """
    with _Disk(path, "w+") as disk:
        with NewFile(disk) as file:
            yield file
        disk.raise_failure()


class _Disk(io.FileIO):
    """A file that keeps the first failure, and discards all later writes."""

    failure: OSError | None = None

    def raise_failure(self) -> None:
        """Raise what kept the disk from taking all that was written so far, if anything did."""
        if self.failure is not None:
            raise self.failure

    def write(self, content: Any) -> int:
        rest = memoryview(content).cast("B")
        size = len(rest)
        with self._keeping_failure():
            while rest and self.failure is None:  # the disk may take a part only, and refuse the next
                rest = rest[super().write(rest) :]
        return size

    def truncate(self, size: int | None = None) -> int:
        with self._keeping_failure():
            return super().truncate(size)
        return size or 0

    @contextmanager
    def _keeping_failure(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failure = self.failure or OSError(error.errno, error.strerror, str(self.name))


def write_attributes(target: h5py.HLObject, values: Mapping[str, Any]) -> None:
    """Write attributes, strings among them as UTF-8 of fixed length; `as_builtin` reads them."""
    for name, value in values.items():
        if isinstance(value, str):
            # Its own creator: that of h5py loses the note that the bytes are UTF-8, and would call them ASCII.
            content = _encoded(value)
            target.attrs.create(name, content, dtype=content.dtype)
        else:
            target.attrs[name] = value


def write_column(group: h5py.Group, name: str, values: Sequence[Any], kind: type) -> None:
    """Write a list that is read in one go, of ``str`` (UTF-8 of fixed length) or of ``int`` (64 bits)."""
    data = _encoded(values) if kind is str else np.array(values, np.int64)
    # What is empty has no chunks.
    filters = {"chunks": data.shape, "compression": "gzip", "fletcher32": True} if len(values) else {}
    group.create_dataset(name, data=data, dtype=data.dtype, **filters)


def as_builtin(value: Any) -> Any:
    """Return an attribute as h5py reads it as Python's own int, float, bool or str."""
    value = value.item() if isinstance(value, np.generic) else value
    return value.decode() if isinstance(value, bytes) else value


@contextmanager
def translate_read_errors(path: Path, problem: str, hint: str) -> Iterator[None]:
    """Raise what HDF5 has against reading as errors of ours; no more than that may happen inside.

    They are `StoreError` with the problem ("frame of sample 3 is damaged") and a hint if the content is wrong, and
    `FileAccessError` if the operating system does not let it be read.
    """
    with reading(path, lambda error: StoreError(f"{path}: {problem} ({error}). {hint}"), *SIGNS):
        try:
            yield
        except (OSError, *SIGNS) as error:
            found = ERRNO.search(str(error))
            if found is None or isinstance(error, FileNotFoundError):
                raise
            raise OSError(int(found[1]), os.strerror(int(found[1]))) from error


def entry(group: h5py.Group, name: str) -> Any:
    """Return a dataset or group by its name; within `translate_read_errors`, which takes a lack of it for damage."""
    try:
        return group[name]
    except KeyError as error:
        raise ValueError(error.args[0]) from error


def read_attributes(file: h5py.File, names: Iterable[str], hint: str) -> dict[str, Any]:
    """Return root attributes as Python's own int, float, bool or str; errors as `translate_read_errors`.

    One that is not there, as in a file of another version of arseg, is a `StoreError` as well.
    """
    found = all_attributes(file, hint)
    if missing := [name for name in names if name not in found]:
        raise StoreError(
            f"{file.filename}: has no attribute {missing[0]}, so arseg {found.get('arseg_version')} wrote it, and not "
            f"{__version__}. Read it with that version, or make it again with this one"
        )
    return {name: found[name] for name in names}


def all_attributes(file: h5py.File, hint: str) -> dict[str, Any]:
    """Return all root attributes, see `read_attributes`."""
    with translate_read_errors(Path(file.filename), "the list of attributes is damaged", hint):
        try:
            return {name: as_builtin(value) for name, value in file.attrs.items()}
        except KeyError as error:  # of one that is in the list
            raise ValueError(error.args[0]) from error


def open_finished(
    path: Path, kind: str, *, format_versions: Sequence[int], attributes: set[str], command: str, hint: str
) -> h5py.File:
    """Return a file, open for reading, if it is what it shall be; the caller closes it.

    Parameters
    ----------
    path : Path
        The file.
    kind : str
        What it shall be, in words: "clip store".
    format_versions : sequence of int
        What its root attribute ``format_version`` may be; the first is the one that is written.
    attributes : set of str
        Root attributes that tell the kind.
    command, hint : str
        What makes such a file, and what to do with one that is of no use, for messages.

    Raises
    ------
    StoreError
        If the file is missing, truncated, damaged, unfinished, of another format version or of another kind.
    """
    not_hdf5 = f"expected a {kind} (HDF5), found a file that is truncated or something else"
    try:
        with translate_read_errors(path, not_hdf5, hint):
            # Finished files never change, so there is nothing to lock; some network file systems cannot.
            file = h5py.File(path, "r", locking=False)
    except FileNotFoundError as error:
        raise StoreError(f"{path}: no such {kind}. Make it: {command}") from error
    with ExitStack() as unless_fit:
        unless_fit.enter_context(file)
        found = all_attributes(file, hint)
        if not {"format_version", *attributes} <= set(found):
            problem = f"expected a {kind}, found an HDF5 file without its attributes"
        elif found["format_version"] not in format_versions:
            problem = f"expected {kind} format {format_versions[0]}, found {found['format_version']}"
        elif not found.get("complete", False):
            problem = f"expected a complete {kind}, found one whose writer was interrupted"
        else:
            unless_fit.pop_all()
            return file
        raise StoreError(f"{path}: {problem}. {hint}")


def _encoded(texts: str | Sequence[str]) -> NDArray[Any]:
    """One string or several as an array of UTF-8 whose type carries h5py's note that it is that, and not ASCII."""
    contents = texts.encode() if isinstance(texts, str) else [text.encode() for text in texts]
    longest = len(contents) if isinstance(contents, bytes) else max(map(len, contents), default=0)
    return np.array(contents, h5py.string_dtype("utf-8", max(1, longest)))  # HDF5 has no strings of length 0
