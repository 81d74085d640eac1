"""`arseg export`: files that onnxruntime runs as the evaluation does, that say what they are, or none."""

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from infer_examples import CLASSES, COLORS, HEIGHT, WIDTH, described, frames_of, p_only_video, random_network
from torch import nn
from video_examples import texture

from arseg.ar import ClipPredictor
from arseg.cli import export as command
from arseg.cli.export import export
from arseg.cli.main import main
from arseg.errors import ConfigError, FileAccessError
from arseg.export import branches
from arseg.export.branches import export_branches
from arseg.export.check import MAX_DIFFERING_SHARE, TOLERANCE, ExportError, Frames, compare, example_frames
from arseg.export.graphs import KeyframeGraph, warp_in_graph
from arseg.export.onnx_file import Session, write_graph
from arseg.files import file_digest
from arseg.infer import segment
from arseg.models.branches import load_branches
from arseg.models.checkpoint import save_checkpoint
from arseg.models.inference import warp_keyframe
from arseg.spec import NORMALIZATIONS, Encoding, NetworkSpec, TrainedOn

CPU = torch.device("cpu")
REPOSITORY = Path(__file__).resolve().parents[2]
ENCODING = Encoding(gop=4, references=5)
"""What the LR branch was trained on."""

ODD = (51, 75)
"""Height and width that no stride divides; the half of neither is whole."""


def write_checkpoints(folder, backbone, alignment, fusion=True, **more):
    """An HR branch and an LR branch beside it."""
    hr, lr = folder / "hr.pt", folder / "lr.pt"
    save_checkpoint(hr, random_network(False, 1, backbone=backbone), *described(False, 100, backbone=backbone))
    more |= {"backbone": backbone, "hr_digest": file_digest(hr), "warp_alignment": alignment}
    save_checkpoint(lr, random_network(fusion, 2, backbone=backbone), *described(fusion, 50, **more))
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Checkpoints and ONNX files of the tiny network for frames of the example videos."""
    folder = tmp_path_factory.mktemp("tiny")
    write_checkpoints(folder / "checkpoints", "tiny", "published", encoding=ENCODING)
    export([folder / "checkpoints"], output=folder / "onnx", size=f"{WIDTH}x{HEIGHT}")
    return folder


def frames(size, seed=5):
    """A keyframe, a frame and motion between them, some of which leads out of the picture."""
    rng = np.random.default_rng(seed)
    keyframe, image = (np.ascontiguousarray(texture(96, 96, seed + i)[: size[0], : size[1]]) for i in range(2))
    return keyframe, image, rng.integers(-80, 80, (*size, 2), dtype=np.int16)


def batch(array):
    return torch.tensor(array)[None]


def assert_equal(found, expected):
    """Equal at rounding, and in every label."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()
    assert torch.equal(found.argmax(dim=1), expected.argmax(dim=1))
    assert len(expected.argmax(dim=1).unique()) > 1


@pytest.mark.parametrize(("backbone", "alignment"), [("psp18-cityscapes", "consistent"), ("pidnet-s", "published")])
def test_a_group_of_pictures_equals_the_evaluation(tmp_path, backbone, alignment):
    """The tiny network's is compared with `arseg segment`, below; all others' graphs are compared without a runtime."""
    hr, lr = load_branches([write_checkpoints(tmp_path / "checkpoints", backbone, alignment)], CPU)
    export_branches(hr, lr, ODD, tmp_path / "onnx")
    keyframe, image, motion = frames(ODD)
    predict = ClipPredictor(hr, lr)
    with torch.inference_mode():
        first = predict(batch(keyframe), None, None)
        second = predict(batch(image), batch(keyframe), batch(motion))

    found = Session(tmp_path / "onnx/hr.onnx")({"image": batch(keyframe)})
    assert_equal(found["scores"], first)
    inputs = {"image": batch(image), "keyframe_feature": found["feature"], "motion_qpel": batch(motion)}
    assert_equal(Session(tmp_path / "onnx/lr.onnx")(inputs)["scores"], second)
    shutil.rmtree(tmp_path)


