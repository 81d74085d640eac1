"""Networks taken from checkpoints for a role in the protocol, after checking that they are made for it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from arseg.errors import CheckpointError, ConfigError
from arseg.files import file_digest
from arseg.models.checkpoint import StoredCheckpoint, load_checkpoint, read_checkpoint
from arseg.models.network import SegmentationNetwork
from arseg.models.optimize import prepare_for_inference
from arseg.spec import PAPER_RULES, MotionRules, NetworkSpec, Normalization, Role, TrainedOn

MAX_SIZE_RATIO = 2
"""How many times as long as in training the sides of frames may be, or as short, without a warning. The published
random scales, 0.5 to 2.5, show a network each thing in half and twice its size; what differs more it has not seen."""


@dataclass(frozen=True)
class Branch:
    """A network in evaluation mode, and what it was trained with."""

    network: SegmentationNetwork
    """In evaluation mode, on the device that it was loaded for."""
    spec: NetworkSpec
    """What it is."""
    trained_on: TrainedOn
    """How it came to be."""
    digest: str
    """SHA-256 of the checkpoint file."""

    @property
    def normalization(self) -> Normalization:
        """What its images are normalised with."""
        return Normalization.parse(self.spec.normalization)

    def size_difference(self, width: int, height: int) -> str:
        """Return how frames of a size differ from those of the training; empty if not by much, or not known."""
        if self.trained_on.frame_size is None:
            return ""
        ratio = math.sqrt(width * height / math.prod(self.trained_on.frame_size))
        if 1 / MAX_SIZE_RATIO <= ratio <= MAX_SIZE_RATIO:
            return ""
        trained = "x".join(map(str, self.trained_on.frame_size))
        return (
            f"the network was trained on frames of {trained} pixels, these have {width}x{height}: things in them are "
            f"{ratio:.2g} times as large as it has learnt. Resize the frames, or train on some of that size"
        )

    @property
    def motion(self) -> MotionRules:
        """How the motion was composed that an LR branch was trained on; as in the paper where the file does not say."""
        encoding = self.trained_on.encoding
        return PAPER_RULES if encoding is None else encoding.motion


def load_branch(
    source: str | Path | StoredCheckpoint,
    *,
    role: Role,
    scale_percent: int | None,
    class_names: Sequence[str] | None,
    device: torch.device,
    beside: Branch | None = None,
    prepared: bool = True,
) -> Branch:
    """Read the checkpoint of a branch.

    Parameters
    ----------
    source : path or StoredCheckpoint
        Checkpoint of arseg, or what has been read of it.
    role : {"hr", "lr", "ar"}
        HR branch, constant-resolution baseline, or LR branch of AR.
    scale_percent : int or None
        Resolution that it will see; a network that was trained at another is refused. None takes the one that
        it was trained at.
    class_names : sequence of str, optional
        Classes of the data set, which must be the checkpoint's; None takes whatever it was trained with.
    device : torch.device
        Where the network shall run.
    beside : Branch, optional
        HR branch that the network works with; both must have one backbone and one normalisation.
    prepared : bool
        Give the network in the form that runs fastest (`arseg.models.optimize`), which cannot be trained on. Whatever
        scores or shows networks takes this one, so that labels are the same everywhere.

    Returns
    -------
    branch : Branch

    Raises
    ------
    CheckpointError
        If the checkpoint is unreadable, or made for another role, scale, data set or HR branch.
    """
    stored = source if isinstance(source, StoredCheckpoint) else read_checkpoint(Path(source))
    path = stored.path
    network, spec, trained_on = load_checkpoint(
        stored,
        expect_backbone=None if beside is None else beside.spec.backbone,
        expect_num_classes=None if class_names is None else len(class_names),
    )
    checked: list[tuple[str, object, object]] = [("fusion", bool(spec.fusion), role == "ar")]
    if scale_percent is not None:
        checked.append(("scale_percent", spec.scale_percent, scale_percent))
    if class_names is not None and spec.classes:
        checked.append(("class_names", spec.class_names, tuple(class_names)))
    for key, found, expected in checked:
        if found != expected:
            raise CheckpointError(
                f"{path}: {key} is {found}, expected {expected} in the role {role!r}. Give the checkpoint "
                "that was trained for this, or evaluate it as what it was trained for."
            )
    try:
        Normalization.parse(spec.normalization)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}. Train or convert it again with this version of arseg.") from error
    if beside is not None and spec.normalization != beside.spec.normalization:
        raise CheckpointError(
            f"{path}: was trained with {spec.normalization} normalisation, its HR branch with another. Give the "
            "HR branch that it was trained beside."
        )
    if beside is not None and trained_on.hr_digest not in (None, beside.digest):
        raise CheckpointError(
            f"{path}: was trained beside another HR branch than the one given: it fuses that one's features and has "
            "its classifier. Give the HR branch that it was trained beside, or train it again."
        )
    network = network.to(device).eval()
    return Branch(prepare_for_inference(network) if prepared else network, spec, trained_on, file_digest(path))
