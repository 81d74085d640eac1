"""A finished network of somebody's own, or of a library, as the checkpoint of an HR branch and on a video."""

import json
import logging
import re

import h5py
import numpy as np
import pytest
import torch
from command_line import refusal, run
from infer_examples import frames_of, p_only_video, rgb_frames

from arseg.cli.main import main
from arseg.errors import CheckpointError, ConfigError
from arseg.models.branch import load_branch
from arseg.models.finished import finished_network, generated_classes
from arseg.models.pixels import normalize
from arseg.spec import Normalization

LAYERS = """
from torch import nn


def layers(num_classes):
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, num_classes, 3, padding=1))
"""
NETWORK = """
from pathlib import Path

import torch
from torch import nn

from layers_beside import layers


def build(num_classes):
    torch.manual_seed(0)
    return layers(num_classes)


def random(num_classes):
    return layers(num_classes)


def random_where_it_does_not_run(num_classes):
    network = Headed(build(num_classes))
    network.auxiliary = nn.Conv2d(3, 3, 1)
    return network


def loading(num_classes):
    network = layers(num_classes)
    network.load_state_dict(torch.load(Path(__file__).with_name("weights.pth")))
    return network


def three(num_classes):
    return build(3)


class Headed(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, image):
        return self.network(image)
"""
NUMBERS = "0.5,0.5,0.5/0.25,0.5,0.5"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NETWORK)
    (tmp_path / "layers_beside.py").write_text(LAYERS)
    rows = ["index,name,red,green,blue,void", "0,road,128,64,128,false", "1,sky,70,130,180,false"]
    (tmp_path / "classes.csv").write_text("\n".join(rows))
    return tmp_path


def build(num_classes):
    namespace = {}
    exec(LAYERS, namespace)
    torch.manual_seed(0)
    return namespace["layers"](num_classes)


def create(*words, network="net.py:build"):
    main(["checkpoint", "create", network, "--classes", "classes.csv", "--output", "hr.pt", *words])


def test_a_finished_network_becomes_an_hr_branch(folder):
    create("--normalization", NUMBERS)
    branch = load_branch("hr.pt", role="hr", scale_percent=100, class_names=["road", "sky"], device=torch.device("cpu"))
    assert branch.normalization == Normalization((0.5, 0.5, 0.5), (0.25, 0.5, 0.5))
    image = torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        expected = build(2).eval()(image)
        torch.testing.assert_close(branch.network.last_convolution(branch.network.encode(image).feature), expected)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("form", ["module", "nested", "script"])
def test_a_network_saved_with_its_code_is_refused_with_what_to_save(folder, form, capsys):
    network = build(2)
    if form == "script":
        torch.jit.trace(network, torch.zeros(1, 3, 8, 8)).save("whole.pth")
    else:
        torch.save(network if form == "module" else {"epoch": 3, "model": network}, "whole.pth")
    with pytest.raises(SystemExit):
        create("--weights", "whole.pth")
    told = capsys.readouterr().err
    assert "whole.pth: " in told
    assert "--weights takes a state dict, torch.save(network.state_dict(), FILE), or a checkpoint" in told


def test_the_folder_of_its_file_may_have_any_name(folder, monkeypatch, capsys):
    (folder / "my nets").mkdir()
    for name in ("net.py", "layers_beside.py"):
        (folder / name).rename(folder / "my nets" / name)
    create(network="my nets/net.py:build")
    video = p_only_video(folder / "own.mp4", frames_of(2))
    run("segment", video, "--checkpoint", "hr.pt", "-o", "a b.csv")
    run("provenance", "a b.csv")
    capsys.readouterr()
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    told = refusal(capsys, "segment", video, "--checkpoint", "../hr.pt", "-o", "a.csv")
    assert (
        f"hr.pt: its network cannot be built: backbone 'my nets/net.py:build': {folder}/elsewhere/my nets/net.py"
        in told
    )


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
    told = "weights.pth: is for 5 classes, and the sheet has 2. Give the sheet of the classes that it was trained for"
    assert told in capsys.readouterr().err
    assert not (folder / "hr.pt").exists()


def test_a_function_may_load_weights_of_one_number_of_classes(folder):
    torch.save({name: torch.full_like(tensor, 0.1) for name, tensor in build(2).state_dict().items()}, "weights.pth")
    create(network="net.py:loading")
    branch = load_branch("hr.pt", role="hr", scale_percent=100, class_names=None, device=torch.device("cpu"))
    assert all((tensor == 0.1).all() for tensor in branch.network.state_dict().values())
    assert branch.trained_on.initialized_from["file"] == "net.py"


@pytest.mark.parametrize(
    ("network", "words", "told"),
    [
        ("net.py:random", [], r"4 of its 4 tensors are random .*--weights FILE; or let the function load them"),
        (
            "tiny",
            [],
            r"tensors are random \(.*, \.\.\.\), and so would be what it says. Give trained weights: --weights",
        ),
        ("net.py:three", [], "its last convolution makes 3 classes, and 2 are needed"),
        (
            "net.py:build",
            ["--weights", "part.pth"],
            r"part\.pth: does not fit .*\n.*[Mm]issing.*\n.*all of its own weights",
        ),
        ("net.py:build", ["--weights", "none.pth"], r"none\.pth: no such file"),
    ],
)
def test_what_is_not_finished_is_refused(folder, network, words, told, capsys):
    torch.save({name: tensor for name, tensor in build(2).state_dict().items() if name != "0.weight"}, "part.pth")
    with pytest.raises(SystemExit):
        create(*words, network=network)
    assert re.search(told, capsys.readouterr().err)
    assert not (folder / "hr.pt").exists()


