"""``arseg synthesize``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from arseg.datasets.synthetic.dataset import StreetOptions
from arseg.datasets.synthetic.dataset import synthesize as synthesize_frames
from arseg.provenance.recording import records

DEFAULTS = StreetOptions()


@records("synthesize", outputs=["output"])
def synthesize(
    *, output: Path, options: Annotated[StreetOptions, Parameter(name="*")] = DEFAULTS, workers: int = 1
) -> None:
    """Draw synthetic street videos: frames, exact labels, classes and splits (train, val, test).

    Parameters
    ----------
    output : Path
        Folder to write.
    workers : int
        Processes that draw; changes no file.
    """
    synthesize_frames(output, num_workers=workers, **vars(options))
    print(f"wrote {output}")
