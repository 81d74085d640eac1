"""From a configuration as YAML has it to `arseg.workflow.keys.Config`, or to one message with a line per problem.

Snakemake's own ``validate`` prints the whole schema on failure; here each problem is one line with the key's path,
the value, the reason and, for a misspelt key or choice, the nearest valid one.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import jsonschema
from snakemake.exceptions import WorkflowError  # type: ignore[import-untyped]

from arseg.datasets import DATASETS
from arseg.errors import ArsegError, ConfigError
from arseg.keyframes import parse_policies
from arseg.networks import networks
from arseg.spec import parse_fps
from arseg.workflow.keys import Config, Dataset, Segment


@contextmanager
def told_by_snakemake() -> Iterator[None]:
    """Turn our errors into Snakemake's, which it prints without a traceback."""
    try:
        yield
    except ArsegError as error:
        raise WorkflowError(str(error)) from None


def read_config(raw: Mapping[str, Any], schema: Mapping[str, Any], place: str) -> tuple[Config, dict[str, Any]]:
    """Return a configuration, checked and completed with defaults, and the same as YAML would have it.

    Parameters
    ----------
    raw : mapping
        The configuration as read from YAML.
    schema : mapping
        Its schema, as `arseg.workflow.schema.config_schema` makes it.
    place : str
        Its file, for messages.

    Raises
    ------
    ConfigError
        If anything does not fit; each line of the message names file, key, value and reason.
    """
    complete = check_config(raw, schema, place)
    config = build(Config, complete)
    if not config.datasets and config.segment is None:
        raise ConfigError(f"{place}: has neither datasets nor segment, so that nothing would come of it. Add one")
    if config.segment is not None:
        _check_segment(config.segment, f"{place}: segment")
    for index, scale in enumerate(config.scales):
        if abs(scale * 100 - round(scale * 100)) > 1e-9:
            raise ConfigError(f"{place}: scales[{index}]: {scale} is not a whole percentage, like 0.45")
    if config.has_all_modes and config.panel_scale not in config.scales:
        raise ConfigError(f"{place}: panel_scale: {config.panel_scale} is none of scales {[*config.scales]}")
    datasets = {name: _complete(dataset, f"{place}: datasets.{name}") for name, dataset in config.datasets.items()}
    return replace(config, datasets=datasets), complete


def _check_segment(segment: Segment, place: str) -> None:
    if bool(segment.checkpoints) == bool(segment.network):
        raise ConfigError(f"{place}.checkpoints: give these, or a network by name, and not both")
    try:
        begins_anew = parse_policies(segment.keyframes).begins_anew
    except ConfigError as error:
        raise ConfigError(f"{place}.keyframes: {error}") from None
    if segment.part_minutes and not begins_anew:
        raise ConfigError(
            f"{place}.part_minutes: parts begin at the codec's keyframes, and with keyframes {segment.keyframes} what "
            "follows depends on frames before. Name coded first, and only policies without a memory beside it "
            "(coded,distance,cut), or leave part_minutes out"
        )


def _complete(dataset: Dataset, place: str) -> Dataset:
    try:
        parse_fps(dataset.fps)
    except ConfigError as error:
        raise ConfigError(f"{place}.{error}") from None
    for index, backbone in enumerate(dataset.backbones):
        try:
            networks.get(backbone)
        except ConfigError as error:
            raise ConfigError(f"{place}.backbones[{index}]: {error}") from None
    splits = dataset.splits or dataset.source.own_splits()
    if splits is None:
        raise ConfigError(
            f"{place}.splits: this key is missing, and a data set of the kind {dataset.kind} has no splits of its own"
        )
    if dataset.hr and len(dataset.backbones) != 1:
        raise ConfigError(
            f"{place}.hr: is one finished network, and backbones are {', '.join(dataset.backbones)}. Keep its own in "
            "backbones, or make each a data set of its own"
        )
    if dataset.hr is None and dataset.source.needs_teacher:
        raise ConfigError(
            f"{place}.hr: this key is missing: {dataset.kind} have no labels, and a finished HR network must make "
            "them. Give its checkpoint: hr: {checkpoint: PATH}"
        )
    return replace(dataset, splits=splits)


def build(hint: Any, value: Any) -> Any:
    """Return a checked value of YAML as the type that an annotation names: lists as tuples, mappings as dataclasses."""
    origin, parts = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        hints = dict(_hints(hint))
        if hint is Dataset:
            hints["source"] = DATASETS.get(value["kind"])
        return hint(**{key.name: build(hints[key.name], value[key.name]) for key in fields(hint) if key.name in value})
    if origin in (UnionType, Union, Annotated):
        return build(parts[0], value)
    if origin is tuple:
        return tuple(build(parts[0], item) for item in value)
    if origin is dict:
        return {name: build(parts[1], item) for name, item in value.items()}
    return value


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def check_config(config: Mapping[str, Any], schema: Mapping[str, Any], place: str = "config") -> dict[str, Any]:
    """Return a copy of a configuration with the defaults that its schema states.

    Raises
    ------
    ConfigError
        If anything does not fit; the message has one line per problem.
    """
    complete = deepcopy(dict(config))
    validator = jsonschema.Draft202012Validator(schema)
    problems = [line for error in validator.iter_errors(complete) for line in _explain(error)]
    if problems:
        raise ConfigError(f"{place}: " + f"\n{place}: ".join(problems))
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
        _fill_defaults(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root)
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
