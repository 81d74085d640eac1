"""Open registries of what people add: filled by a decorator, and by the entry points of installed packages."""

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from arseg.errors import ConfigError

T = TypeVar("T")


class Registry(Generic[T]):
    """What is registered of a kind, by name.

    Parameters
    ----------
    kind : str
        What is registered, for messages.
    group : str
        Group of entry points that add to it; each names an object, which is registered under the entry point's name.
    """

    def __init__(self, kind: str, group: str) -> None:
        self._kind, self._group = kind, group
        self._entries: dict[str, T] = {}
        self._is_complete = False

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers what it decorates.

        Raises
        ------
        ConfigError
            If something else has the name.
        """

        def add(entry: T) -> T:
            if self._entries.setdefault(name, entry) is not entry:
                raise ConfigError(f"there is already a {self._kind} {name!r}. Register this one under another name.")
            return entry

        return add

    def get(self, name: str) -> T:
        """Return what has a name.

        Raises
        ------
        ConfigError
            If nothing has; the message lists what there is.
        """
        if name not in self.names():
            raise ConfigError(f"{name!r} is no {self._kind}; expected one of {', '.join(self.names())}")
        return self._entries[name]

    def names(self) -> tuple[str, ...]:
        """Return all names, our own first."""
        if not self._is_complete:
            self._is_complete = True
            for entry in entry_points(group=self._group):
                self.register(entry.name)(entry.load())
        return tuple(self._entries)
