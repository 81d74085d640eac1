"""What a checkpoint is, in words: ours by its metadata, another program's by its tensors."""

from pathlib import Path

from arseg.files import file_digest
from arseg.models.checkpoint import load_checkpoint, read_tensors
from arseg.models.layout import Fit, guess_network, without_prefix
from arseg.models.published import (
    MEND_PUBLISHED,
    is_own_checkpoint,
    parse_published_name,
    read_published,
)

ROLES = {"hr": "hr (HR branch)", "lr": "lr (constant-resolution baseline)", "ar": "ar (LR branch of AR)"}


def describe_checkpoint(path: Path) -> dict[str, str]:
    """Say what a checkpoint is and what it was trained for, as far as the file tells.

    Parameters
    ----------
    path : Path
        Checkpoint of arseg, or a state dict of another program.

    Returns
    -------
    facts : dict of str to str
        Facts by their names, in the order to print them in. The last one is the file's SHA-256.

    Raises
    ------
    CheckpointError
        If the file is missing or unreadable, or its weights do not fit its metadata.
    """
    path = Path(path)
    facts = _own_facts(path) if is_own_checkpoint(read_tensors(path, MEND_PUBLISHED)) else _foreign_facts(path)
    return facts | {"sha256": file_digest(path)}


def _own_facts(path: Path) -> dict[str, str]:
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
        facts["score"] = f"mIoU {100 * trained_on.score:.2f} in validation"
    facts |= {name: str(value) for name in ("epoch", "seed") if (value := getattr(trained_on, name)) is not None}
    if trained_on.encoding is not None:
        facts["encoding"] = trained_on.encoding.name
    if start := trained_on.initialized_from:
        left = ", ".join(start["left_random"]) or "none"
        facts["started from"] = f"{start['file']} (sha256 {start['sha256']}), but for: {left}"
    if origin := trained_on.imported_from:
        facts["imported from"] = f"{origin['file']} (sha256 {origin['sha256']})"
    return facts


def _foreign_facts(path: Path) -> dict[str, str]:
    state_dict = read_published(path)
    guess = guess_network(without_prefix(state_dict))
    facts = {
        "format": f"state dict of another program, {len(state_dict)} entries",
        "looks like": "no network known here" if guess is None else _likely(guess),
    }
    named = parse_published_name(path)
    if named is not None:
        facts |= {
            "scale": f"{named.scale_percent} %, by the file's name",
            "epoch": f"{named.epoch}, by the file's name",
        }
    return facts


def _likely(fit: Fit) -> str:
    if fit.num_problems:
        return f"{fit.describe()}, but for {fit.num_problems} tensors that are missing, unknown or of another shape"
    return fit.describe()
