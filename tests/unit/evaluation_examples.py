"""Small evaluations with numbers that can be checked by hand."""

from dataclasses import replace
from typing import Any

import numpy as np

from arseg.evaluate.result import Evaluation, EvaluationSettings
from arseg.spec import Encoding

SETTINGS = EvaluationSettings(
    dataset="camvid",
    split="test",
    backbone="psp18",
    encoding=Encoding(gop=2),
    mode="hr",
    scale_percent=100,
    seed=233,
    absent="skip",
    class_names=("sky", "road", "void"),
    void=(False, False, True),
    manifest_digest="0" * 64,
    num_shards=1,
    checkpoints={"hr": "1" * 64},
    versions={"arseg": "0.1.0"},
)

CONFUSIONS = np.array(
    [
        [[6, 2, 0], [0, 8, 0], [0, 0, 4]],  # IoU 6/8, 8/10, 4/4
        [[3, 1, 0], [1, 3, 0], [0, 0, 0]],  # IoU 3/5, 3/5, absent
    ]
)


def make_evaluation(confusions: Any = CONFUSIONS, shards: tuple[int, ...] = (0,), **settings: Any) -> Evaluation:
    confusions = np.asarray(confusions, dtype=np.int64)
    return Evaluation(
        settings=replace(SETTINGS, **{"encoding": Encoding(gop=len(confusions))} | settings),
        shards=shards,
        counts={"miou": confusions},
        num_frames=np.full(len(confusions), 5),
        gmacs_per_frame=308.64,
        encoders=("x265 4.1",),
    )
