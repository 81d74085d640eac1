"""Unpack what is needed of the Cityscapes packages: the frames and label ids of train and val."""

import logging
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from arseg.data.archives import extract, open_zip
from arseg.errors import DataError
from arseg.files import atomic_path, check_space
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
    contents: dict[str, dict[Path, list[tuple[ZipInfo, str]]]] = {}
    for path in map(Path, archives):
        with _open(path) as archive:
            for info in archive.infolist():
                if match := _MEMBER.fullmatch(info.filename):
                    contents.setdefault(match["folder"], {}).setdefault(path, []).append((info, match["path"]))
        if not any(path in by_archive for by_archive in contents.values()):
            raise DataError(
                f"{path}: holds no label ids or frames of the splits train and val below gtFine, leftImg8bit or "
                "leftImg8bit_sequence. Give the packages named ..._trainvaltest.zip."
            )
    for folder, by_archive in contents.items():
        output = Path(root) / folder
        if output.is_dir() and any(output.iterdir()):
            logger.info("%s: is there already; delete it to unpack it again", output)
            continue
        check_space(output, sum(info.file_size for members in by_archive.values() for info, _ in members))
        with atomic_path(output) as temporary:
            for path, members in by_archive.items():
                with _open(path) as archive:
                    for info, path_inside in track(members, folder):
                        (temporary / path_inside).parent.mkdir(parents=True, exist_ok=True)
                        extract(archive, info, temporary / path_inside)


def _open(path: Path) -> AbstractContextManager[ZipFile]:
    return open_zip(path, hint=f"Delete what is there and download it: arseg cityscapes download {path.name}")
