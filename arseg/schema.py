"""Check a configuration against its JSON schema and say what is wrong in one readable message.

Snakemake's own ``validate`` prints the whole schema on failure; here each problem is one line with the key's path,
the value, the reason and, for a misspelt key or choice, the nearest valid one.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from difflib import get_close_matches
from typing import Any

import jsonschema

from arseg.errors import ConfigError


def check_config(config: Mapping[str, Any], schema: Mapping[str, Any], source: str = "config") -> dict[str, Any]:
    """Validate a configuration and fill in the defaults that its schema states.

    Parameters
    ----------
    config : mapping
        The configuration as read from YAML.
    schema : mapping
        A JSON schema (draft 2020-12).
    source : str
        What to call the configuration in messages, for example its file name.

    Returns
    -------
    complete : dict
        A deep copy of `config` with defaults filled in.

    Raises
    ------
    ConfigError
        If anything does not fit; the message has one line per problem.
    """
    complete = deepcopy(dict(config))
    validator = jsonschema.Draft202012Validator(schema)
    problems = [line for error in validator.iter_errors(complete) for line in _explain(error)]
    if problems:
        raise ConfigError(f"{source}: " + f"\n{source}: ".join(problems))
    _fill_defaults(complete, schema, schema)
    return complete


def _explain(error: jsonschema.ValidationError) -> Iterator[str]:
    if error.context:  # a failed combination: its branches say what is wrong
        for nested in error.context:
            yield from _explain(nested)
        return
    where = _path(error.absolute_path)
    schema: Any = error.schema
    expected: Any = error.validator_value
    instance: Any = error.instance
    if error.validator == "additionalProperties":
        allowed = sorted(schema.get("properties", {}))
        for key in sorted(set(instance) - set(allowed)):
            yield f"{_path([*error.absolute_path, key])}: unknown key{_nearest(key, allowed)}"
    elif error.validator == "enum":
        allowed = [str(choice) for choice in expected]
        yield f"{where}: {instance!r} is not allowed{_nearest(str(instance), allowed)}"
    elif error.validator == "required":
        missing = [key for key in expected if key not in instance]
        yield from (f"{_path([*error.absolute_path, key])}: this key is missing" for key in missing)
    else:
        hint = schema.get("description", "")
        yield f"{where}: {error.message}" + (f" ({hint.rstrip('.')})" if hint else "")


def _path(parts: Any) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "(top level)"


def _nearest(word: str, allowed: list[str]) -> str:
    close = get_close_matches(word, allowed, n=1)
    return (f"; did you mean {close[0]!r}?" if close else ";") + f" Allowed: {', '.join(allowed) or 'none'}"


def _fill_defaults(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> None:
    """Fill defaults of object properties in place, through references and what applies of ``allOf`` and ``if``."""
    if "$ref" in schema:
        _fill_defaults(value, _resolve(schema["$ref"], root), root)
    for part in schema.get("allOf", []):
        _fill_defaults(value, part, root)
    if "if" in schema:
        applies = jsonschema.Draft202012Validator(schema["if"]).is_valid(value)
        _fill_defaults(value, schema.get("then" if applies else "else", {}), root)
    if isinstance(value, dict):
        for key, subschema in schema.get("properties", {}).items():
            if key not in value and "default" in subschema:
                value[key] = deepcopy(subschema["default"])
            if key in value and key not in ("training", "set"):
                # Training constants stay as they are written: what is absent is the command's own default.
                _fill_defaults(value[key], subschema, root)
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            for key in set(value) - set(schema.get("properties", {})):
                _fill_defaults(value[key], extra, root)


def _resolve(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    node: Any = root
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    return node
