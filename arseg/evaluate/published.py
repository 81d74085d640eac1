"""The published result files: one text file per protocol with a score per line.

See docs/method.md, 'Files of the authors'. Reading them puts the authors' numbers beside ours; writing them lets their
plotting programs read ours.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arseg.access import reading
from arseg.errors import DataError
from arseg.evaluate.result import Evaluation
from arseg.files import atomic_path
from arseg.networks import published_backbone
from arseg.spec import Mode, Rate

NAME_PATTERN = re.compile(
    r"(?P<dataset>.+)-(?P<backbone>[a-z0-9]+)-(?P<ar>AR-)?(?P<scale>\d+(\.\d+)?)x-resolution-exp"
    r"-GOP(?P<gop>\d+)-(?P<rate>\d+(\.\d+)?M|qp\d+|crf\d+)-evaluation\.txt"
)


@dataclass(frozen=True, eq=False)
class PublishedResult:
    """Scores of one protocol, as the authors record them."""

    dataset: str
    """Name of the data set."""
    backbone: str
    """"psp18" or "bise18"; the two PSPNets of CamVid and Cityscapes share a name."""
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
        """Name of the authors' file."""
        scale = f"{self.scale_percent / 100}x"
        mode = f"AR-{scale}" if self.mode == "ar" else scale
        return (
            f"{self.dataset}-{self.backbone}-{mode}-resolution-exp-GOP{self.gop}-{rate_to_megabits(self.rate)}"
            "-evaluation.txt"
        )


def from_evaluation(evaluation: Evaluation) -> PublishedResult:
    """Reduce an evaluation to what the authors record."""
    settings = evaluation.settings
    return PublishedResult(
        dataset=settings.dataset,
        backbone=published_backbone(settings.dataset, settings.backbone),
        mode=settings.mode,
        scale_percent=settings.scale_percent,
        gop=settings.encoding.gop,
        rate=settings.encoding.rate,
        miou=evaluation.miou,
    )


def write_published(result: PublishedResult, folder: str | Path) -> Path:
    """Write a result in the authors' format.

    Parameters
    ----------
    result : PublishedResult
        The scores.
    folder : path
        Where to; the file's name follows from the result. It does not tell codec, seed and split
        apart: give such results folders of their own.

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
    """Read a result file of the authors.

    Parameters
    ----------
    path : path
        A file with a name as they give it, for example
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
    name = NAME_PATTERN.fullmatch(path.name)
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
    scale_percent = round(100 * float(name["scale"]))
    return PublishedResult(
        dataset=name["dataset"],
        backbone=name["backbone"],
        mode="ar" if name["ar"] else "hr" if scale_percent == 100 else "lr",
        scale_percent=scale_percent,
        gop=gop,
        rate=megabits_to_rate(name["rate"]),
        miou=scores[:-1],
    )


def rate_to_megabits(rate: Rate) -> str:
    """Return the authors' spelling of a rate: "3M" for "3000k", "0.375M" for "375k"; "qp27" stays."""
    return str(rate) if rate.mbps is None else f"{rate.mbps:.10g}M"


def megabits_to_rate(text: str) -> Rate:
    """Return the rate that the authors spell "3M", "0.375M" or "qp27"."""
    return Rate.from_mbps(float(text[:-1])) if text.endswith("M") else Rate(text)
