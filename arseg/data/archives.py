"""Pictures in folders and zip archives, read alike, and single files out of zip archives that may be cut into parts."""

import io
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from arseg.access import reading, writing
from arseg.errors import DataError

DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError)
"""What `zipfile` raises on archives that are cut off or damaged, beside OSError."""

UNSUPPORTED = RuntimeError
"""What `zipfile` raises on encrypted files, and on methods it lacks: Windows packs files above 2 GB with Deflate64."""


class PictureSource:
    """The PNG pictures below a folder or in a zip archive.

    Nothing is unpacked, so that no name in an archive can lead to a place outside.

    Parameters
    ----------
    path : path
        Folder or zip archive.

    Raises
    ------
    DataError
        If there is neither, the archive is damaged, or there is no picture.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.is_dir():
            with reading(self.path):
                names = [file.relative_to(self.path).as_posix() for file in self.path.rglob("*.png") if file.is_file()]
        elif self.path.is_file():
            with _open_archive([self.path]) as archive:
                names = archive.namelist()
        else:
            raise DataError(f"{path}: no such folder or zip archive")
        # An archive's own spelling of a name is kept: paths drop the "./" that some programs begin names with.
        self._names = {PurePosixPath(name): name for name in sorted(names) if name.endswith(".png")}
        # macOS puts a shadow "__MACOSX/._NAME.png" of each file into its archives.
        self.members = tuple(member for member in self._names if not member.name.startswith("."))
        """Places of the pictures in the folder or archive, sorted."""
        if not self.members:
            raise DataError(f"{path}: holds no PNG picture. Give the folder or zip archive that has them.")

    def folder_name(self, member: PurePosixPath) -> str:
        """Name of the folder that a picture lies in: one of the source, or the source itself."""
        return (self.path / member).parent.name

    def read(self, members: Sequence[PurePosixPath]) -> Iterator[tuple[PurePosixPath, bytes]]:
        """Read the files of some pictures, one by one.

        Raises
        ------
        DataError
            If one is damaged, or packed in a way that Python cannot unpack.
        FileAccessError
        If the operating system does not let one be read.
        """
        if self.path.is_dir():
            for member in members:
                with reading(self.path / member):
                    content = (self.path / member).read_bytes()
                yield member, content
            return
        with _open_archive([self.path]) as archive:
            for member in members:
                damaged = partial(_damaged, [self.path], f"{member} is damaged")
                try:
                    with reading(self.path, damaged, *DAMAGE):
                        content = archive.read(self._names[member])
                except UNSUPPORTED as error:
                    raise DataError(
                        f"{self.path}: {member} cannot be unpacked here ({error}). Unpack the archive with another "
                        "program, such as 7-Zip, and give the folder."
                    ) from error
                yield member, content


def extract_only(parts: Sequence[Path], suffixes: Sequence[str], output: Path) -> None:
    """Copy the only file of a kind out of a zip archive.

    Parameters
    ----------
    parts : sequence of Path
        The archive, or the pieces that it was cut into, in order. They are read where they are, without being joined.
    suffixes : sequence of str
        How the file's name may end, in small letters.
    output : Path
        File to write.

    Raises
    ------
    DataError
        If a part is missing or damaged, there is no such file, or more than one, or Python cannot unpack it.
    """
    with _open_archive(parts) as archive:
        names = [name for name in archive.namelist() if PurePosixPath(name).suffix.lower() in suffixes]
        if len(names) != 1:
            held = ", ".join(archive.namelist()[:5]) or "nothing"
            raise DataError(
                f"{_names(parts)}: expected one file with the suffix {' or '.join(suffixes)} in it, found {len(names)} "
                f"among {held}. Unpack it yourself, and give the file."
            )
        damaged = partial(_damaged, parts, f"{names[0]} is damaged")
        try:
            with (
                reading(parts[0], damaged, *DAMAGE),
                archive.open(names[0]) as source,
                writing(output),
                output.open("wb") as target,
            ):
                while content := _read(parts[0], damaged, source):
                    target.write(content)
        except UNSUPPORTED as error:
            raise DataError(
                f"{_names(parts)}: {names[0]} cannot be unpacked here ({error}). Unpack it with another program, such "
                "as 7-Zip, and give the file."
            ) from error


@contextmanager
def _open_archive(parts: Sequence[Path]) -> Iterator[zipfile.ZipFile]:
    for part in parts:
        if not part.is_file():
            raise DataError(f"{part}: no such file. {_mend(parts)}")
    with reading(parts[0]):
        joined = _JoinedFile(parts)
    with joined:
        with reading(parts[0], partial(_damaged, parts, "no whole zip archive"), *DAMAGE):
            archive = zipfile.ZipFile(cast(BinaryIO, io.BufferedReader(joined, 1 << 20)))
        with archive:
            yield archive


def _read(path: Path, damaged: Callable[[Exception], DataError], source: IO[bytes]) -> bytes:
    """Read the next piece, apart from what is done with it: a full disk is no damage."""
    with reading(path, damaged, *DAMAGE):
        return source.read(1 << 20)


def _damaged(parts: Sequence[Path], problem: str, error: Exception) -> DataError:
    return DataError(f"{_names(parts)}: {problem} ({error}). {_mend(parts)}")


def _names(parts: Sequence[Path]) -> str:
    return " + ".join(map(str, parts))


def _mend(parts: Sequence[Path]) -> str:
    if len(parts) == 1:
        return "Download it again; of an archive in parts (.zip.001, .zip.002), give all of them."
    return "A part is missing, cut off or out of order: download the parts again, and give them in order."


class _JoinedFile(io.RawIOBase):
    """Several files, read as if they were one."""

    def __init__(self, parts: Sequence[Path]) -> None:
        self._files = [part.open("rb") for part in parts]
        sizes = [part.stat().st_size for part in parts]
        self._starts = [sum(sizes[:index]) for index in range(len(sizes))]
        self._size = sum(sizes)
        self._position = 0

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if origin + offset < 0:
            raise OSError("seek before the start of the file")
        self._position = origin + offset
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if self._position >= self._size:
            return 0
        index = max(index for index, start in enumerate(self._starts) if start <= self._position)
        file = self._files[index]
        file.seek(self._position - self._starts[index])
        count = file.readinto(buffer)
        self._position += count
        return count
