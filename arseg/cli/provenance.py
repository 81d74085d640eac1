"""``arseg provenance``: where a result comes from."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from arseg.provenance.fingerprint import SUFFIX
from arseg.provenance.found import found_in
from arseg.provenance.trace import Origin, State, trace

SHOWN = 3
"""Inputs of one option that are printed one by one, if they are as recorded and tell something new."""


def provenance(
    result: Path, /, *, json_: Annotated[bool, Parameter(name="--json")] = False, thorough: bool = False
) -> None:
    """Print where a result comes from: command, code, machine, and the same of what it was made from.

    The exit status is 0 if the result and everything that is still there of its inputs is what was recorded, and 1 if
    something has changed since, or if the result has no record.

    Parameters
    ----------
    result : Path
        File or folder that a command of arseg wrote.
    json_ : bool
        Print JSON, with all that was recorded.
    thorough : bool
        Read the contents of everything. By default only the result is read; inputs are judged by size and time of
        change.
    """
    origin = trace(result, thorough=thorough)
    found = found_in(origin.path) if origin.record is None else {}
    if json_:
        print(json.dumps(origin.as_json() | ({"found": found} if found else {}), indent=1, ensure_ascii=False))
    else:
        print("\n".join(_lines(origin, found)))
    if not origin.holds:
        sys.exit(1)


def _lines(origin: Origin, found: dict[str, Any]) -> Iterator[str]:
    record = origin.record
    if record is None:
        yield f"{origin.path}: no record beside it ({origin.path.name}{SUFFIX})"
        if found:
            yield "It says of itself:"
            width = max(map(len, found))
            yield from (f"  {name:{width}}  {value}" for name, value in found.items())
        yield (
            "A record is written by the command that makes a result. Make it again: delete it and run the command, or "
            "let Snakemake run"
        )
        return
    if origin.state == State.CHANGED:
        yield f"{origin.path}: changed since this record was written, which speaks of another file"
    else:
        yield f"{origin.path}: {origin.state}"
    facts = _facts(record)
    width = max(map(len, facts))
    yield from (f"  {name:{width}}  {text}" for name, text in facts.items())
    yield from _tree(origin, "  ")


def _facts(record: dict[str, Any]) -> dict[str, str]:
    code, machine, times, result = (record[name] for name in ("code", "machine", "time", "result"))
    commit = f", commit {code['commit'][:12]}{' with changes' if code['modified'] else ''}" if "commit" in code else ""
    packages = ", ".join(f"{name} {number}" for name, number in code["packages"].items())
    on = f"{machine['host']}: {machine['processor']}, {machine['cores']} cores"
    if "threads" in machine:
        on += f", PyTorch with {machine['threads']} threads"
    if machine.get("gpus"):
        on += f", {', '.join(machine['gpus'])}"
    size = f"{result['bytes']:,} bytes" + (f" in {result['files']} files" if "files" in result else "")
    facts = {
        "made by": record["command_line"],
        "in": record["folder"],
        "when": f"{times['started'][:19].replace('T', ' ')} UTC, in {times['seconds']:.1f} s",
        "code": f"arseg {code['arseg']}{commit}, Python {code['python']}",
        "packages": packages,
        "machine": on,
        "seed": str(record["options"].get("seed", "")),
        "size": size,
        "sha256": result.get("sha256", ""),
    }
    facts |= {name: str(value) for name, value in record["facts"].items()}
    return {name: text for name, text in facts.items() if text}


def _tree(origin: Origin, indent: str) -> Iterator[str]:
    for name, origins in origin.inputs.items():
        yield f"{indent}{name}:"
        told = [id(part) for part in origins if not part.repeated] or [id(part) for part in origins]
        shown = [part for part in origins if id(part) in told[:SHOWN] or not part.holds]
        for part in shown:
            yield f"{indent}  {part.path}: {part.state}{_maker(part)}"
            yield from _tree(part, f"{indent}    ")
        if rest := len(origins) - len(shown):
            yield f"{indent}  and {rest} more, as recorded"


def _maker(origin: Origin) -> str:
    if origin.edited:
        return ", but changed since it was made and before it was read"
    if origin.record is None:
        return ""
    began = origin.record["time"]["started"][:19].replace("T", " ")
    return f", made by arseg {origin.record['command']}, {began}{' (see above)' if origin.repeated else ''}"
