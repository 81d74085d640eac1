"""``arseg provenance``: where a result comes from."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from arseg.options import Json
from arseg.provenance.trace import CHANGED, Origin, trace

SHOWN = ("command_line", "folder", "time", "code", "machine", "result", "facts")
"""Parts of a record that are printed without ``--json``; the command line says most of the options."""


def provenance(result: Path, /, *, json_: Json = False, thorough: bool = False) -> None:
    """Print where a result comes from: command, code, machine, and the chain of files that it was made from.

    The exit status is 0 if the result and everything that is still there of its chain is what was recorded, and 1 if
    something has changed since.

    Parameters
    ----------
    result : Path
        File or folder that a command of arseg wrote.
    thorough : bool
        Read the contents of everything. By default only the result is read; inputs are judged by size and time of
        change.
    """
    chain = trace(result, thorough=thorough)
    if json_:
        print(json.dumps([asdict(origin) for origin in chain], indent=1, ensure_ascii=False, default=str))
    else:
        print("\n".join(_lines(chain)))
    if any(origin.state == CHANGED for origin in chain):
        sys.exit(1)


def _lines(chain: list[Origin]) -> Iterator[str]:
    made, *parts = chain
    assert made.record is not None
    shown = {name: made.record[name] for name in SHOWN}
    text = yaml.safe_dump(shown, sort_keys=False, default_flow_style=None, width=1000, allow_unicode=True)
    yield f"{made.path}: {made.state}\n{text}{'made from:' if parts else 'made from no files'}"
    for _, group in groupby(parts, key=_kind):
        first, *others = group
        maker = f", made by arseg {first.record['command']}, {first.record['time']['started']}" if first.record else ""
        more = f", and {len(others)} more of the same command" if others else ""
        yield f"{'  ' * first.depth}{first.path}: {first.state}{maker}{more}"


def _kind(origin: Origin) -> tuple[Any, ...]:
    """Tell files apart, but for those that one command made, if nothing has changed."""
    if origin.record is None or origin.state == CHANGED:
        return (origin.path,)
    return (origin.depth, origin.state, origin.record["command_line"], origin.record["time"]["started"])
