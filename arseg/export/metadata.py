"""What an exported file says of itself, so that a program needs nothing but the file to use it."""

from typing import Any

from arseg import __version__
from arseg.models.branch import Branch

FORMAT_VERSION = 1
"""Of these entries and of the graphs' inputs and outputs; bumped when programs for older files could not use them."""


def describe(branch: Branch, role: str, size: tuple[int, int], **more: Any) -> dict[str, Any]:
    """Say what a network is and what its classes are.

    Parameters
    ----------
    branch : Branch
        The network.
    role : str
        "hr", "lr" or "constant".
    size : tuple of int
        Height and width of the frames.
    more : object
        Further entries.

    Returns
    -------
    metadata : dict
        Builtins; in the file, all but texts are JSON.
    """
    return {
        "arseg_version": __version__,
        "format_version": FORMAT_VERSION,
        "role": role,
        "backbone": branch.spec.backbone,
        "height": size[0],
        "width": size[1],
        "scale_percent": branch.spec.scale_percent,
        "class_names": [cls.name for cls in branch.spec.classes],
        "class_colors": [list(cls.color) for cls in branch.spec.classes],
        "class_void": [cls.void for cls in branch.spec.classes],
        "mean": list(branch.normalization.mean),
        "std": list(branch.normalization.std),
        "checkpoint_sha256": branch.digest,
        **more,
    }
