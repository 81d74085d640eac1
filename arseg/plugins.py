"""Named registries that others add to: networks, fusions, metrics, codecs and others (docs/extending.md).

What is registered comes from three places: this package, the entry points of installed packages, and the modules and
files that the environment variable ``ARSEG_PLUGINS`` names. The last two are imported when a name is first looked up
that this package does not have, or when names are listed; importing them runs their ``register`` decorators.
"""

import importlib
import importlib.util
import logging
import os
import re
import sys
from collections.abc import Callable
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar

from arseg.errors import ConfigError

LOG = logging.getLogger(__name__)

PLUGINS_VARIABLE = "ARSEG_PLUGINS"
"""Environment variable: modules and ``.py`` files, with commas between them."""

T = TypeVar("T")
Registered = TypeVar("Registered")


class Registry(Generic[T]):
    """Things of one `kind` by name, in the order of their registration, which entry points of a `group` add to."""

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group
        self._registered: dict[str, T] = {}
        self._has_loaded_entry_points = False

    def register(self, name: str) -> Callable[[Registered], Registered]:
        """Return a decorator that registers what it decorates, a `T`, and leaves it as it is.

        Raises `ConfigError` if the name is taken, or cannot be part of a path: it has letters, digits, ``-`` and ``_``.
        """
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ConfigError(f"{self.kind} {name!r}: a name has letters, digits, - and _ only")
        if name in self._registered:
            raise ConfigError(f"{self.kind} {name!r}: is registered already. Choose another name")

        def add(value: Registered) -> Registered:
            self._registered[name] = value  # type: ignore[assignment]
            return value

        return add

    def find(self, name: str) -> T | None:
        """Return what is registered under a name; None if nothing is."""
        if name not in self._registered:
            self._load()
        return self._registered.get(name)

    def get(self, name: str) -> T:
        """Return what is registered under a name.

        Raises `ConfigError` if nothing is; the message lists what there is. Also if `ARSEG_PLUGINS` names what cannot
        be imported.
        """
        found = self.find(name)
        if found is None:
            close = get_close_matches(name, self._registered, n=1)
            nearest = f" Did you mean {close[0]!r}?" if close else ""
            raise ConfigError(
                f"{self.kind} {name!r}: expected one of {self.expected()}.{nearest} What another package "
                f"adds must be installed, or named by {PLUGINS_VARIABLE}"
            )
        return found

    def expected(self) -> str:
        """Return what may be named, for messages."""
        return ", ".join(self._registered)

    def names(self) -> tuple[str, ...]:
        """Return all names, in the order of registration: this package's own first."""
        self._load()
        return tuple(self._registered)

    def _load(self) -> None:
        _import_plugins()
        if self._has_loaded_entry_points:
            return
        self._has_loaded_entry_points = True
        for point in entry_points(group=self.group):
            try:
                point.load()
            except Exception as error:  # of another package, which must not keep this one from working
                package = point.dist.name if point.dist else "a package"
                LOG.warning(
                    "%s: its %s %r (%s) cannot be loaded: %r", package, self.kind, point.name, point.value, error
                )


def _import_plugins() -> None:
    """Import what ``ARSEG_PLUGINS`` names and is not imported yet."""
    for named in filter(None, map(str.strip, os.environ.get(PLUGINS_VARIABLE, "").split(","))):
        try:
            if named.endswith(".py"):
                import_file(Path(named))
            else:
                importlib.import_module(named)
        except Exception as error:
            raise ConfigError(
                f"{PLUGINS_VARIABLE}: {named} cannot be imported ({type(error).__name__}: {error}). Name modules on "
                "Python's path, or .py files, with commas between them"
            ) from error


def import_file(path: Path) -> ModuleType:
    """Return the module of a .py file, which is run once in a process; whatever it raises passes.

    From then on its folder is the last one that modules are imported from: those that lie beside the file.
    """
    path = path.resolve()
    name = f"arseg_file_{path.as_posix()}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, path
    assert spec.loader is not None, path
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
