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
from arseg.provenance.fingerprint import (
    FORMAT_VERSION,
    Fingerprint,
    fingerprint,
    record_path,
    same_stamp,
    stamp,
)
from arseg.provenance.surroundings import describe_code, describe_machine

P = ParamSpec("P")
R = TypeVar("R")

Arguments = Mapping[str, Any]
"""Parameters of a command by name, defaults included."""

Choice = str | Callable[[Arguments], Iterable[Path | None]]
"""Name of a parameter that holds a path, several or none; or a function that finds paths from all parameters."""

Facts = Callable[[Arguments], Mapping[str, Any]]

CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+(?=@)")

logger = logging.getLogger(__name__)

_words: ContextVar[tuple[str, ...] | None] = ContextVar("words", default=None)


@contextmanager
def command_line(words: Sequence[str]) -> Iterator[None]:
    """Tell the words of the command line to the records that are written inside."""
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
    facts: Facts | None = None,
    describe: Callable[[Path], Mapping[str, Any]] | None = None,
    folder_contents: bool = True,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a decorator for a command's function: it writes ``<result>.provenance.json`` for each result.

    Results that could not be written, or would replace an input, are refused before the command begins.

    A command that fails writes no record, and a result that was not made has none: what an earlier command left of a
    result that has since been deleted is removed before the command begins. A record that cannot be written is a
    warning, because the result is there.

    Parameters
    ----------
    command : str
        The command's words, without ``arseg``.
    inputs : sequence of str or callable
        What the command reads. Paths that do not exist (addresses, standard input) are left to the options.
    outputs : sequence of str or callable
        What it writes.
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
                _remove_orphan(path)
            before = {_name(choice): _stamps(_chosen([choice], arguments)) for choice in inputs}
            known = dict(facts(arguments)) if facts else {}
            began, clock, cpu = datetime.now(UTC), time.monotonic(), _cpu_seconds()
            result = function(*args, **kwargs)
            times = {
                "started": began.isoformat(timespec="milliseconds"),
                "finished": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "seconds": round(time.monotonic() - clock, 3),
                "cpu_seconds": round(_cpu_seconds() - cpu, 3),
            }
            try:
                common = {
                    "command": command,
                    "command_line": _text(shlex.join(_words.get() or ("arseg", *command.split()))),
                    "options": _options(arguments),
                    "inputs": {name: [_input(entry) for entry in stamps] for name, stamps in before.items() if stamps},
                    "code": describe_code(),
                    "machine": describe_machine(),
                    "time": times,
                    "folder": str(Path.cwd()),
                }
                for path in dict.fromkeys(_chosen(outputs, arguments)):
                    if path.exists():
                        more = known | (dict(describe(path)) if describe else {})
                        found = fingerprint(path, folder_contents=folder_contents, trust_record=False)
                        _write(path, {"format_version": FORMAT_VERSION, "result": found, **common, "facts": more})
            except (OSError, ArsegError) as error:
                logger.warning("no record of where the results come from could be written: %s", error)
            return result

        return run

    return decorate


def _write(result: Path, record: Mapping[str, Any]) -> None:
    with atomic_path(record_path(result)) as temporary:
        temporary.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _remove_orphan(path: Path) -> None:
    record = record_path(path)
    if record.is_file() and not path.exists():
        record.unlink(missing_ok=True)


def _refuse_input(path: Path, inputs: Iterable[Path]) -> None:
    same = False
    for entry in inputs:
        with suppress(OSError, ValueError):  # what is not there, and addresses
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
    """Describe what is there; what is missing or unreadable is the command's to complain about."""
    stamps = []
    for path in paths:
        with suppress(OSError, ValueError):  # addresses may be no possible file names
            stamps.append(stamp(path))
    return stamps


def _input(before: Fingerprint) -> Fingerprint:
    """Complete what was seen of an input before the command, and say so if it is another one now."""
    path = Path(before["path"])
    if "files" in before:
        return before
    try:
        after = fingerprint(path)
    except FileNotFoundError:
        return before
    return after if same_stamp(before, after) else after | {"changed_meanwhile": True}


def _options(arguments: Arguments) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, value in arguments.items():
        options |= asdict(value) if is_dataclass(value) and not isinstance(value, type) else {name: value}
    return {name: _plain(value) for name, value in options.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return _text(str(value))


def _text(text: str) -> str:
    """Leave out the login of an address: records are passed on with results."""
    return CREDENTIALS.sub("***", text)


def _cpu_seconds() -> float:
    """Processor time of this process and those that it waited for."""
    return sum(os.times()[:4])
