"""What an exported file says of itself, so that a program needs nothing but the file to use it."""

from dataclasses import asdict
from typing import Any

from arseg import __version__
from arseg.models.branch import Branch

FORMAT_VERSION = 1
"""Of these entries and of the graphs' inputs and outputs; bumped when programs for older files could not use them."""


def describe(branch: Branch, role: str, size: tuple[int, int], hr: Branch | None = None) -> dict[str, Any]:
    """Return what a network is and what its classes are.

    Parameters
    ----------
    branch : Branch
        The network.
    role : str
        "hr", "lr" or "constant".
    size : tuple of int
        Height and width of the frames.
    hr : Branch, optional
        HR branch beside an LR branch.

    Returns
    -------
    metadata : dict
        Builtins; in the file, all but texts are JSON.
    """
    spec = branch.spec
    found = {
        "arseg_version": __version__,
        "format_version": FORMAT_VERSION,
        "role": role,
        "height": size[0],
        "width": size[1],
        "checkpoint_sha256": branch.digest,
        "network": spec.to_dict(),
        "trained_on": branch.trained_on.to_dict(),
        # What programs need of these two, by itself.
        "backbone": spec.backbone,
        "scale_percent": spec.scale_percent,
        "class_names": spec.class_names,
        "class_colors": [cls.color for cls in spec.classes],
        "class_void": [cls.void for cls in spec.classes],
        "mean": branch.normalization.mean,
        "std": branch.normalization.std,
    }
    if hr is not None:
        found |= {
            "warp_alignment": spec.warp_alignment,
            "motion": asdict(branch.motion),
            "hr_checkpoint_sha256": hr.digest,
        }
    return found