def test_a_fusion_that_uses_evidence_has_an_input_for_it(tmp_path):
    hr, lr = load_branches([write_checkpoints(tmp_path / "checkpoints", "tiny", "consistent", "gated-codec")], CPU)
    export_branches(hr, lr, ODD, tmp_path / "onnx")
    keyframe, image, motion = frames(ODD)
    evidence = np.random.default_rng(5).integers(0, 12, (13, 19, 3), dtype=np.uint8)
    tensors = {"image": batch(image), "motion_qpel": batch(motion), "evidence": batch(evidence)}
    with torch.inference_mode():
        expected, without = (
            ClipPredictor(hr, lr)(batch(image), batch(keyframe), batch(motion), batch(each))
            for each in (evidence, 0 * evidence)
        )
    feature = Session(tmp_path / "onnx/hr.onnx")({"image": batch(keyframe)})["feature"]
    assert_equal(Session(tmp_path / "onnx/lr.onnx")(tensors | {"keyframe_feature": feature})["scores"], expected)
    assert (expected - without).abs().max() > 1e-2 * expected.abs().max()


def test_a_single_network_of_a_low_resolution(tmp_path, capsys):
    path = tmp_path / "weights.pt"
    save_checkpoint(path, random_network(False, 3), *described(False, 70))
    main(["export", str(path), "-o", str(tmp_path / "onnx"), "--size", f"{ODD[1]}x{ODD[0]}"])
    printed = capsys.readouterr().out.splitlines()
    told = [re.fullmatch(r"constant.onnx on (noise|a street): .* PyTorch \d+ ms", line) for line in printed[:-1]]
    assert [words[1] for words in told] == ["noise", "a street"]
    assert printed[-1] == f"wrote {tmp_path / 'onnx/constant.onnx'}"
    branch, _ = load_branches([path], CPU)
    _, image, _ = frames(ODD)
    with torch.inference_mode():
        expected = ClipPredictor(branch)(batch(image), None, None)
    assert_equal(Session(tmp_path / "onnx/constant.onnx")({"image": batch(image)})["scores"], expected)
    record = json.loads((tmp_path / "onnx.provenance.json").read_text())
    assert record["inputs"]["checkpoint"][0]["sha256"] == file_digest(path)


def test_files_say_what_they_are(exported):
    onnxruntime = pytest.importorskip("onnxruntime")
    told = {}
    for name in ("hr", "lr"):
        path = exported / f"onnx/{name}.onnx"
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        told[name] = session.get_modelmeta().custom_metadata_map
        assert told[name]["role"] == name
        assert told[name]["checkpoint_sha256"] == file_digest(exported / f"checkpoints/{name}.pt")
        assert json.loads(told[name]["class_names"]) == CLASSES
        assert json.loads(told[name]["class_colors"]) == COLORS
        assert json.loads(told[name]["class_void"]) == [False, False, False, True]
        assert tuple(json.loads(told[name]["mean"])) == NORMALIZATIONS["camvid"].mean
        assert tuple(json.loads(told[name]["std"])) == NORMALIZATIONS["camvid"].std
        assert [told[name][side] for side in ("height", "width")] == [str(HEIGHT), str(WIDTH)]
        assert str(REPOSITORY).encode() not in path.read_bytes()
    assert (told["hr"]["scale_percent"], told["lr"]["scale_percent"]) == ("100", "50")
    assert told["lr"]["hr_checkpoint_sha256"] == told["hr"]["checkpoint_sha256"]
    assert told["lr"]["warp_alignment"] == "published"
    assert json.loads(told["lr"]["motion"]) == {"subpixel": False, "gop": 4, "max_ref_back": 5}
    assert "motion" not in told["hr"]
    for told_of, branch in zip(told.values(), load_branches([exported / "checkpoints"], CPU), strict=True):
        assert NetworkSpec.from_dict(json.loads(told_of["network"])) == branch.spec
        assert TrainedOn.from_dict(json.loads(told_of["trained_on"])) == branch.trained_on


def test_normalisation_layers_are_folded_into_the_convolutions(exported):
    onnx = pytest.importorskip("onnx")
    for name in ("hr", "lr"):
        graph = onnx.load(exported / f"onnx/{name}.onnx").graph
        assert "BatchNormalization" not in {node.op_type for node in graph.node}
        assert {node.domain for node in graph.node} == {""}  # no operators but ONNX's own


