"""Unpack what is needed of the Cityscapes packages: the frames and label ids of train and val."""

import logging
import re
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from arseg.access import access_error, find_refusal
from arseg.errors import DataError
from arseg.files import atomic_path
from arseg.progress import track

# Whatever else is in an archive stays there: other labels, the split test, and names that lead out of the folder.
_MEMBER = re.compile(
    r"(?P<folder>gtFine|leftImg8bit|leftImg8bit_sequence)/"
    r"(?P<path>(?:train|val)/[\w-]+/[\w-]+_\d{6}_\d{6}_(?:gtFine_labelIds|leftImg8bit)\.png)"
)

logger = logging.getLogger(__name__)


def unpack_cityscapes(archives: Sequence[str | Path], root: str | Path) -> None:
    """Unpack packages into one folder, whole or not at all for each of ``gtFine``, ``leftImg8bit`` and the sequences.

    Parameters
    ----------
    archives : sequence of path
        Packages of Cityscapes. What several of them hold of one folder is put together.
    root : path
        Folder that gets the folders. One that is there, with something in it, is kept as it is.

    Raises
    ------
    DataError
        If an archive is missing, truncated, damaged or no package of Cityscapes, or the disk is too small.
    """
    root = Path(root)
    with ExitStack() as opened:
        members: dict[str, list[tuple[zipfile.ZipFile, zipfile.ZipInfo, str]]] = {}
        for path in map(Path, archives):
            archive = opened.enter_context(_open(path))
            chosen = [(info, match) for info in archive.infolist() if (match := _MEMBER.fullmatch(info.filename))]
            if not chosen:
                raise DataError(
                    f"{path}: holds no label ids or frames of the splits train and val below gtFine, leftImg8bit or "
                    "leftImg8bit_sequence. Give the packages named ..._trainvaltest.zip."
                )
            for info, match in chosen:
                members.setdefault(match["folder"], []).append((archive, info, match["path"]))
        for folder, files in members.items():
            output = root / folder
            if output.is_dir() and any(output.iterdir()):
                logger.info("%s: is there already; delete it to unpack it again", output)
                continue
            _check_space(output, sum(info.file_size for _, info, _ in files))
            with atomic_path(output) as temporary:
                for archive, info, path_inside in track(files, folder):
                    _extract(archive, info, temporary / path_inside)


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such archive. Download it: arseg cityscapes download {path.name}") from error
    except (zipfile.BadZipFile, OSError) as error:
        if refusal := find_refusal(error):
            raise access_error(path, refusal) from error
        raise _damaged(path, error) from error


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, output: Path) -> None:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(info) as source, output.open("wb") as target:
            shutil.copyfileobj(source, target)
    # RuntimeError: an encrypted member, or a compression that Python does not know.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise _damaged(Path(str(archive.filename)), error) from error
    except OSError as error:
        raise access_error(output, error, writes=True) from error


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path}: no whole zip archive ({error}). Delete it and download it again: "
        f"arseg cityscapes download {path.name}"
    )


def _check_space(output: Path, num_bytes: int) -> None:
    existing = next(folder for folder in output.absolute().parents if folder.is_dir())
    free = shutil.disk_usage(existing).free
    if num_bytes > free:
        raise DataError(
            f"{output}: needs {num_bytes / 1e9:.2f} GB, {free / 1e9:.2f} GB are free. Make room (a killed run leaves a "
            f"hidden folder .{output.name}.*.partial beside it), or name another folder."
        )
