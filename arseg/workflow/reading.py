"""From a configuration as YAML has it to `arseg.workflow.keys.Config`, or to one message with a line per problem."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from snakemake.exceptions import WorkflowError  # type: ignore[import-untyped]

from arseg.data.sheets import read_sheet as read_checked
from arseg.datasets import DATASETS
from arseg.errors import ArsegError, ConfigError
from arseg.schema import check_config
from arseg.spec import parse_fps
from arseg.workflow.keys import Config, Dataset


@contextmanager
def told_by_snakemake() -> Iterator[None]:
    """Turn our errors into Snakemake's, which it prints without a traceback."""
    try:
        yield
    except ArsegError as error:
        raise WorkflowError(str(error)) from None


def read_config(raw: Mapping[str, Any], schema: Mapping[str, Any], place: str) -> tuple[Config, dict[str, Any]]:
    """Check a configuration and complete it with defaults.

    Parameters
    ----------
    raw : mapping
        The configuration as read from YAML.
    schema : mapping
        Its schema, as `arseg.workflow.schema.config_schema` makes it.
    place : str
        Its file, for messages.

    Returns
    -------
    config : Config
        The configuration.
    complete : dict
        The same as YAML would have it.

    Raises
    ------
    ConfigError
        If anything does not fit; each line of the message names file, key, value and reason.
    """
    complete = check_config(raw, schema, place)
    config = build(Config, complete)
    for index, scale in enumerate(config.scales):
        if abs(scale * 100 - round(scale * 100)) > 1e-9:
            raise ConfigError(f"{place}: scales[{index}]: {scale} is not a whole percentage, like 0.45")
    if {*config.modes} == {"hr", "lr", "ar"} and config.panel_scale not in config.scales:
        raise ConfigError(f"{place}: panel_scale: {config.panel_scale} is none of scales {[*config.scales]}")
    datasets = {name: _complete(dataset, f"{place}: datasets.{name}") for name, dataset in config.datasets.items()}
    return replace(config, datasets=datasets), complete


def _complete(dataset: Dataset, place: str) -> Dataset:
    try:
        parse_fps(dataset.fps)
    except ConfigError as error:
        raise ConfigError(f"{place}.{error}") from None
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


def read_sheet(path: str, columns: Sequence[str], hint: str = "") -> list[dict[str, str]]:
    """Return the rows of a CSV sheet, checked as `arseg.data.sheets.read_sheet` does, by the names of some columns.

    Raises
    ------
    WorkflowError
        If the sheet lacks a column, or separates its cells by something else than commas.
    """
    with told_by_snakemake():
        return [row.cells for row in read_checked(Path(path), columns, hint)]


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)
