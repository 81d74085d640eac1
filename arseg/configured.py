"""What keys of a configuration have in common: their bounds, which its schema is generated from, and paths."""

import os
from pathlib import Path
from typing import Annotated, Any

from arseg.errors import ConfigError


def bounds(**words: Any) -> tuple[tuple[str, Any], ...]:
    """Return words of JSON schema as what an annotation can hold."""
    return tuple(words.items())


Count = Annotated[int, bounds(minimum=1)]
Name = Annotated[str, bounds(pattern="^[A-Za-z0-9_-]+$")]


def expanded(path: str, key: str) -> str:
    """Return a configured path with its environment variables replaced.

    Raises
    ------
    ConfigError
        If one is not set; the message names the key.
    """
    result = os.path.expandvars(Path(path).expanduser())
    if "$" in result:
        raise ConfigError(
            f"{key}: {path!r} names an environment variable that is not set. Export it, or write the path."
        )
    return result


def existing(path: str, key: str) -> str:
    """Return a path; raise `ConfigError` with the key's name if nothing is there."""
    if not Path(path).exists():
        raise ConfigError(f"{key}: {path} does not exist. Correct the path.")
    return path
