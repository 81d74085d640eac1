"""``arseg synthesize``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from arseg.datasets.synthetic.dataset import synthesize as synthesize_frames
from arseg.datasets.synthetic.kind import Synthetic
from arseg.provenance.recording import records

DEFAULTS = Synthetic()


@records("synthesize", outputs=["output"])
def synthesize(
    *,
    output: Path,
    options: Annotated[Synthetic, Parameter(name="*")] = DEFAULTS,
    gop: int = 12,
    workers: int = 1,
) -> None:
    """Draw synthetic street videos: frames, exact labels, classes and splits (train, val, test).

    Parameters
    ----------
    output : Path
        Folder to write.
    gop : int
        Largest GOP that clips shall have room for.
    workers : int
        Processes that draw; changes no file.
    """
    synthesize_frames(output, gop=gop, num_workers=workers, **vars(options))
    print(f"wrote {output}")