def test_the_page_segments_a_video_as_arseg_does(exported, tmp_path, monkeypatch, capsys):
    """Runs the program of docs/export.md."""
    (program,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs/export.md").read_text(), flags=re.DOTALL)
    video = p_only_video(tmp_path / "video.mp4", frames_of(6), gop=4)
    main(["motion", str(video), "-o", str(tmp_path / "motion.h5"), "--composed"])
    (tmp_path / "onnx").symlink_to(exported / "onnx")
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "docs/export.md", "exec"), {})
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[-6:]] == list("012345")
    segmented = list(segment(video, exported / "checkpoints", device="cpu"))
    assert len(segmented) == 6
    for _, labels, info in segmented:
        found = np.load(f"labels-{info.index:05d}.npy")
        assert found.dtype == np.uint8
        assert (found == labels).all()


@pytest.fixture
def files_of_before(exported, monkeypatch):
    """Exports in no time: whatever is exported, the files that were written before are taken."""

    def copy(path, graph, *_):
        shutil.copyfile(exported / "onnx" / ("hr.onnx" if isinstance(graph, KeyframeGraph) else "lr.onnx"), path)

    monkeypatch.setattr(branches, "write_graph", copy)
    return load_branches([exported / "checkpoints"], CPU)


def test_a_graph_that_warps_otherwise_is_refused(files_of_before, tmp_path):
    hr, lr = files_of_before
    export_branches(hr, lr, (HEIGHT, WIDTH), tmp_path / "same")
    assert sorted(path.name for path in (tmp_path / "same").iterdir()) == ["hr.onnx", "lr.onnx"]
    lr = replace(lr, spec=replace(lr.spec, warp_alignment="consistent"))  # half a pixel
    with pytest.raises(ExportError, match=r"^lr\.onnx: on noise, onnxruntime's outputs differ from PyTorch's by"):
        export_branches(hr, lr, (HEIGHT, WIDTH), tmp_path / "other")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["hr.onnx"]  # which passed
    with torch.no_grad():
        hr.network.last_convolution.bias[0] += 0.01
    with pytest.raises(ExportError, match=r"^hr\.onnx: on noise"):
        export_branches(hr, lr, (HEIGHT, WIDTH), tmp_path / "weights")
    assert not list((tmp_path / "weights").iterdir())


class Wide(nn.Module):
    """The warp by itself, on a picture so wide that single precision would tell."""

    inputs, outputs = ("feature", "motion_qpel"), ("warped",)

    def forward(self, feature, motion_qpel):
        return (warp_in_graph(feature, motion_qpel),)


def test_the_warp_of_a_wide_picture_is_rounded_no_more_than_in_pytorch(tmp_path):
    torch.manual_seed(0)
    inputs = {"feature": torch.randn(1, 4, 3, 2048), "motion_qpel": example_frames((9, 8189))[0].motion_qpel}
    write_graph(tmp_path / "warp.onnx", Wide().eval(), inputs, {})
    warped = Session(tmp_path / "warp.onnx")(inputs)["warped"]
    expected = warp_keyframe(inputs["feature"], inputs["motion_qpel"])
    exact = warp_keyframe(inputs["feature"].double(), inputs["motion_qpel"])
    assert (warped - expected).abs().max() < 2 * (expected - exact).abs().max() < 1e-3


def test_a_wide_picture_is_rounded_more_and_passes(tmp_path):
    save_checkpoint(tmp_path / "weights.pt", random_network(False, 1), *described(False, 100))
    branch, _ = load_branches([tmp_path / "weights.pt"], CPU)
    comparisons = []
    export_branches(branch, None, (64, 8192), tmp_path / "onnx", comparisons.append)
    assert max(comparison.difference for comparison in comparisons) > TOLERANCE
    assert max(comparison.differing_share for comparison in comparisons) < MAX_DIFFERING_SHARE


