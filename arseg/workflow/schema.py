"""The JSON schema of a configuration, and the tables of its keys, both made from the keys' own classes.

They are in `arseg.workflow.keys`, those of a source in `arseg.datasets`. ``python -m arseg.workflow.schema``
writes both into the checkout: workflow/schemas/config.schema.yaml, for editors, and the tables in config/README.md.
"""

import ast
import inspect
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from arseg.config import TrainConfig
from arseg.datasets import DATASETS, DatasetKind, Splits
from arseg.errors import ConfigError
from arseg.networks import Networks
from arseg.plugins import Registry
from arseg.workflow import keys

REPOSITORY = Path(__file__).resolve().parents[2]
SCHEMA, TABLES = REPOSITORY / "workflow/schemas/config.schema.yaml", REPOSITORY / "config/README.md"
HEAD = "# Written by `python -m arseg.workflow.schema` from arseg/workflow/keys.py and arseg/datasets/*/kind.py.\n"
TYPES = {int: "integer", float: "number", str: "string", bool: "boolean"}
REFERENCES: dict[Any, dict[str, Any]] = {
    keys.Dataset: {"$ref": "#/$defs/dataset"},
    Splits: {"$ref": "#/$defs/splits"},
    keys.Training: {"$ref": "#/$defs/training"},
    DatasetKind: {"type": "object"},  # which one, depends on the kind
}
LINK = re.compile(r"\[([^]]+)\]\([^)]+\)")


def config_schema(kinds: Mapping[str, type[DatasetKind]] | None = None) -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of a configuration.

    Parameters
    ----------
    kinds : mapping, optional
        Kinds of data sets by name; all that are registered by default.
    """
    kinds = {name: DATASETS.get(name) for name in DATASETS.names()} if kinds is None else kinds
    dataset = _of_class(keys.Dataset)
    dataset["properties"]["kind"] = {"enum": [*kinds], "description": dataset["properties"]["kind"]["description"]}
    dataset["allOf"] = [
        {
            "if": {"properties": {"kind": {"const": kind}}},
            "then": {"properties": {"source": {"$ref": f"#/$defs/{kind}"}}}
            | ({"required": ["splits"]} if source.own_splits is DatasetKind.own_splits else {}),
        }
        for kind, source in kinds.items()
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "arseg experiment",
        "description": inspect.getdoc(keys.Config),
        **_of_class(keys.Config),
        "$defs": {
            "dataset": dataset,
            "splits": _of_class(Splits),
            "training": _of_training(),
            **{kind: _of_class(source) for kind, source in kinds.items()},
        },
    }


def _of_class(cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls, include_extras=True)
    required = [key.name for key in fields(cls) if _is_required(key)]
    return {
        "type": "object",
        "additionalProperties": False,
        **({"required": required} if required else {}),
        "properties": {key.name: _of_key(cls, key, hints[key.name]) for key in fields(cls)},
    }


def _of_key(cls: type, key: "Field[Any]", hint: Any) -> dict[str, Any]:
    schema, description = _of_type(hint), {"description": _words_of(cls, key.name)[0]}
    if schema.get("type") == "array":
        if key.default == ():
            schema = {"type": "array", "items": schema["items"]}
        elif not {"enum", "anyOf"} & schema["items"].keys():  # of which a message says what is allowed
            schema["items"] |= description
    default = _default_of(key)
    return schema | ({} if default is None else {"default": default}) | description


def _of_type(hint: Any) -> dict[str, Any]:
    """Return the schema of a type; where a key's whole value has a definition of its own, the reference to it."""
    if hint in REFERENCES:
        return REFERENCES[hint]
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated and isinstance(parts[1], Registry):
        names = {"enum": list(parts[1].names())}
        if not isinstance(parts[1], Networks):
            return names
        return {"anyOf": [names, {"pattern": f"^({Networks.pattern})$", "description": Networks.syntax}]}
    if origin is Annotated:
        schema = _of_type(parts[0]) | dict(parts[1])
    elif origin is Literal:
        schema = {"enum": list(parts)}
    elif origin in (UnionType, Union):
        given = [part for part in parts if part is not NoneType]
        schema = _of_type(given[0]) if len(given) == 1 else {"type": [TYPES[part] for part in given]}
    elif origin is tuple:
        schema = {"type": "array", "minItems": 1, "uniqueItems": True, "items": _of_type(parts[0])}
    elif origin is dict:
        names, values = (_of_type(part) for part in parts)
        schema = {"type": "object", "minProperties": 1, "propertyNames": names, "additionalProperties": values}
    else:
        schema = {"type": TYPES[hint]} if hint in TYPES else _of_class(hint)
    return schema


