"""``arseg checkpoint``: published checkpoints become ours and go out again, and what cannot be is one message."""

import pytest
import torch
from command_line import refusal, run
from published_examples import CLASSES, assert_same_network, example, published

from arseg.compat.checkpoints import describe_state_dict, export_checkpoint, export_network, import_checkpoint
from arseg.compat.naming import parse_checkpoint_name
from arseg.errors import CheckpointError, ConfigError
from arseg.models.branch import load_branch
from arseg.models.checkpoint import load_checkpoint, save_checkpoint
from arseg.models.describe import describe_checkpoint
from arseg.models.registry import build_network
from arseg.models.state_dict import read_state_dict
from arseg.spec import NORMALIZATIONS, NetworkSpec, TrainedOn

HR, LR = "PSPNet_resnet18_1.0_61_.pth", "PSPNet_resnet18_0.5_92_.pth"
SETTINGS = {"backbone": "tiny", "classes": CLASSES, "normalization": "bisenet"}
SHEET = "index,name,red,green,blue,void\n0,road,1,2,3,false\n1,car,4,5,6,false\n2,void,0,0,0,true\n"


@pytest.fixture
def folder(tmp_path):
    """Folder of published files of the example networks."""
    for name, fusion in ((HR, False), (LR, True)):
        torch.save(export_network(example("tiny", fusion), "tiny", fusion=fusion), tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(("mode", "percent", "name"), [("hr", 100, HR), ("lr", 50, LR), ("ar", 50, LR)])
def test_imported_checkpoint_takes_its_role_and_goes_out_again(folder, mode, percent, name):
    report = import_checkpoint(folder / name, folder / "w.pt", mode=mode, scale_percent=percent, **SETTINGS)
    assert report.startswith(f"tiny {'with' if mode == 'ar' else 'without'} fusion, 5 classes: ")
    left_out = "left out, because only a network with fusion uses them: fuse_attention.lr_query_conv.weight, "
    assert (left_out in report) == (mode == "lr")
    names = [cls.name for cls in CLASSES]
    device = torch.device("cpu")
    branch = load_branch(folder / "w.pt", role=mode, scale_percent=percent, class_names=names, device=device)
    assert branch.normalization == NORMALIZATIONS["bisenet"]
    assert branch.spec.warp_alignment == "published"

    network, spec, trained_on = load_checkpoint(folder / "w.pt", expect_backbone="tiny", expect_num_classes=5)
    assert trained_on.imported_from["file"] == name
    assert len(trained_on.imported_from["sha256"]) == 64
    assert (spec.role, trained_on.seed) == (mode, 233)
    assert trained_on.epoch == (61 if mode == "hr" else 92)
    assert spec.classes == CLASSES
    if mode != "lr":  # whose fusion was left out
        assert_same_network(network, example("tiny", mode == "ar"))
        export_checkpoint(folder / "w.pt", folder / "again.pth")
        original, again = (torch.load(folder / file, weights_only=True) for file in (name, "again.pth"))
        assert list(again) == list(original)
        assert all(torch.equal(again[key], tensor) for key, tensor in original.items())


@pytest.mark.parametrize("nested", [False, True])
def test_public_pidnet_files(tmp_path, nested):
    tensors = export_network(example("pidnet-s", False), "pidnet-s", fusion=False)
    assert all(name.startswith("model.") for name in tensors)  # of which the public loader cuts six characters off
    tensors["sem_loss.criterion.weight"] = torch.ones(5)
    torch.save({"epoch": 3, "state_dict": tensors} if nested else tensors, tmp_path / "best.pt")
    assert describe_state_dict(tmp_path / "best.pt")["looks like"] == "pidnet-s without fusion, 5 classes"
    words = SETTINGS | {"backbone": "pidnet-s", "mode": "hr", "scale_percent": 100}
    report = import_checkpoint(tmp_path / "best.pt", tmp_path / "weights.pt", **words)
    assert "479 tensors" in report
    assert "only the loss uses them (training.class_weights): sem_loss.criterion.weight" in report
    network, _, trained_on = load_checkpoint(tmp_path / "weights.pt")
    assert_same_network(network, example("pidnet-s", False))
    assert trained_on.seed == 304


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"mode": "hr"}, ConfigError, r"scale_percent 50 of .*_0\.5_92_\.pth in mode hr: an HR branch sees 100 %"),
        ({"scale_percent": 0}, ConfigError, "scale_percent 0: expected 1 to 100"),
        ({"normalization": "none"}, ConfigError, "normalization 'none': expected one of camvid, imagenet, bisenet"),
        ({"backbone": "psp50"}, ConfigError, "backbone 'psp50': expected one of psp18"),
        ({"classes": CLASSES[:4]}, CheckpointError, r"_0\.5_92_\.pth: has 5 classes, the data set 4\. Name the data"),
        (
            {"backbone": "psp18"},
            CheckpointError,
            r"(?s)_0\.5_92_\.pth: does not fit psp18 with fusion, 5 classes:\n"
            r".*\nThis looks like tiny with fusion, 5 classes: give --backbone tiny",
        ),
        (
            {"source": HR},
            CheckpointError,
            r'(?s)Missing key.*: "fuse_attention\.lr_query_conv\.weight", .*\nThis looks like tiny without '
            r"fusion, 5 classes, an HR branch or LR baseline: give --mode hr or --mode lr",
        ),
        ({"output": f"./{LR}"}, ConfigError, r"0\.5_92_\.pth is the file to read, which would be lost"),
    ],
)
def test_contradictions_are_refused(folder, monkeypatch, changes, error, message):
    monkeypatch.chdir(folder)
    settings = SETTINGS | {"mode": "ar", "scale_percent": 50, "source": LR, "output": "w.pt"} | changes
    source, output = folder / settings.pop("source"), folder / settings.pop("output")
    with pytest.raises(error, match=message):
        import_checkpoint(source, output, **settings)
    assert {path.name for path in folder.iterdir()} == {HR, LR}