def scores(*values):
    """Scores of two classes for each of 100 x 100 pixels."""
    return torch.tensor(values).reshape(1, 2, 1, 1).repeat(1, 1, 100, 100)


def one_pixel(values):
    changed = values.clone()
    changed[0, 1, 2, 3] += 2e-5
    return changed


STREET = Frames("a street", *[torch.empty(0)] * 4, labels_decide=True)
NOISE = STREET._replace(what="noise", labels_decide=False)


@pytest.mark.parametrize(
    ("frames", "change", "passes"),
    [
        (STREET, lambda s: s, 0),
        (STREET, one_pixel, 1e-4),  # one pixel in ten thousand may have another label
        (NOISE, lambda s: s.flip(1), 1),  # labels of noise do not decide
        (STREET, lambda s: s.flip(1), "of the pixels have another label"),
        (STREET, lambda s: s * (1 + 1e-3), "outputs differ"),
        (STREET, lambda s: s.where(s > s.min(), torch.nan), "outputs differ"),
        (STREET, lambda s: s[..., :50], "outputs differ"),
    ],
)
def test_what_passes_for_rounding(frames, change, passes):
    expected = {"scores": scores(1.0, 0.99999)}
    found = {"scores": change(expected["scores"])}
    if not isinstance(passes, str):
        assert compare("x.onnx", frames, lambda: found, lambda _: expected).differing_share == pytest.approx(passes)
    else:
        with pytest.raises(ExportError, match=passes):
            compare("x.onnx", frames, lambda: found, lambda _: expected)


def test_pytorchs_own_rounding_bounds_the_difference():
    """Half as much in its scores as onnxruntime's differ by passes, a tenth of that does not."""
    expected = {"feature": torch.ones(1), "scores": scores(1.0, 0.5)}
    found = {"feature": torch.ones(1), "scores": scores(1.002, 0.5)}

    def rounded(share):
        exact = {"feature": torch.ones(1).double(), "scores": (scores(1.0, 0.5) * (1 + share)).double()}
        return lambda dtype: exact if dtype == torch.float64 else expected

    assert compare("x.onnx", STREET, lambda: found, rounded(1e-3)).difference == pytest.approx(0.002, rel=1e-3)
    with pytest.raises(ExportError, match=r"differ from PyTorch's by 2\.0e-03 .* no more than 4\.0e-04 is rounding"):
        compare("x.onnx", STREET, lambda: found, rounded(1e-4))
    with pytest.raises(ExportError, match="differ from PyTorch's by nan"):
        compare("x.onnx", STREET, lambda: found | {"feature": torch.full((1,), torch.nan)}, rounded(1e-3))


def test_without_the_extra_the_command_says_what_to_install(exported, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"onnxscript.*pip install"):
        export([exported / "checkpoints"], output=tmp_path / "onnx")
    assert not list(tmp_path.iterdir())


def test_an_exporter_that_fails(files_of_before, tmp_path, monkeypatch):
    def fail(*_):
        raise ModuleNotFoundError("No module named 'onnxscript._framework_apis'")

    monkeypatch.setattr(branches, "write_graph", fail)
    with pytest.raises(ExportError, match=r"^hr\.onnx: PyTorch .*No module .*pip install --upgrade onnx"):
        export_branches(*files_of_before, (HEIGHT, WIDTH), tmp_path / "onnx")
    assert not list((tmp_path / "onnx").iterdir())


def test_outputs_that_are_there(files_of_before, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="--output is a folder"):
        export_branches(*files_of_before, (HEIGHT, WIDTH), tmp_path / "file")
    with pytest.raises(FileAccessError, match="not empty"):  # before the checkpoint is read
        export([tmp_path / "no.pt"], output=tmp_path)


def test_a_size_unlike_that_of_the_training_is_said(exported, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(command, "export_branches", lambda *_, **__: None)
    write_checkpoints(tmp_path, "tiny", "published", frame_size=[96, 64])
    export([tmp_path], output=tmp_path / "onnx", size="960x640")
    assert caplog.messages == [
        "--size 960x640: the network was trained on frames of 96x64 pixels, these have 960x640: things in them are "
        "10 times as large as it has learnt. Resize the frames, or train on some of that size"
    ]
