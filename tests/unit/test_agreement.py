"""`arseg segment --compare HR`: how AR-Seg's labels, and those of propagation alone, agree with the HR branch's."""

import json
import re

import numpy as np
import pytest
import torch
from command_line import run
from infer_examples import CLASSES, SEGMENTATION_CLASSES, frames_of, p_only_video, write_checkpoints

from arseg.ar import Propagation
from arseg.errors import ConfigError
from arseg.infer import Following, segment
from arseg.infer.agreement import Agreement
from arseg.infer.front_end import FrontEnd
from arseg.metrics.iou import iou_per_class, mean_iou
from arseg.metrics.metric import Metric, metrics
from arseg.models.inference import labels_of
from arseg.models.pixels import normalize
from arseg.stopwatch import Stopwatch


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
    assert compared["scores"]["agreement"] == pytest.approx(mean_iou(sum(confusions)), abs=1e-6)
    by_distance = compared["scores_by_distance"]
    assert [row["agreement"] for row in by_distance.values()] == pytest.approx(
        list(map(mean_iou, confusions)), abs=1e-6
    )
    assert by_distance["0"]["agreement"] == 1
    assert [row["frames"] for row in by_distance.values()] == [6, 4, 4, 4]
    assert (compared["scores"]["frames"], compared["scores"]["agreement_share"]) == (18 + 300, 0.318)
    assert compared["scores"]["agreement_iou_car"] == pytest.approx(iou_per_class(sum(confusions))[2], abs=1e-6)
    shown = capsys.readouterr().out
    assert re.search(rf"^all +{100 * compared['scores']['agreement']:.2f} +\S+ +31.80$", shown, flags=re.MULTILINE)
    assert re.search(rf"^car +{100 * compared['scores']['agreement_iou_car']:.2f}$", shown, flags=re.MULTILINE)


def test_propagation_alone_needs_no_lr_branch(tmp_path, capsys):
    checkpoints = write_checkpoints(tmp_path / "checkpoints")
    hr_path = checkpoints / "phase1/scale100/weights.pt"
    video = p_only_video(tmp_path / "own.mp4", frames_of(7), gop=4)
    found = segment(video, hr_path, device="cpu", propagate=True)
    labels = [one for _, one, _ in found]
    method, expected = Propagation(found.hr.network), []
    with torch.inference_mode():
        for frame, rgb in FrontEnd(str(video), Following(), found.motion, Stopwatch()):
            image = normalize(torch.from_numpy(rgb)[None], found.hr.normalization)
            motion = None if frame.motion_qpel is None else torch.from_numpy(frame.motion_qpel)[None]
            scores = method.keyframe(image) if motion is None else method.frame(image, motion)
            expected.append(labels_of(scores)[0].numpy())
    np.testing.assert_array_equal(labels, expected)
    assert found.watch.runs["hr"] == 2 * 2  # each keyframe is encoded and classified

    words = ["segment", video, "--propagate", "--compare", "HR", "--summary", tmp_path / "run.json"]
    run(*words, "--checkpoint", checkpoints, "--scale-percent", 50)  # whose LR branch is left out
    told = json.loads((tmp_path / "run.json").read_text())
    assert (told["mode"], told["keyframes"], told["scale_percent"]) == ("warp", {"coded": 2}, 100)
    hr = [one for _, one, _ in segment(video, hr_path, device="cpu")]
    compared = told["compared_with_hr"]
    assert compared["same_pixels"] == pytest.approx(np.mean(np.equal(hr, labels)), abs=1e-6)
    assert re.search(r"^propagation alone +\d", capsys.readouterr().out, flags=re.MULTILINE)
    with pytest.raises(ConfigError, match="--propagate: needs an HR branch"):
        segment(video, checkpoints / "phase1/scale50/weights.pt", device="cpu", propagate=True)


def test_classes_of_neither_branch_have_no_score():
    agreement = Agreement(SEGMENTATION_CLASSES)
    agreement.add(torch.tensor([[[0, 0, 1]]]), torch.tensor([[[0, 1, 1]]]), 2)
    assert agreement.same_pixels() == pytest.approx(2 / 3)
    scores = agreement.scores()
    assert list(scores) == ["all", "2"]
    assert [scores["2"][f"agreement_iou_{name}"] for name in CLASSES] == [0.5, 0.5, None, None]
    assert scores["all"]["agreement"] == 0.5
