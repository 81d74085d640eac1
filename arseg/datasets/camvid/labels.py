"""CamVid's colour labels to class indices (docs/method.md, 'CamVid')."""

import logging
from pathlib import Path, PurePosixPath

from arseg.data.archives import ImageSource
from arseg.data.color_labels import write_index_labels
from arseg.datasets.camvid.manifest import camvid_classes, is_label
from arseg.errors import DataError

USUALLY_IGNORED = 0.2
"""A share of ignored pixels that CamVid's own labels do not reach."""

INDEX_LABELS = "Give CamVid's own colour labels; index labels need no conversion."

logger = logging.getLogger(__name__)


def write_camvid_labels(source: str | Path, output: str | Path) -> int:
    """Convert all colour labels of a folder or zip archive; colours of none of the twelve classes become 255.

    Parameters
    ----------
    source : path
        Folder or zip archive with files ``NAME_L.png``, or ``NAME.png`` in folders whose names say "label".
    output : path
        Folder to write, whole or not at all: ``NAME.png`` with class indices.

    Returns
    -------
    num_labels : int
        Number of label maps.

    Raises
    ------
    DataError
        If there are none, one occurs twice, or one is damaged or not in colours.
    """
    images = ImageSource(source)
    members: dict[str, PurePosixPath] = {}
    for member in images.members:
        if is_label(images, member):
            name = f"{member.stem.removesuffix('_L')}.png"
            if name in members:
                raise DataError(
                    f"{source}: {members[name]} and {member} are labels of one still. Give one package only."
                )
            members[name] = member
    if not members:
        raise DataError(
            f"{source}: holds no colour labels, which are named like 0001TP_006690_L.png. Give LabeledApproved_full "
            "or the Kaggle package, zipped or unpacked."
        )
    names = {member: name for name, member in members.items()}
    ignored = write_index_labels(images, output, camvid_classes(), names=names, ignores_unknown=True, hint=INDEX_LABELS)
    if ignored > USUALLY_IGNORED:
        logger.warning("%s: are these CamVid's own colours? Of its labels, a few percent are ignored", source)
    return len(members)