def test_a_damaged_baseline_is_not_said_to_be_something_else(tmp_path):
    tensors = published("tiny", True)
    tensors["stem.0.0.weight"] = tensors["stem.0.0.weight"][:1]
    torch.save(tensors, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"size mismatch for stem\.0\.0\.weight: ") as refused:
        import_checkpoint(tmp_path / "w.pth", tmp_path / "w.pt", mode="lr", scale_percent=50, **SETTINGS)
    assert "looks like" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("PSPNet_resnet18_1.0_7_.pth", (100, 7)),
        ("PSPNet_resnet18_0.3_199_.pth", (30, 199)),
        ("PSPNet_resnet18_0.58_1_.pth", (58, 1)),
        ("PSPNet_resnet18_0.5_92_.pt", None),
        ("PSPNet_resnet18_0.5_.pth", None),
        ("weights.pth", None),
    ],
)
def test_scale_and_epoch_from_the_name(tmp_path, name, expected):
    assert parse_checkpoint_name(tmp_path / name) == expected


def test_descriptions(folder):
    foreign = describe_state_dict(folder / LR)
    import_checkpoint(folder / LR, folder / "w.pt", mode="ar", scale_percent=50, **SETTINGS)
    own = describe_checkpoint(folder / "w.pt")
    assert [own[name] for name in ("backbone", "role", "scale", "epoch")] == [
        "tiny", "ar (LR branch of AR)", "50 %", "92"
    ]  # fmt: skip
    assert own["classes"] == "5: class0, class1, class2, class3, class4"
    assert own["imported from"] == f"{LR} (sha256 {foreign['sha256']})"
    assert "score" not in own
    with pytest.raises(CheckpointError, match=r"w\.pt: is a checkpoint of arseg already, which needs no import"):
        read_state_dict(folder / "w.pt")
    for percent, role in ((100, "hr (HR branch)"), (50, "lr (constant-resolution baseline)")):
        spec = NetworkSpec("tiny", 5, scale_percent=percent)
        save_checkpoint(folder / "own.pt", example("tiny", False), spec, TrainedOn(score=0.68412, epoch=7))
        facts = describe_checkpoint(folder / "own.pt")
        assert (facts["role"], facts["score"], facts["epoch"]) == (role, "mIoU 68.41 in validation", "7")