def _of_training() -> dict[str, Any]:
    hints = get_type_hints(TrainConfig)
    properties = {}
    for key in fields(TrainConfig):
        if key.name in keys.TRAINING:  # original_quirks belongs to the whole experiment
            schema, bounds = _of_key(TrainConfig, key, hints[key.name]), keys.TRAINING[key.name][0]
            items = {"items": schema["items"] | bounds["items"]} if "items" in bounds else {}
            properties[key.name] = schema | bounds | items
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _is_required(key: "Field[Any]") -> bool:
    return key.default is MISSING and key.default_factory is MISSING


def _default_of(key: "Field[Any]") -> Any:
    """Return what stands in a schema for a default; None if there is none."""
    if key.default_factory is not MISSING:
        return {}  # its keys have defaults of their own
    return None if key.default is MISSING else list(key.default) if isinstance(key.default, tuple) else key.default


@cache
def _docstrings(module: str) -> dict[tuple[str, str], str]:
    """Return the docstrings of the fields of a module's classes, by class and field."""
    classes = [
        node for node in ast.parse(inspect.getsource(sys.modules[module])).body if isinstance(node, ast.ClassDef)
    ]
    return {
        (cls.name, first.target.id): inspect.cleandoc(second.value.value)
        for cls in classes
        for first, second in pairwise(cls.body)
        if isinstance(first, ast.AnnAssign) and isinstance(first.target, ast.Name)
        if isinstance(second, ast.Expr)
        and isinstance(second.value, ast.Constant)
        and isinstance(second.value.value, str)
    }


def _words_of(cls: type, name: str) -> tuple[str, str]:
    """Return what a key is, without links, and the whole text about it."""
    known = (_docstrings(base.__module__).get((base.__name__, name)) for base in cls.__mro__ if is_dataclass(base))
    text = next(filter(None, known), None)
    if text is None:
        raise ConfigError(f"{cls.__module__}.{cls.__qualname__}.{name}: this key has no docstring. Write one below it.")
    whole = " ".join(text.split())
    return LINK.sub(r"\1", " ".join(text.partition("\n\n")[0].split())).replace("`", ""), whole


def _own_kinds() -> dict[str, type[DatasetKind]]:
    """Return the kinds of data sets of this package, whatever else is installed."""
    kinds = {name: DATASETS.get(name) for name in DATASETS.names()}
    return {name: kind for name, kind in kinds.items() if kind.__module__.startswith("arseg.")}


def schema_text() -> str:
    """Return the schema's file, which knows this package's kinds of data sets alone."""
    return HEAD + yaml.safe_dump(config_schema(_own_kinds()), sort_keys=False, width=120, allow_unicode=True)


def with_tables(page: str) -> str:
    """Return a page with the tables of keys between its marks ``<!-- keys: NAME -->`` and ``<!-- end -->`` renewed."""
    tables = {
        "experiment": _table([(keys.Config, "")]),
        "encodings": _table([(keys.Encoder, "`encoder` | "), (keys.Motion, "`motion` | ")], "in | "),
        "dataset": _table([(keys.Dataset, "")]),
        "segment": _table([(keys.Segment, "")]),
        "sources": _table([(source, f"`{kind}` | ") for kind, source in _own_kinds().items()], "kind | "),
        "training": _table([(TrainConfig, "")]),
    }
    for name, table in tables.items():
        before, mark, rest = page.partition(f"<!-- keys: {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        assert mark, f"the page has no place for the keys of {name}"
        assert end, f"the place for the keys of {name} has no end"
        page = f"{before}{mark}{table}\n{end}{after}"
    return page


def _table(parts: list[tuple[type, str]], column: str = "") -> str:
    rows = [
        f"| {column}key | default | what it is, and how to choose it |",
        f"| {'--- | ' if column else ''}--- | --- | --- |",
    ]
    rows += [f"| {first}{row}" for cls, first in parts for row in _rows(cls)]
    return "\n".join(rows)


def _rows(cls: type) -> Iterator[str]:
    hints = get_type_hints(cls, include_extras=True)
    for key in fields(cls):
        text, choices = _words_of(cls, key.name)[1], [f"`{choice}`" for choice in _choices(hints[key.name])]
        if cls is TrainConfig:
            if key.name not in keys.TRAINING:
                continue
            text = f"{text} {keys.TRAINING[key.name][1]}".strip()
        if not all(choice in text for choice in choices):
            text += f" Choices: {', '.join(choices)}."
        yield f"`{key.name}` | {_shown_default(key)} | {text} |"


def _choices(hint: Any) -> list[Any]:
    schema = _of_type(hint)
    return list(schema.get("items", schema).get("enum", []))


def _shown_default(key: "Field[Any]") -> str:
    if _is_required(key):
        return "required"
    if key.default is None or key.default_factory is not MISSING:
        return "none"
    value = _default_of(key)
    return (
        "none"
        if value == []
        else "empty"
        if value == ""
        else f"`{value if isinstance(value, str) else json.dumps(value)}`"
    )


def main() -> None:
    """Write both files."""
    SCHEMA.write_text(schema_text(), encoding="utf-8")
    TABLES.write_text(with_tables(TABLES.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
