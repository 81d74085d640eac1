"""A finished network of somebody's own as the checkpoint of an HR branch."""

import pytest
import torch

from arseg.cli.main import main
from arseg.errors import ConfigError
from arseg.models.branch import load_branch
from arseg.spec import Normalization

NETWORK = """
import torch
from torch import nn


def build(num_classes):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, num_classes, 3, padding=1))
"""
NUMBERS = "0.5,0.5,0.5/0.25,0.5,0.5"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NETWORK)
    rows = ["index,name,red,green,blue,void", "0,road,128,64,128,false", "1,sky,70,130,180,false"]
    (tmp_path / "classes.csv").write_text("\n".join(rows))
    return tmp_path


def build(num_classes):
    namespace = {}
    exec(NETWORK, namespace)
    return namespace["build"](num_classes)


def create(*words):
    main(["checkpoint", "create", "net.py:build", "--classes", "classes.csv", "--output", "hr.pt", *words])


def test_a_finished_network_becomes_an_hr_branch(folder):
    create("--normalization", NUMBERS)
    branch = load_branch("hr.pt", role="hr", scale_percent=100, class_names=["road", "sky"], device=torch.device("cpu"))
    assert branch.normalization == Normalization((0.5, 0.5, 0.5), (0.25, 0.5, 0.5))
    image = torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        expected = build(2).eval()(image)
        torch.testing.assert_close(branch.network.last_convolution(branch.network.encode(image).feature), expected)


def test_its_weights_come_from_a_file(folder):
    weights = {name: torch.full_like(tensor, 0.1) for name, tensor in build(2).state_dict().items()}
    torch.save(weights, "weights.pth")
    create("--weights", "weights.pth")
    branch = load_branch("hr.pt", role="hr", scale_percent=100, class_names=None, device=torch.device("cpu"))
    assert all((tensor == 0.1).all() for tensor in branch.network.state_dict().values())


def test_weights_for_other_classes_are_refused(folder, capsys):
    torch.save(build(5).state_dict(), "weights.pth")
    with pytest.raises(SystemExit):
        create("--weights", "weights.pth")
    assert "Give its own weights, and the sheet of the classes that it was trained for" in capsys.readouterr().err
    assert not (folder / "hr.pt").exists()


@pytest.mark.parametrize("text", ["half", "0.5,0.5,0.5", "0.5,0.5,0.5/0,1,1", "1,2/3,4", "0.5,0.5,0.5/a,b,c"])
def test_what_is_no_normalization_is_refused(text):
    with pytest.raises(ConfigError, match="expected one of camvid, imagenet, bisenet, or numbers"):
        Normalization.parse(text)
