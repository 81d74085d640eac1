"""Open registries of what people add: filled by a decorator, and by the entry points of installed packages."""

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from arseg.errors import ConfigError

Entry = TypeVar("Entry")


class Registry(Generic[Entry]):
    """What there is of a kind, by name.

    Parameters
    ----------
    kind : str
        What is registered, for messages: "keyframe policy".
    group : str
        Group of the entry points by which installed packages add to it. Each names what is registered, and is loaded
        when that name is asked for.
    """

    def __init__(self, kind: str, group: str) -> None:
        self._kind, self._group = kind, group
        self._entries: dict[str, Entry] = {}

    def register(self, name: str) -> Callable[[Entry], Entry]:
        """Return a decorator that registers a class or function under a name.

        Raises
        ------
        ConfigError
            If the name is taken.
        """

        def add(entry: Entry) -> Entry:
            if self._entries.setdefault(name, entry) is not entry:
                raise ConfigError(f"{self._kind} {name}: the name is taken. Register under another one")
            return entry

        return add

    def get(self, name: str) -> Entry:
        """Return what is registered under a name.

        Raises
        ------
        ConfigError
            If nothing is; the message lists what is.
        """
        if name not in self._entries:
            for entry in entry_points(group=self._group, name=name):
                self.register(name)(entry.load())  # its module may have registered it already
        if name not in self._entries:
            raise ConfigError(f"{self._kind} {name}: expected one of {', '.join(self.names())}")
        return self._entries[name]

    def names(self) -> tuple[str, ...]:
        """Return all names, sorted."""
        return tuple(sorted({*self._entries, *entry_points(group=self._group).names}))
