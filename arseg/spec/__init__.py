"""The description of a run: its encoding, its networks, and what they were trained on.

There is no other. The values are made from the configuration or from flags, checked when they are made, stored whole
in clip stores, checkpoints, evaluations and exported files, and read back from there. Names in paths, columns of tables
and labels of figures are derived from them.
"""

from arseg.spec.encoding import (
    MAX_REFERENCES,
    PAPER_GOP,
    PAPER_MAX_REF_BACK,
    PAPER_RULES,
    ClipTail,
    Encoding,
    MotionRules,
    Rate,
    parse_fps,
)
from arseg.spec.network import (
    NORMALIZATIONS,
    Mode,
    NetworkSpec,
    Normalization,
    Role,
    SegmentationClass,
    TrainedOn,
    WarpAlignment,
)

__all__ = [
    "MAX_REFERENCES",
    "NORMALIZATIONS",
    "PAPER_GOP",
    "PAPER_MAX_REF_BACK",
    "PAPER_RULES",
    "ClipTail",
    "Encoding",
    "Mode",
    "MotionRules",
    "NetworkSpec",
    "Normalization",
    "Rate",
    "Role",
    "SegmentationClass",
    "TrainedOn",
    "WarpAlignment",
    "parse_fps",
]
