"""Which networks are meant by the checkpoints and folders that a user names."""

import pytest
import torch
from infer_examples import CLASSES, COLORS, write_checkpoints

from arseg.errors import CheckpointError
from arseg.models.branches import load_branches

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    return write_checkpoints(tmp_path_factory.mktemp("checkpoints"))


def test_branches_are_found_in_a_folder(checkpoints):
    hr, lr = load_branches([checkpoints], CPU, 30)
    assert (hr.spec.scale_percent, lr.spec.scale_percent) == (100, 30)
    assert [cls.name for cls in lr.spec.classes] == CLASSES
    assert [list(cls.color) for cls in lr.spec.classes] == COLORS


def test_each_checkpoint_is_read_once(checkpoints, monkeypatch):
    ordinary, read = torch.load, []

    def load(source, **options):
        read.append(source)
        return ordinary(source, **options)

    monkeypatch.setattr(torch, "load", load)
    load_branches([checkpoints], CPU, 30)
    assert sorted(read) == sorted(checkpoints.rglob("*.pt"))


@pytest.mark.parametrize(
    ("names", "scale", "message"),
    [
        (["."], None, r"several checkpoints could be meant.*\n.*30 %.*\n.*50 %"),
        (["phase2/scale50/weights.pt"], None, "there is none beside it that is the one that it was trained beside"),
        (["phase1"], None, "several checkpoints could be meant"),
        (["."], 77, "no checkpoint of 77 % was found"),
        (["nowhere.pt"], None, "nowhere.pt: no such file"),
    ],
)
def test_networks_that_cannot_be_told(checkpoints, names, scale, message):
    with pytest.raises(CheckpointError, match=message):
        load_branches([checkpoints / name for name in names], CPU, scale)
