"""The segmentation networks by name, and all that is known of them without PyTorch (docs/extending.md).

What needs PyTorch is an `arseg.models.registry.Architecture`, made when a network is first built. Beside those that are
registered there are networks of other libraries and of the user's own files, whose names say where they come from
(docs/own-network.md).
"""

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple

from arseg.errors import ConfigError
from arseg.plugins import Registry


@dataclass(frozen=True)
class Network:
    """A network that configurations and checkpoints may name."""

    architecture: str | Callable[[], Any]
    """What gives its `arseg.models.registry.Architecture`: a function without parameters, or where the value is, as
    ``package.module:NAME``, which is not imported before a network is built."""
    label: str
    """Name in figures."""
    small: bool = False
    """Whether it leaves a second core idle."""


@dataclass(frozen=True)
class Family:
    """Networks that are not registered one by one."""

    syntax: str
    """How they are named."""
    pattern: str
    """Regular expression of such names."""
    architecture: str
    """Function from a name to its `arseg.models.registry.Architecture`, as ``package.module:NAME``."""
    package: str | None = None
    """Package that they come from, which is installed by the extra of arseg that is called `extra`."""
    extra: str | None = None

    def network(self, name: str) -> Network:
        """Return the network of a name."""
        return Network(lambda: resolve_name(self.architecture)(name), label=name)

    def check(self, name: str) -> None:
        """Raise `ConfigError` if what a name stands for cannot be there: a package or a file."""
        if self.package is not None and find_spec(self.package) is None:
            raise ConfigError(
                f"backbone {name!r}: needs the package {self.package}. Install it: pip install 'arseg[{self.extra}]'"
            )
        file = own_file(name)
        if file is not None and not file.is_file():
            raise ConfigError(
                f"backbone {name!r}: {file.absolute()} does not exist. "
                + ("Correct the path" if file.is_absolute() else "Run the command where it leads there, or correct it")
            )


FAMILIES = (
    Family(
        "smp/ARCHITECTURE/ENCODER",
        r"smp/[a-z0-9]+/[A-Za-z0-9_.-]+",
        "arseg.models.adapters.smp:architecture",
        package="segmentation_models_pytorch",
        extra="smp",
    ),
    Family(
        "transformers/ORGANISATION/MODEL or transformers/segformer-b0 (to b5)",
        r"transformers/(segformer-b[0-5]|[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+)",
        "arseg.models.adapters.transformers:architecture",
        package="transformers",
        extra="transformers",
    ),
    Family(
        "FILE.py:FUNCTION or MODULE:FUNCTION, with #NAME.OF.CONVOLUTION after it where needed",
        r"(.+\.py|[A-Za-z_][A-Za-z0-9_.]*):[A-Za-z_][A-Za-z0-9_]*(#[A-Za-z0-9_.]+)?",
        "arseg.models.adapters.own:architecture",
    ),
)

IN_PATHS = {"/": "+", ":": "@", "#": "="}
IN_NAMES = {stand_in: character for character, stand_in in IN_PATHS.items()}


class Networks(Registry[Network]):
    """The registered networks, and those of `FAMILIES`."""

    pattern = "|".join(family.pattern for family in FAMILIES)
    """Regular expression of the names that need not be registered."""
    syntax = "; ".join(family.syntax for family in FAMILIES)

    def find(self, name: str) -> Network | None:
        """Return the network of a name; None if it can be none."""
        family = self._family(name)
        return super().find(name) if family is None else family.network(name)

    def get(self, name: str) -> Network:
        """Return the network of a name.

        Raises
        ------
        ConfigError
            If there is none, or what its name stands for is missing: a package or a file.
        """
        if (family := self._family(name)) is not None:
            family.check(name)
        elif name.endswith(".py"):
            raise ConfigError(f"backbone {name!r}: names no function. {name_function(Path(name))}")
        return super().get(name)

    def expected(self) -> str:
        """Return what may be named, for messages."""
        return f"{super().expected()}, {self.syntax}"

    @staticmethod
    def _family(name: str) -> Family | None:
        return next((family for family in FAMILIES if re.fullmatch(family.pattern, name)), None)


def path_part(name: str) -> str:
    """Return a network's name as files and folders have it: ``smp/fpn/resnet18`` as ``smp+fpn+resnet18``.

    What no shell and no scheduler may see in a path becomes its bytes: a space ``~20``. No two names have the same one,
    see `name_of`.
    """

    def stand_in(found: re.Match[str]) -> str:
        character = found[0]
        return IN_PATHS.get(character) or "".join(f"~{byte:02X}" for byte in character.encode(errors="surrogateescape"))

    return re.sub(r"[^A-Za-z0-9_.-]", stand_in, name)


def name_of(path_part: str) -> str:
    """Return the name of the network that a part of a path stands for; a name is its own."""
    if re.search("[/:]", path_part):
        return path_part

    def original(found: re.Match[str]) -> str:
        return IN_NAMES.get(found[0]) or bytes.fromhex(found[0].replace("~", "")).decode(errors="surrogateescape")

    return re.sub("[+@=]|(~[0-9A-F]{2})+", original, path_part)


class OwnName(NamedTuple):
    """The parts of ``FILE.py:FUNCTION`` or ``MODULE:FUNCTION``."""

    source: str
    """File or module."""
    function: str
    """Function in it."""
    convolution: str | None
    """Name of the last convolution, where it is given."""


def own_name(name: str) -> OwnName:
    """Return the parts of the name of somebody's own network."""
    source, _, rest = name.rpartition(":")
    function, _, convolution = rest.partition("#")
    return OwnName(source, function, convolution or None)


def own_file(name: str) -> Path | None:
    """Return the file of ``FILE.py:FUNCTION``; None for networks of packages."""
    source = own_name(name).source
    return Path(source) if source.endswith(".py") else None


def name_function(file: Path) -> str:
    """Return advice for who has named a file and none of its functions: those that take a number of classes."""
    try:
        statements = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError) as error:
        return f"Name one, as {file}:FUNCTION ({file.absolute()} cannot be read: {error})"
    functions = [
        statement.name
        for statement in statements
        if isinstance(statement, ast.FunctionDef) and not statement.name.startswith("_") and _takes_one(statement.args)
    ]
    if not functions:
        return f"{file} has none that takes a number of classes, and no more. Write one, as in docs/own-network.md"
    return f"Name one that takes a number of classes: {', '.join(f'{file}:{function}' for function in functions)}"


def _takes_one(parameters: ast.arguments) -> bool:
    positional = [*parameters.posonlyargs, *parameters.args]
    return bool(positional) and len(positional) - len(parameters.defaults) <= 1 and None not in parameters.kw_defaults


networks = Networks("backbone", "arseg.networks")


networks.register("psp18")(Network("arseg.models.registry:PSP18", label="PSPNet-18"))
networks.register("psp18-cityscapes")(Network("arseg.models.registry:PSP18_CITYSCAPES", label="PSPNet-18"))
networks.register("bise18")(Network("arseg.models.registry:BISE18", label="BiSeNet-18"))
networks.register("pidnet-s")(Network("arseg.models.registry:PIDNET_S", label="PIDNet-S"))
networks.register("tiny")(Network("arseg.models.registry:TINY", label="tiny", small=True))
networks.register("small")(Network("arseg.models.registry:SMALL", label="small", small=True))
