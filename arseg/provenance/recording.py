"""Write the record of each result of a command beside it, when the command has ended well.

Commands stay what they are: a decorator names the parameters that hold inputs and results. The results' own bytes do
not change, so that equal inputs still give equal files; hence a file beside them.
"""

import inspect
import json
import logging
import os
import re
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from arseg.errors import ArsegError, ConfigError
from arseg.files import atomic_path, check_output
from arseg.provenance.fingerprint import FORMAT_VERSION, Fingerprint, fingerprint, record_path, same_stamp, stamp
from arseg.provenance.surroundings import describe_code, describe_machine

P = ParamSpec("P")
R = TypeVar("R")

Arguments = Mapping[str, Any]
"""Parameters of a command by name, defaults included."""

Choice = str | Callable[[Arguments], Iterable[Path | None]]
"""Name of a parameter that holds a path, several or none; or a function that finds paths from all parameters."""

CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+(?=@)")
"""Login in a URL."""

logger = logging.getLogger(__name__)

_words: ContextVar[tuple[str, ...] | None] = ContextVar("words", default=None)


@contextmanager
def command_line(words: Sequence[str]) -> Iterator[None]:
    """Make the words of the command line known to the records that are written inside."""
    token = _words.set(("arseg", *words))
    try:
        yield
    finally:
        _words.reset(token)


def records(
    command: str,
    *,
    inputs: Sequence[Choice] = (),
    outputs: Sequence[Choice],
    facts: Callable[[Arguments], Mapping[str, Any]] | None = None,
    describe: Callable[[Path], Mapping[str, Any]] | None = None,
    folder_contents: bool = True,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator for a command's function: it writes ``<result>.provenance.json`` for each result.

    Results that could not be written, or would replace an input, are refused before the command begins. A command that
    fails writes no record. A record that cannot be written is a warning, because the result is there.

    Parameters
    ----------
    command : str
        The command's words, without ``arseg``.
    inputs, outputs : sequence of str or callable
        What the command reads and writes. Paths that do not exist (URLs, standard input) are left to the options.
    facts : callable, optional
        More to record, found before the command begins.
    describe : callable, optional
        More to record of each result, found when it is there.
    folder_contents : bool
        Whether results that are folders are read for their digest; otherwise names and sizes must do.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            if int(os.environ.get("LOCAL_RANK", "0")):  # another process of one training; the first one records
                return function(*args, **kwargs)
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            arguments = bound.arguments
            for path in _chosen(outputs, arguments):
                _refuse_input(path, _chosen(inputs, arguments))
                check_output(path)
            before = {_name(choice): _stamps(_chosen([choice], arguments)) for choice in inputs}
            known = dict(facts(arguments)) if facts else {}
            began, clock = datetime.now(UTC), time.monotonic()
            result = function(*args, **kwargs)
            seconds, ended = time.monotonic() - clock, datetime.now(UTC)
            try:
                common = {
                    "command": command,
                    "command_line": shlex.join(_words.get() or ("arseg", *command.split())),
                    "options": _options(arguments),
                    "inputs": {name: [_as_read(entry) for entry in read] for name, read in before.items() if read},
                    "code": describe_code(),
                    "machine": describe_machine(),
                    "time": {
                        "started": began.isoformat(timespec="milliseconds"),
                        "finished": ended.isoformat(timespec="milliseconds"),
                        "seconds": round(seconds, 3),
                    },
                    "folder": str(Path.cwd()),
                }
                for path in dict.fromkeys(path for path in _chosen(outputs, arguments) if path.exists()):
                    more = known | (dict(describe(path)) if describe else {})
                    found = fingerprint(path, folder_contents=folder_contents, trust_record=False)
                    record = {"format_version": FORMAT_VERSION, "result": found, **common, "facts": more}
                    text = json.dumps(record, indent=1, ensure_ascii=False, default=str)
                    with atomic_path(record_path(path)) as temporary:  # records are passed on with results: no logins
                        temporary.write_text(CREDENTIALS.sub("***", text) + "\n", encoding="utf-8")
            except (OSError, ArsegError) as error:
                logger.warning("no record of where the results come from could be written: %s", error)
            return result

        return run

    return decorate


def _refuse_input(path: Path, inputs: Iterable[Path]) -> None:
    same = False
    for entry in inputs:
        with suppress(OSError, ValueError):  # what is not there, and URLs
            same = same or path.samefile(entry)
    if same:
        raise ConfigError(f"output {path} is the file to read, which would be lost; name another one")


def _chosen(choices: Iterable[Choice], arguments: Arguments) -> list[Path]:
    paths: list[Path] = []
    for choice in choices:
        value = arguments[choice] if isinstance(choice, str) else list(choice(arguments))
        paths.extend(Path(item) for item in (value if isinstance(value, list | tuple) else [value]) if item is not None)
    return paths


def _name(choice: Choice) -> str:
    return choice if isinstance(choice, str) else choice.__name__.strip("_")


def _stamps(paths: Iterable[Path]) -> list[Fingerprint]:
    """Return the stamps of what is there; what is missing or unreadable is the command's to complain about."""
    stamps = []
    for path in paths:
        with suppress(OSError, ValueError):  # URLs may be no possible file names
            stamps.append(stamp(path))
    return stamps


def _as_read(before: Fingerprint) -> Fingerprint:
    """Return the fingerprint of an input; without digest if it has changed since the command began to read it."""
    path = Path(before["path"])
    if "files" in before or not path.exists() or not same_stamp(before, after := fingerprint(path)):
        return before
    return after


def _options(arguments: Arguments) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, value in arguments.items():
        options |= asdict(value) if is_dataclass(value) and not isinstance(value, type) else {name: value}
    return options
