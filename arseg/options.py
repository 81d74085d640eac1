"""Types of options that several commands have, with their help; what they refuse is refused before a command begins."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

FIGURE_SUFFIXES = (".png", ".pdf", ".svg")


def _validate_figure(_: object, path: Path) -> None:
    if path.suffix.lower() not in FIGURE_SUFFIXES:
        raise ValueError(f"{path}: expected a figure ({', '.join(FIGURE_SUFFIXES)})")


Video = Annotated[str, Parameter(allow_leading_hyphen=True)]  # "-" is the standard input
Output = Annotated[Path, Parameter(name=["--output", "-o"])]
Figure = Annotated[Path, Parameter(validator=_validate_figure)]
Count = Annotated[int, Parameter(validator=Number(gte=1))]
Device = Annotated[str, Parameter(help="auto, cpu, cuda or cuda:N.")]
Json = Annotated[bool, Parameter(name="--json", help="Print JSON.")]
ManifestFile = Annotated[Path, Parameter(help="Manifest of the data set.")]
