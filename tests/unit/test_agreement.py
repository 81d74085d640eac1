"""`arseg segment --compare HR`: what metrics make of AR-Seg's labels with those of its HR branch as the truth."""

import json
import re

import numpy as np
import pytest
import torch
from command_line import run
from infer_examples import CLASSES, SEGMENTATION_CLASSES, frames_of, p_only_video, write_checkpoints

from arseg.infer import segment
from arseg.infer.agreement import Agreement
from arseg.metrics.iou import iou_per_class, mean_iou
from arseg.metrics.metric import Metric, metrics


class Frames(Metric):
    """Counts frames, two for each."""

    def empty(self, context):
        return np.zeros(1, np.int64)

    def update(self, counts, target, predicted, context):
        counts += 2 * len(target)

    def merge(self, first, second):
        return first + second + 100

    score = "share"

    def columns(self, counts, context):
        return {"frames": counts[:, 0], "share": counts[:, 0] / 1000}


def test_the_hr_branch_is_compared_by_any_metric(tmp_path, capsys, monkeypatch):
    checkpoints = write_checkpoints(tmp_path / "checkpoints")
    video = p_only_video(tmp_path / "own.mp4", frames_of(9), gop=4)
    monkeypatch.setitem(metrics._registered, "frames", Frames)
    path = tmp_path / "run.json"
    words = ["segment", video, "--checkpoint", checkpoints, "--scale-percent", 50, "--summary", path]
    run(*words, "--compare", "HR", "--metrics", "frames")
    compared = json.loads(path.read_text())["compared_with_hr"]

    hr = [one for _, one, _ in segment(video, checkpoints / "phase1/scale100/weights.pt", device="cpu")]
    found = list(segment(video, checkpoints, scale_percent=50, device="cpu", compare_hr=True))
    np.testing.assert_array_equal([info.hr_labels for *_, info in found], hr)
    labels = [one for _, one, _ in found]
    confusions = [np.zeros((4, 4), int) for _ in range(4)]
    for index, pair in enumerate(zip(hr, labels, strict=True)):
        np.add.at(confusions[index % 4], pair, 1)
    assert compared["same_pixels"] == pytest.approx(np.mean(np.equal(hr, labels)), abs=1e-6)
    assert compared["scores"]["miou"] == pytest.approx(mean_iou(sum(confusions)), abs=1e-6)
    by_distance = compared["scores_by_distance"]
    assert [row["miou"] for row in by_distance.values()] == pytest.approx(list(map(mean_iou, confusions)), abs=1e-6)
    assert by_distance["0"]["miou"] == 1
    assert [row["frames"] for row in by_distance.values()] == [6, 4, 4, 4]
    assert (compared["scores"]["frames"], compared["scores"]["share"]) == (18 + 300, 0.318)
    assert compared["scores"]["iou_car"] == pytest.approx(iou_per_class(sum(confusions))[2], abs=1e-6)
    shown = capsys.readouterr().out
    assert re.search(rf"^all +{100 * compared['scores']['miou']:.2f} +\S+ +31.80$", shown, flags=re.MULTILINE)
    assert re.search(rf"^car +{100 * compared['scores']['iou_car']:.2f}$", shown, flags=re.MULTILINE)


def test_classes_of_neither_branch_have_no_score():
    agreement = Agreement(SEGMENTATION_CLASSES)
    agreement.add(torch.tensor([[[0, 0, 1]]]), torch.tensor([[[0, 1, 1]]]), 2)
    assert agreement.same_pixels() == pytest.approx(2 / 3)
    scores = agreement.scores()
    assert list(scores) == ["all", "2"]
    assert [scores["2"][f"iou_{name}"] for name in CLASSES] == [0.5, 0.5, None, None]
    assert scores["all"]["miou"] == 0.5
