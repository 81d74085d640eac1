"""What a checkpoint is, in words."""

from pathlib import Path

from arseg.files import file_digest
from arseg.metrics.metric import AGREEMENT, describe_score
from arseg.models.checkpoint import load_checkpoint
from arseg.spec import TrainedOn

ROLES = {"hr": "hr (HR branch)", "lr": "lr (constant-resolution baseline)", "ar": "ar (LR branch of AR)"}


def describe_checkpoint(path: Path) -> dict[str, str]:
    """Return what a checkpoint of arseg says of itself.

    Parameters
    ----------
    path : Path
        The checkpoint.

    Returns
    -------
    facts : dict of str to str
        Facts by their names, in the order to print them in. The last one is the file's SHA-256.

    Raises
    ------
    CheckpointError
        If the file is missing or unreadable, or its weights do not fit its metadata.
    """
    _, spec, trained_on = load_checkpoint(path)
    facts = {
        "format": f"checkpoint of arseg {trained_on.arseg_version}",
        "backbone": spec.backbone,
        "role": ROLES[spec.role],
        "classes": f"{spec.num_classes}: {', '.join(spec.class_names) or 'no names'}",
        "scale": f"{spec.scale_percent} %",
        "normalization": spec.normalization,
    }
    if trained_on.score is not None:
        facts["score"] = describe_validation(trained_on)
    facts |= {name: str(value) for name in ("epoch", "seed") if (value := getattr(trained_on, name)) is not None}
    if trained_on.encoding is not None:
        facts["encoding"] = trained_on.encoding.name
    if start := trained_on.initialized_from:
        left = ", ".join(start["left_random"]) or "none"
        facts["started from"] = f"{start['file']} (sha256 {start['sha256']}), but for: {left}"
    if origin := trained_on.imported_from:
        facts["imported from"] = f"{origin['file']} (sha256 {origin['sha256']})"
    return facts | {"sha256": file_digest(path)}


def describe_validation(trained_on: TrainedOn) -> str:
    """Return the score of a training in words; there must be one."""
    assert trained_on.score is not None
    return (
        f"{describe_score(AGREEMENT if trained_on.labelled_by else 'miou')} {100 * trained_on.score:.2f} in validation"
    )
