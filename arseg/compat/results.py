"""Published result files: one text file per protocol with a score per line (docs/method.md, 'Published files').

Reading them puts them beside our results; writing them lets the published plotting programs read ours.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from arseg.access import reading
from arseg.compat.naming import backbone_of_result, result_name
from arseg.errors import DataError
from arseg.evaluate.result import Evaluation
from arseg.files import atomic_path
from arseg.spec import Mode, Rate

NAME = re.compile(
    r"(?P<dataset>.+)-(?P<backbone>[a-z0-9]+)-(?P<ar>AR-)?(?P<scale>\d+(\.\d+)?)x-resolution-exp"
    r"-GOP(?P<gop>\d+)-(?P<rate>\d+(\.\d+)?M|qp\d+|crf\d+)-evaluation\.txt"
)


@dataclass(frozen=True, eq=False)
class PublishedResult:
    """Scores of one protocol, as the published programs record them."""

    dataset: str
    """Name of the data set."""
    backbone: str
    """Name in the registry."""
    mode: Mode
    """Protocol."""
    scale_percent: int
    """Resolution of the LR branch; 100 in mode "hr"."""
    gop: int
    """Length L of a group of pictures, in frames."""
    rate: Rate
    """Rate control: "3000k", "qp27" or "crf23"."""
    miou: NDArray[np.float64]
    """mIoU_d, 0 ... 1, shape (L,)."""

    @property
    def file_name(self) -> str:
        """Name of the file, which does not say codec, seed and split: give such results folders of their own."""
        backbone = result_name(self.dataset, self.backbone)
        scale = f"{'AR-' if self.mode == 'ar' else ''}{self.scale_percent / 100}x"
        rate = str(self.rate) if self.rate.mbps is None else f"{self.rate.mbps:.10g}M"
        return f"{self.dataset}-{backbone}-{scale}-resolution-exp-GOP{self.gop}-{rate}-evaluation.txt"

    def to_table(self) -> pd.DataFrame:
        """Return a row per distance, with columns that `arseg.evaluate.compare.compare` needs."""
        return pd.DataFrame(
            {
                "dataset": self.dataset,
                "split": "",
                "backbone": self.backbone,
                "encoding": "",
                "gop": self.gop,
                "rate": self.rate,
                "mode": self.mode.upper(),
                "scale": self.scale_percent / 100,
                "seed": 0,
                "distance": np.arange(self.gop),
                "miou": self.miou,
            }
        )


def from_evaluation(evaluation: Evaluation) -> PublishedResult:
    """Reduce an evaluation to what the published programs record."""
    settings = evaluation.settings
    return PublishedResult(
        dataset=settings.dataset,
        backbone=settings.backbone,
        mode=settings.mode,
        scale_percent=settings.scale_percent,
        gop=settings.encoding.gop,
        rate=settings.encoding.rate,
        miou=evaluation.miou,
    )


def write_published(result: PublishedResult, folder: str | Path) -> Path:
    """Write a result into a folder, under its published name.

    Returns
    -------
    path : Path
        The file: L lines with mIoU_d and one with their mean, in NumPy's ``savetxt`` format.
    """
    path = Path(folder) / result.file_name
    with atomic_path(path) as temporary:
        np.savetxt(temporary, [*result.miou, result.miou.mean()])
    return path


def read_published(path: str | Path) -> PublishedResult:
    """Read a published result file.

    Parameters
    ----------
    path : path
        A file with a published name, for example
        ``camvid-psp18-AR-0.5x-resolution-exp-GOP12-3M-evaluation.txt``.

    Returns
    -------
    result : PublishedResult
        The scores without their mean.

    Raises
    ------
    DataError
        If the file is missing, its name or content is of another form, or its last line is not the mean.
    """
    path = Path(path)
    name = NAME.fullmatch(path.name)
    if not name:
        raise DataError(
            f"{path}: not the name of a published result; expected "
            "{dataset}-{backbone}-{1.0x|0.5x|AR-0.5x}-resolution-exp-GOP{L}-{B}M-evaluation.txt"
        )
    gop = int(name["gop"])
    try:
        with reading(path, lambda error: DataError(f"{path}: expected one number per line ({error})"), ValueError):
            scores = np.loadtxt(path, ndmin=1)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    if scores.shape != (gop + 1,):
        raise DataError(
            f"{path}: found {scores.shape[0]} lines, expected {gop + 1}: mIoU at d = 0 ... {gop - 1}, then the mean"
        )
    if not np.isclose(scores[-1], scores[:-1].mean(), rtol=0, atol=1e-6, equal_nan=True):
        raise DataError(f"{path}: the last line is {scores[-1]:.6f}, expected the mean {scores[:-1].mean():.6f}")
    scale_percent, rate = round(100 * float(name["scale"])), name["rate"]
    return PublishedResult(
        dataset=name["dataset"],
        backbone=backbone_of_result(name["dataset"], name["backbone"]),
        mode="ar" if name["ar"] else "hr" if scale_percent == 100 else "lr",
        scale_percent=scale_percent,
        gop=gop,
        rate=Rate.from_mbps(float(rate[:-1])) if rate.endswith("M") else Rate(rate),
        miou=scores[:-1],
    )