def test_random_weights_that_do_not_run_do_not_matter(folder):
    create(network="net.py:random_where_it_does_not_run")
    assert (folder / "hr.pt").exists()


@pytest.mark.parametrize(
    "words", [["--network", "net.py:three"], ["--network", "net.py:build", "--weights", "three.pth"]]
)
def test_a_network_by_name_segments_a_video(folder, words, caplog):
    """Without a sheet of classes, and with the labels that the module itself would give."""
    caplog.set_level(logging.INFO)
    torch.save(build(3).state_dict(), "three.pth")
    video = p_only_video(folder / "own.mp4", frames_of(4))
    run("segment", video, *words, "--normalization", NUMBERS, "-o", "labels.h5", "--summary", "run.json")
    pixels = torch.from_numpy(np.array(rgb_frames(video), np.uint8))
    with torch.no_grad():
        scores = build(3)(normalize(pixels, Normalization.parse(NUMBERS)))
    height, width = pixels.shape[1:3]
    scores = torch.nn.functional.interpolate(scores, (height, width), mode="bilinear", align_corners=True)
    with h5py.File("labels.h5") as file:
        assert file.attrs["classes"].decode() == "class 0\nclass 1\nclass 2"
        np.testing.assert_array_equal(file["part0/labels"], scores.argmax(1))
        np.testing.assert_array_equal(file["part0/distance"], 0)
    assert json.loads((folder / "run.json").read_text())["backbone"] == words[1]
    assert len([message for message in caplog.messages if "in generated colours" in message]) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "Give --checkpoint FILE..., or a --network by name"),
        (["--network", "net.py:random", "--classes", "classes.csv"], "Give trained weights: --weights FILE"),
        (["--network", "net.py:build"], "how many classes it has is not known. Give their sheet: --classes"),
        (
            ["--network", "net.py:build", "--compare", "HR"],
            "--compare: .* Add --propagate, .* arseg adapt own.mp4 --network net.py:build",
        ),
        (["--network", "net.py:build", "--scale-percent", 50], "--scale-percent: "),
        (["--network", "net.py:build", "--checkpoint", "hr.pt"], "--checkpoint: "),
        (
            ["--network", "net.py:three", "--keyframes", "coded"],
            "are for an LR branch or --propagate; a single network sees every",
        ),
        (["--checkpoint", "hr.pt", "--weights", "w.pth"], "--weights: is of a network by name"),
    ],
)
def test_options_that_do_not_go_with_a_network_are_refused(folder, words, told, capsys):
    assert re.search(told, refusal(capsys, "segment", "own.mp4", *words, "-o", "labels.h5"))
    assert not (folder / "labels.h5").exists()


@pytest.fixture
def saved(folder, request):
    """A model in a folder that has the form of a name in the hub, other in each test: it is read once in a process."""
    transformers = pytest.importorskip("transformers", reason="needs the extra 'transformers'")
    name = f"acme/{request.node.name.split('[')[0]}"
    sizes = {"depths": [1] * 4, "hidden_sizes": [8, 8, 16, 16], "decoder_hidden_size": 8}
    labels = dict(enumerate(["road", "sky", "road"]))
    model = transformers.SegformerForSemanticSegmentation(transformers.SegformerConfig(**sizes, id2label=labels))
    return name, model


def test_a_model_of_the_hub_brings_weights_classes_and_normalization(saved, folder):
    name, model = saved
    model.save_pretrained(name)
    settings = {"do_normalize": True, "image_mean": [0.5, 0.4, 0.5], "image_std": [0.5, 0.5, 0.25]}
    (folder / name / "preprocessor_config.json").write_text(json.dumps(settings))
    network, spec, _ = finished_network(f"transformers/{name}")
    found = network.state_dict()
    assert all(torch.equal(found[f"network.{key}"], tensor) for key, tensor in model.state_dict().items())
    assert spec.class_names == ("road", "sky", "road 2")
    assert spec.normalization == "0.5,0.4,0.5/0.5,0.5,0.25"
    assert finished_network(f"transformers/{name}", normalization="camvid").spec.normalization == "camvid"
    with pytest.raises(CheckpointError, match="is for 3 classes, and the sheet has 2"):
        finished_network(f"transformers/{name}", generated_classes(["a", "b"]))


def test_a_model_of_the_hub_without_a_decoder_is_refused(saved):
    name, model = saved
    model.segformer.save_pretrained(name)
    with pytest.raises(
        CheckpointError, match=r"has no weights for .* tensors .* not trained for semantic segmentation"
    ):
        finished_network(f"transformers/{name}")


def test_a_model_that_cannot_be_fetched_is_refused(folder, monkeypatch):
    pytest.importorskip("transformers", reason="needs the extra 'transformers'")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"configuration cannot be had .*copy the cache that HF_HOME names"):
        finished_network("transformers/acme/none")


def test_classes_get_distinct_names_and_colours_as_far_as_label_maps_go():
    classes = generated_classes(["car"] * 255)
    assert len({cls.name for cls in classes}) == len({cls.color for cls in classes}) == 255
    with pytest.raises(ConfigError, match="300 classes: label maps of 8 bits hold 255"):
        generated_classes([str(index) for index in range(300)])


@pytest.mark.parametrize("text", ["half", "0.5,0.5,0.5", "0.5,0.5,0.5/0,1,1", "1,2/3,4", "0.5,0.5,0.5/a,b,c"])
def test_what_is_no_normalization_is_refused(text):
    with pytest.raises(ConfigError, match="expected one of camvid, imagenet, bisenet, or numbers"):
        Normalization.parse(text)
