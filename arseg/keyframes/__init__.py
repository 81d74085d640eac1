"""Which frames of a video become keyframes: policies, by name.

A policy of your own is one class, registered by a decorator (docs/keyframes.md, docs/extending.md).
"""

from arseg.keyframes.builtin import Coded, Cut, Distance
from arseg.keyframes.policy import POLICIES, AnyOf, Candidate, Feedback, Policy, parse_policies

__all__ = [
    "POLICIES",
    "AnyOf",
    "Candidate",
    "Coded",
    "Cut",
    "Distance",
    "Feedback",
    "Policy",
    "parse_policies",
]
