"""Find the checkpoints of one method in what a user names: files, or a folder of results."""

from collections.abc import Sequence
from pathlib import Path

import torch

from arseg.errors import CheckpointError
from arseg.files import file_digest
from arseg.models.branch import Branch, load_branch
from arseg.models.checkpoint import StoredCheckpoint, read_checkpoint


def load_branches(
    paths: Sequence[str | Path], device: torch.device, scale_percent: int | None = None
) -> tuple[Branch, Branch | None]:
    """Load the networks that segment a video.

    Parameters
    ----------
    paths : sequence of path
        Checkpoints, or folders that are searched for them: an LR branch of AR-Seg and its HR branch, or a single
        network that shall see every frame at its own resolution.
    device : torch.device
        Where they shall run.
    scale_percent : int, optional
        Resolution of the network to choose, where there are several.

    Returns
    -------
    first : Branch
        HR branch, or the single network.
    second : Branch or None
        LR branch; None if there is none.

    Raises
    ------
    CheckpointError
        If nothing is found, or more than one thing; or the networks do not belong together.
    """
    found = [read_checkpoint(path) for path in _files(paths)]
    fused = _one([item for item in found if item.spec.fusion], scale_percent)
    if fused is None:
        single = _one(found, scale_percent)
        if single is None:
            raise CheckpointError(
                f"{_named(paths)}: no checkpoint{'' if scale_percent is None else f' of {scale_percent} %'} was found. "
                "Name weights.pt files, or a folder of results that has some"
            )
        branch = load_branch(single, role=single.spec.role, scale_percent=None, class_names=None, device=device)
        return _described(branch, single.path), None
    stored_hr = _hr_of(fused, [item for item in found if not item.spec.fusion])
    hr = load_branch(stored_hr, role="hr", scale_percent=100, class_names=None, device=device)
    lr = load_branch(fused, role="ar", scale_percent=None, class_names=None, device=device, beside=hr)
    return hr, _described(lr, fused.path)


def _described(branch: Branch, path: Path) -> Branch:
    if not branch.spec.classes:
        raise CheckpointError(
            f"{path}: does not say what its classes are called and which colours they have. Train it, or import it "
            "(arseg checkpoint import), again with this version of arseg"
        )
    return branch


def _files(paths: Sequence[str | Path]) -> list[Path]:
    files = []
    for path in map(Path, paths):
        files += sorted(path.rglob("*.pt")) if path.is_dir() else [path]
    return list(dict.fromkeys(files))


def _one(found: list[StoredCheckpoint], scale_percent: int | None) -> StoredCheckpoint | None:
    chosen = [item for item in found if scale_percent in (None, item.spec.scale_percent)]
    if len(chosen) > 1:
        choices = "".join(f"\n  {_described_briefly(item)}" for item in chosen)
        raise CheckpointError(f"several checkpoints could be meant; name one, or its --scale-percent:{choices}")
    return chosen[0] if chosen else None


def _described_briefly(stored: StoredCheckpoint) -> str:
    spec, seed = stored.spec, stored.trained_on.seed
    kind = "LR branch" if spec.fusion else "constant resolution"
    return f"{stored.path} ({spec.backbone}, {kind}, {spec.scale_percent} %{'' if seed is None else f', seed {seed}'})"


def _hr_of(fused: StoredCheckpoint, others: list[StoredCheckpoint]) -> StoredCheckpoint:
    """Find the HR branch that an LR branch was trained beside."""
    full = [item for item in others if item.spec.scale_percent == 100]
    digest = fused.trained_on.hr_digest
    if digest is not None:
        full = [item for item in full if file_digest(item.path) == digest]
    if len({file_digest(item.path) for item in full}) != 1:
        problem = "several networks at 100 % could be" if full else "there is none beside it that is"
        raise CheckpointError(
            f"{fused.path}: is an LR branch, which needs its HR branch, and {problem} the one that it was trained "
            "beside. Name that one, too: --checkpoint LR.pt HR.pt"
        )
    return full[0]


def _named(paths: Sequence[str | Path]) -> str:
    return ", ".join(map(str, paths))
