"""One thing that `arseg doctor` looks for, and what came of it."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What a check found."""

    OK = "ok"
    NOTE = "note"
    """It works, but there is something to know."""
    MISSING = "missing"


@dataclass(frozen=True)
class Check:
    """One thing that was looked for."""

    name: str
    outcome: Outcome
    found: str
    """What is there, or what is wrong."""
    advice: str = ""
    """What it is needed for and how to get it, if it is missing or there is something to know."""
    required: bool = False
    """Whether every use needs it."""

    @property
    def fails(self) -> bool:
        """Whether nothing works without it."""
        return self.required and self.outcome == Outcome.MISSING
