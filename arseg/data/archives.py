"""Images in folders and zip archives, read alike, and single files out of zip archives that may be cut into parts."""

import io
import os
import shutil
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path, PurePosixPath

from arseg.access import access_error, reading, writing
from arseg.errors import DataError

HINT = "Download it again; of an archive in parts (.zip.001, .zip.002), give all of them, in order."


@contextmanager
def open_zip(*parts: Path, hint: str = HINT) -> Iterator[zipfile.ZipFile]:
    """Yield a zip archive, or one that was cut into parts, given in order, which are read without being joined.

    A DataError says, with `hint`, that a part is missing, or what is found damaged within the block; or that Python
    cannot unpack it.
    """
    name = " + ".join(map(str, parts))
    for part in parts:
        if not part.is_file():
            raise DataError(f"{part}: no such file or folder. {hint}")

    def damaged(error: Exception) -> DataError:
        return DataError(f"{name}: truncated, damaged or not a zip archive ({error}). {hint}")

    try:
        with (
            reading(parts[0], damaged, zipfile.BadZipFile, zlib.error, EOFError),
            _JoinedFile(parts) as joined,
            zipfile.ZipFile(io.BufferedReader(joined, 1 << 20)) as archive,
        ):
            yield archive
    # An encrypted member, or a method that Python lacks: Windows packs files above 2 GB with Deflate64.
    except RuntimeError as error:
        raise DataError(
            f"{name}: cannot be unpacked here ({error}). Unpack it with another program, such as 7-Zip, and give what "
            "was in it."
        ) from error


class ImageSource:
    """The PNG images below a folder or in a zip archive, from which nothing is unpacked.

    `members` are their places, sorted. A DataError says that there is neither, or no image in it; or see `open_zip`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.is_dir():
            walk = os.walk(self.path, onerror=self._refuse)  # `rglob` passes over what it cannot read
            names = [
                Path(folder, file).relative_to(self.path).as_posix() for folder, _, files in walk for file in files
            ]
        else:
            with open_zip(self.path) as archive:
                names = archive.namelist()
        # An archive's own spelling of a name is kept: paths drop the "./" that some programs begin names with.
        self._names = {PurePosixPath(name): name for name in sorted(names) if name.endswith(".png")}
        # macOS puts a shadow "__MACOSX/._NAME.png" of each file into its archives.
        self.members = tuple(member for member in self._names if not member.name.startswith("."))
        if not self.members:
            raise DataError(f"{path}: holds no PNG picture. Give the folder or zip archive that has them.")

    def _refuse(self, error: OSError) -> None:
        raise access_error(self.path, error) from error

    def folder_name(self, member: PurePosixPath) -> str:
        """Return the name of the folder that an image lies in: one of the source, or the source itself."""
        return (self.path / member).parent.name

    def read(self, members: Sequence[PurePosixPath]) -> Iterator[tuple[PurePosixPath, bytes]]:
        """Yield the places and files of some images, one by one; raises as `open_zip` does."""
        if self.path.is_dir():
            for member in members:
                with reading(self.path / member):
                    content = (self.path / member).read_bytes()
                yield member, content
        else:
            with open_zip(self.path) as archive:
                for member in members:
                    yield member, archive.read(self._names[member])


def extract_only(parts: Sequence[Path], suffixes: Sequence[str], output: Path) -> None:
    """Copy the only file with one of `suffixes`, in small letters, out of a zip archive or the parts of one.

    A DataError says that there is no such file, or more than one; or see `open_zip`.
    """
    with open_zip(*parts) as archive:
        names = [name for name in archive.namelist() if PurePosixPath(name).suffix.lower() in suffixes]
        if len(names) != 1:
            held = ", ".join(archive.namelist()[:5]) or "nothing"
            raise DataError(
                f"{' + '.join(map(str, parts))}: expected one file with the suffix {' or '.join(suffixes)} in it, "
                f"found {len(names)} among {held}. Unpack it yourself, and give the file."
            )
        extract(archive, names[0], output)


def extract(archive: zipfile.ZipFile, member: str | zipfile.ZipInfo, output: Path) -> None:
    """Copy a member of an archive to a file."""
    with archive.open(member) as source, writing(output), output.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)


class _JoinedFile(io.RawIOBase):
    """Several files, read as if they were one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files = [path.open("rb") for path in paths]
        self._ends = list(accumulate(path.stat().st_size for path in paths))
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
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._ends[-1]}[whence]
        if self._position < 0:
            raise zipfile.BadZipFile("it refers to a place before its beginning")
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        index = bisect_right(self._ends, self._position)
        if index == len(self._files):
            return 0
        file = self._files[index]
        file.seek(self._position - self._ends[index], io.SEEK_END)
        count = file.readinto(buffer)
        self._position += count
        return count