def test_descriptions_of_what_is_no_network(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "w.pth")
    assert describe_state_dict(tmp_path / "w.pth")["looks like"] == "no network known here"
    torch.save({name: t for name, t in published("tiny", False).items() if "lateral" not in name}, tmp_path / "w.pth")
    facts = describe_state_dict(tmp_path / "w.pth")
    assert facts["looks like"] == "tiny without fusion, 5 classes"
    assert facts["agreement"] == "92.9% of the tensors, by name and shape"


# The command


@pytest.mark.parametrize(
    ("dataset", "backbone", "registered", "num_classes", "normalization"),
    [
        ("camvid", "bise18", "bise18", 12, "camvid"),
        ("cityscapes", "bise18", "bise18", 19, "bisenet"),
        ("cityscapes", "psp18", "psp18-cityscapes", 19, "imagenet"),
    ],
)
def test_import_of_a_published_data_set(tmp_path, capsys, dataset, backbone, registered, num_classes, normalization):
    path, output = tmp_path / LR, tmp_path / "weights.pt"
    torch.save(export_network(build_network(registered, num_classes, True), registered, fusion=True), path)
    run("checkpoint", "show", path)
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert ["looks", f"like  {registered} with fusion, {num_classes} classes"] in lines
    assert ["scale", "50 %, by the file's name"] in lines
    run("checkpoint", "import", path, "--dataset", dataset, "--backbone", backbone, "--mode", "ar", "--output", output)
    printed = capsys.readouterr().out
    assert printed.startswith(f"{registered} with fusion, {num_classes} classes: ")
    assert printed.endswith(f"wrote {output}\n")
    _, spec, trained_on = load_checkpoint(output, expect_backbone=registered, expect_num_classes=num_classes)
    assert spec.normalization == normalization
    assert (spec.scale_percent, trained_on.epoch) == (50, 92)
    assert len(spec.classes) == num_classes
    for file in (path, output):
        file.unlink()  # tens of megabytes each


def test_import_of_another_data_set_and_back(tmp_path, capsys):
    path, output, sheet = tmp_path / "best.pth", tmp_path / "weights.pt", tmp_path / "classes.csv"
    torch.save(export_network(build_network("tiny", 3, False), "tiny", fusion=False), path)
    sheet.write_text(SHEET)
    options = ["--classes", sheet, "--normalization", "imagenet", "--scale-percent", 70, "--output", output]
    run("checkpoint", "import", path, "--backbone", "tiny", "--mode", "lr", *options)
    capsys.readouterr()
    run("checkpoint", "show", output)
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert (shown["classes"], shown["scale"], shown["normalization"]) == ("3: road, car, void", "70 %", "imagenet")
    assert len(shown["sha256"]) == 64
    run("checkpoint", "export", output, "--output", tmp_path / "again.pth")
    assert capsys.readouterr().out == f"wrote {tmp_path / 'again.pth'}\n"
    assert list(torch.load(tmp_path / "again.pth")) == list(torch.load(path))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--mode", "lr", "--dataset", "camvid"], "best.pth: its name does not tell the scale"),
        (["--mode", "hr"], "the classes are not clear: give either --dataset or --classes"),
        (["--mode", "hr", "--dataset", "camvid", "--classes", "c.csv"], "give either --dataset or --classes"),
        (["--mode", "hr", "--classes", "{sheet}"], "the normalisation is not clear: give --normalization"),
        (["--mode", "hr", "--dataset", "camvid"], "best.pth: no such file; expected a state dict"),
        (["--mode", "hr", "--dataset", "camvid", "--backbone", "tiny"], "no network 'tiny' was published for 'camvid'"),
    ],
)
def test_what_is_not_clear_is_asked_for(tmp_path, capsys, words, message):
    (tmp_path / "classes.csv").write_text(SHEET)
    words = [word.format(sheet=tmp_path / "classes.csv") for word in words]
    if "--backbone" not in words:
        words += ["--backbone", "bise18"]
    command = ["checkpoint", "import", tmp_path / "best.pth", "--output", tmp_path / "w.pt"]
    assert message in refusal(capsys, *command, *words)
    assert not (tmp_path / "w.pt").exists()


def test_a_file_is_not_overwritten_by_its_own_export(folder, capsys):
    assert "is the file to read, which would be lost" in refusal(
        capsys, "checkpoint", "export", folder / LR, "--output", folder / LR
    )
