"""Published result files: one text file per protocol with a score per line (docs/method.md, 'Published files').

Reading them puts them beside our results; writing them lets the published plotting programs read ours.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from arseg.access import reading
from arseg.errors import DataError
from arseg.evaluate.result import Evaluation, EvaluationSettings
from arseg.files import atomic_path
from arseg.spec import Rate

RESULT_NAMES = {("cityscapes", "psp18-cityscapes"): "psp18", ("cityscapes", "psp18"): "psp18camvid"}
"""Names of networks in result files, by data set and backbone, where they are not the backbone without its hyphen.
The form of PSPNet that was not published on a data set has a name that no published result has."""

NAME = re.compile(
    r"(?P<dataset>.+)-(?P<backbone>[a-z0-9]+)-(?P<ar>AR-)?(?P<scale>\d+(\.\d+)?)x-resolution-exp"
    r"-GOP(?P<gop>\d+)-(?P<rate>\d+(\.\d+)?M|qp\d+|crf\d+)-evaluation\.txt"
)


def file_name(settings: EvaluationSettings) -> str:
    """Return the published name of a result, which does not say codec, seed and split."""
    backbone = RESULT_NAMES.get((settings.dataset, settings.backbone), settings.backbone.replace("-", ""))
    scale = f"{'AR-' if settings.mode == 'ar' else ''}{settings.scale_percent / 100}x"
    rate, gop = settings.encoding.rate, settings.encoding.gop
    megabits = str(rate) if rate.mbps is None else f"{rate.mbps:.10g}M"
    return f"{settings.dataset}-{backbone}-{scale}-resolution-exp-GOP{gop}-{megabits}-evaluation.txt"


def write_published(evaluation: Evaluation, folder: Path) -> Path:
    """Write L lines with mIoU_d and one with their mean, in NumPy's ``savetxt`` format; return the file's path.

    Results that the published name does not tell apart need folders of their own.
    """
    path = folder / file_name(evaluation.settings)
    with atomic_path(path) as temporary:
        np.savetxt(temporary, [*evaluation.miou, evaluation.miou.mean()])
    return path


def read_published(path: Path) -> pd.DataFrame:
    """Return a published result file as the table that `arseg.evaluate.compare.compare` needs, a row per distance.

    A DataError says that the file is missing, its name or content of another form, or its last line not the mean.
    """
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
    scale, rate = float(name["scale"]), name["rate"]
    backbones = {(dataset, result): backbone for (dataset, backbone), result in RESULT_NAMES.items()}
    return pd.DataFrame(
        {
            "dataset": name["dataset"],
            "split": "",
            "backbone": backbones.get((name["dataset"], name["backbone"]), name["backbone"]),
            "encoding": "",
            "gop": gop,
            "rate": Rate.from_mbps(float(rate[:-1])) if rate.endswith("M") else Rate(rate),
            "mode": "AR" if name["ar"] else "HR" if scale == 1 else "LR",
            "scale": scale,
            "seed": 0,
            "distance": range(gop),
            "miou": scores[:-1],
        }
    )
