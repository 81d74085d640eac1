"""``arseg checkpoint``: published names become settings, and what cannot be is one message."""

import pytest
import torch

from arseg.cli.main import main
from arseg.compat.checkpoints import export_network
from arseg.models.checkpoint import load_checkpoint
from arseg.models.registry import build_network

SHEET = "index,name,red,green,blue,void\n0,road,1,2,3,false\n1,car,4,5,6,false\n2,void,0,0,0,true\n"


@pytest.fixture
def published(tmp_path):
    """Write a published checkpoint with fresh weights; give its path."""

    def write(backbone, num_classes, fusion, name="PSPNet_resnet18_0.5_92_.pth"):
        network = build_network(backbone, num_classes, fusion)
        torch.save(export_network(network, backbone, fusion=fusion), tmp_path / name)
        return tmp_path / name

    yield write
    for path in tmp_path.glob("*.p*t*"):  # tens of megabytes each
        path.unlink()


def run(*words):
    main([str(word) for word in words])


def refusal(capsys, *words):
    with pytest.raises(SystemExit) as stopped:
        run(*words)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


@pytest.mark.parametrize(
    ("dataset", "backbone", "registered", "num_classes", "normalization"),
    [
        ("camvid", "bise18", "bise18", 12, "camvid"),
        ("cityscapes", "bise18", "bise18", 19, "bisenet"),
        ("cityscapes", "psp18", "psp18-cityscapes", 19, "imagenet"),
    ],
)
def test_import_of_a_published_data_set(
    published, tmp_path, capsys, dataset, backbone, registered, num_classes, normalization
):
    path, output = published(registered, num_classes, True), tmp_path / "weights.pt"
    words = ["--dataset", dataset, "--backbone", backbone, "--mode", "ar", "--output", output]
    run("checkpoint", "import", path, *words)
    printed = capsys.readouterr().out
    assert printed.startswith(f"{registered} with fusion, {num_classes} classes: ")
    assert printed.endswith(f"wrote {output}\n")
    _, spec, trained_on = load_checkpoint(output, expect_backbone=registered, expect_num_classes=num_classes)
    assert spec.normalization == normalization
    assert (spec.scale_percent, trained_on.epoch) == (50, 92)
    assert len(spec.classes) == num_classes


def test_import_of_another_data_set_and_back(published, tmp_path, capsys):
    path, output = published("psp18", 3, False, "best.pth"), tmp_path / "weights.pt"
    (tmp_path / "classes.csv").write_text(SHEET)
    words = ["checkpoint", "import", path, "--classes", tmp_path / "classes.csv", "--normalization", "imagenet"]
    run(*words, "--backbone", "psp18", "--mode", "lr", "--scale-percent", 70, "--output", output)
    capsys.readouterr()

    run("checkpoint", "show", output)
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert shown["backbone"] == "psp18"
    assert shown["role"] == "lr (constant-resolution baseline)"
    assert shown["classes"] == "3: road, car, void"
    assert shown["scale"] == "70 %"
    assert shown["normalization"] == "imagenet"
    assert len(shown["sha256"]) == 64

    run("checkpoint", "export", output, "--output", tmp_path / "again.pth")
    assert capsys.readouterr().out == f"wrote {tmp_path / 'again.pth'}\n"
    original, again = torch.load(path, weights_only=True), torch.load(tmp_path / "again.pth", weights_only=True)
    assert list(again) == list(original)
    assert all(torch.equal(again[name], tensor) for name, tensor in original.items())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--mode", "lr", "--dataset", "camvid"], "best.pth: its name does not tell the scale"),
        (["--mode", "hr"], "the classes are not clear: give either --dataset or --classes"),
        (["--mode", "hr", "--dataset", "camvid", "--classes", "c.csv"], "give either --dataset or --classes"),
        (["--mode", "hr", "--classes", "{sheet}"], "the normalisation is not clear: give --normalization"),
        (["--mode", "hr", "--dataset", "camvid"], "best.pth: no such file; expected a state dict"),
    ],
)
def test_what_is_not_clear_is_asked_for(tmp_path, capsys, words, message):
    (tmp_path / "classes.csv").write_text(SHEET)
    words = [word.format(sheet=tmp_path / "classes.csv") for word in words]
    command = ["checkpoint", "import", tmp_path / "best.pth", "--backbone", "bise18", "--output", tmp_path / "w.pt"]
    assert message in refusal(capsys, *command, *words)
    assert not (tmp_path / "w.pt").exists()


def test_misfit_is_told(published, tmp_path, capsys):
    path = published("bise18", 12, False, "best.pth")
    words = ["--dataset", "camvid", "--backbone", "psp18", "--mode", "hr", "--output", tmp_path / "w.pt"]
    error = refusal(capsys, "checkpoint", "import", path, *words)
    assert f"{path}: does not fit psp18 without fusion, 12 classes:\n  Missing key(s) in state_dict: " in error
    assert error.endswith("This looks like bise18 without fusion, 12 classes: give --backbone bise18\n")
    assert not (tmp_path / "w.pt").exists()


def test_foreign_file_is_shown(published, capsys):
    run("checkpoint", "show", published("bise18", 19, True))
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert ["format", "state dict of another program, 236 entries"] in lines
    assert ["looks", "like  bise18 with fusion, 19 classes"] in lines
    assert ["scale", "50 %, by the file's name"] in lines
