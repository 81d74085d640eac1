"""What others add: registries, and the examples of docs/extending.md from files outside the package."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import chain
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from infer_examples import frames_of, p_only_video
from PIL import Image
from video_examples import moving_texture

from arseg.codec.decode import read_clip
from arseg.codec.encode import encode_clip
from arseg.codecs import Codec, codecs
from arseg.data.manifest import ManifestRow, SegmentationClass, write_manifest
from arseg.errors import ConfigError
from arseg.models.checkpoint import read_checkpoint
from arseg.plugins import PLUGINS_VARIABLE, Registry
from arseg.spec import Encoding

EXAMPLES = r"```python\n# (\w+\.py)\n(.*?)```"

PROGRAM = """
import sys
from arseg.cli.main import main

for words in " ".join(sys.argv[1:]).split(" , "):
    main(words.split())
"""


@pytest.fixture
def things():
    things = Registry("thing", "arseg.things")
    things.register("first")(1)
    return things


def test_names_are_those_registered_in_order(things):
    @things.register("second")
    def second():
        pass

    assert things.names() == ("first", "second")
    assert things.get("second") is second
    assert things.find("third") is None


def test_an_unknown_name_is_refused_with_all_and_the_nearest(things):
    with pytest.raises(
        ConfigError, match=r"thing 'fist': expected one of first\. Did you mean 'first'\?.*ARSEG_PLUGINS"
    ):
        things.get("fist")


@pytest.mark.parametrize(("name", "reason"), [("first", "registered already"), ("a/b", "letters, digits")])
def test_names_are_unique_and_fit_into_paths(things, name, reason):
    with pytest.raises(ConfigError, match=f"thing '{name}': .*{reason}"):
        things.register(name)


def test_entry_points_are_loaded_when_an_unknown_name_is_looked_up(things, tmp_path, monkeypatch, caplog):
    metadata = tmp_path / "adds_things-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: adds-things\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[arseg.things]\nbroken = no_such_module\nwhole = adds_things\n")
    (tmp_path / "adds_things.py").write_text("from test_plugins_state import things\nthings.register('other')(2)\n")
    monkeypatch.setitem(sys.modules, "test_plugins_state", SimpleNamespace(things=things))
    monkeypatch.syspath_prepend(tmp_path)
    assert things.get("first") == 1
    assert "adds_things" not in sys.modules
    assert things.get("other") == 2
    assert "adds-things: its thing 'broken' (no_such_module) cannot be loaded: ModuleNotFoundError" in caplog.text
    del sys.modules["adds_things"]


@pytest.mark.parametrize(
    ("named", "reason"),
    [("missing.py", "FileNotFoundError"), ("no_such_module", "ModuleNotFoundError"), ("wrong.py", "ZeroDivisionError")],
)
def test_plugins_that_cannot_be_imported_are_named(things, tmp_path, monkeypatch, named, reason):
    (tmp_path / "wrong.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(PLUGINS_VARIABLE, f", {named}")
    with pytest.raises(ConfigError, match=rf"ARSEG_PLUGINS: {named} cannot be imported \({reason}: "):
        things.names()


@pytest.fixture(scope="module")
def plugins(repository, tmp_path_factory):
    """The examples of the documentation as files, and an environment that names them."""
    folder = tmp_path_factory.mktemp("plugins")
    page = (repository / "docs/extending.md").read_text()
    files = []
    for name, text in re.findall(EXAMPLES, page, flags=re.DOTALL):
        files.append(folder / name)
        files[-1].write_text(text)
    return os.environ | {PLUGINS_VARIABLE: ",".join(map(str, files))}


def run(environment, program, *words):
    command = [sys.executable, "-c", program, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=[("attentive", "creff"), ("tiny", "mean")], ids=["network", "fusion"])
def trained(request, plugins, tiny_dataset, tmp_path_factory):
    """Everything that the commands make with a network of somebody else."""
    name, fusion = request.param
    folder = tmp_path_factory.mktemp(name)
    common = ["--manifest", tiny_dataset.manifest, "--device", "cpu", "--workers", 0]
    train = [*common, "--initial-weights", "none", "--crop", "64x48", "--batch-size", 2, "--epochs", 1]
    evaluate = ["evaluate", *common, "--stores", *tiny_dataset.test_stores, "--metrics", "pixel-accuracy"]
    hr, ar, table = folder / "hr.pt", folder / "ar.pt", folder / "miou.csv"
    video = p_only_video(folder / "own.mp4", frames_of(3))
    figures = {"--by-distance": folder / "distance.svg", "--by-cost": folder / "cost.svg"}
    others = {"--by-distance": folder / "other.svg", "--by-cost": folder / "other_cost.svg"}
    made = {"--csv": table, "--summary": folder / "miou.md", "--published": folder / "published"}
    phase1 = {"--backbone": name, "--train-split": "train", "--val-split": "val", "--output": hr}
    phase2 = {"--hr": hr, "--scale-percent": 50, "--unfused-epochs": 0, "--fusion": fusion, "--output": ar}
    stores = ["--train-stores", *tiny_dataset.train_stores, "--val-stores", *tiny_dataset.val_stores]
    commands = [
        ["train", "phase1", *train, *chain.from_iterable(phase1.items())],
        ["train", "phase2", *train, *chain.from_iterable(phase2.items()), *stores],
        [*evaluate, "--mode", "hr", "--hr", hr, "--output", folder / "hr.npz"],
        [*evaluate, "--mode", "ar", "--hr", hr, "--lr", ar, "--scale-percent", 50, "--output", folder / "ar.npz"],
        ["tabulate", folder / "hr.npz", folder / "ar.npz", *chain.from_iterable(made.items())],
        ["plot", "curves", table, *chain.from_iterable(figures.items())],
        ["plot", "curves", table, "--metric", "pixel-accuracy", *chain.from_iterable(others.items())],
        ["segment", video, "--checkpoint", hr, ar, "--device", "cpu", "-o", folder / "labels.h5"],
    ]
    words = [word for command in commands for word in [",", *command]][1:]
    run(plugins, PROGRAM, *words)
    return SimpleNamespace(name=name, fusion=fusion, folder=folder, table=pd.read_csv(table))


def test_a_network_or_fusion_of_another_package_is_trained_evaluated_drawn_and_used(trained):
    assert {*trained.table["backbone"]} == {trained.name}
    assert {*trained.table["mode"]} == {"HR", "AR"}
    assert trained.table["miou"].notna().all()
    assert (trained.table["gmacs_per_frame"] > 0).all()
    assert read_checkpoint(trained.folder / "ar.pt").spec.fusion == trained.fusion
    assert trained.name in (trained.folder / "miou.md").read_text()
    assert (trained.folder / "distance.svg").exists()
    assert (trained.folder / "labels.h5").exists()


def test_a_metric_of_another_package_is_counted_and_put_into_tables_and_figures(trained):
    with np.load(trained.folder / "ar.npz") as arrays:
        right = np.diagonal(arrays["confusions"], axis1=1, axis2=2).sum(axis=1)
        labelled = arrays["confusions"].sum(axis=(1, 2))
    rows = trained.table[trained.table["mode"] == "AR"]
    np.testing.assert_allclose(rows["pixel_accuracy"], right / labelled, atol=1e-8)
    columns = list(trained.table.columns)
    assert columns.index("classes_without_labels") < columns.index("pixel_accuracy") < columns.index("gmacs_per_frame")
    summary = (trained.folder / "miou.md").read_text()
    assert "pixel_accuracy" in summary
    assert f"{100 * (right / labelled).mean():.2f}" in summary
    assert (trained.folder / "other.svg").read_bytes() != (trained.folder / "distance.svg").read_bytes()


def test_configurations_take_networks_of_another_package(plugins, repository, tmp_path):
    config = yaml.safe_load((repository / "config/demo.yaml").read_text())
    config["datasets"]["synthetic"]["backbones"] = ["attentive"]
    config["metrics"] = ["pixel-accuracy"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    program = """
import json, sys
from types import SimpleNamespace
from arseg.plots.style import describe_setting
from arseg.workflow.experiment import read_experiment
from arseg.workflow.jobs import Jobs

raw = json.load(open(sys.argv[1]))
experiment = read_experiment(raw, ["x.yaml"], sys.argv[2])
assert "attentive" in experiment.constraints()["backbone"].split("|")
assert "/attentive/" in experiment.evaluations()[0]
at = SimpleNamespace(dataset="synthetic", encoding="x", backbone="attentive", scale="50", seed="1", mode="hr")
assert Jobs(experiment).threads(4)(at) == 1
assert Jobs(experiment).evaluated_networks(at)[2:] == ["--metrics", "pixel-accuracy"]
names = [f"{metric}_by_{x}.png" for metric in ("miou", "pixel-accuracy") for x in ("distance", "cost")]
assert [path.rpartition("/")[2] for path in experiment.figures()][:4] == names
setting = dict(dataset="d", split="s", backbone="attentive", codec="hevc", rate="qp30", gop=12)
assert "Patches with attention" in describe_setting(setting)
raw["datasets"]["synthetic"]["backbones"] = ["atentive"]
try:
    read_experiment(raw, ["x.yaml"], sys.argv[2])
except Exception as error:
    print(error)
"""
    refusal = run(plugins, program, tmp_path / "config.json", repository)
    assert "'atentive' is not allowed; did you mean 'attentive'? Allowed: psp18, psp18-cityscapes" in refusal


@pytest.mark.parametrize("rate", ["400k", "qp4"])
def test_a_codec_of_another_package_makes_clips(rate, plugins, tmp_path):
    frames = moving_texture(6, 64, 96, (3, 2))
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"{index:03d}.png")
    Image.fromarray(np.zeros((64, 96), np.uint8)).save(tmp_path / "label.png")
    paths = [str(tmp_path / name) for name in ("005.png", "label.png", "{index:03d}.png")]
    row = ManifestRow("texture", "test", "a", 5, *paths, frame_step=1)
    write_manifest(tmp_path / "manifest.csv", [row], [SegmentationClass(0, "all", (0, 0, 0), void=False)])
    clips = ["clips", "--manifest", tmp_path / "manifest.csv", "--split", "test", "--codec", "mpeg4", "--gop", 6]
    run(plugins, PROGRAM, *clips, "--rate", rate, "--output", tmp_path)
    with h5py.File(tmp_path / "d05.h5") as store:
        assert "mpeg4" in str(dict(store.attrs))
        motion = store["motion_qpel"][0, 20:-20, 20:-20]
    assert (motion == np.multiply((3, 2), 4 * 5)).all(axis=-1).mean() > 0.9


def test_a_configuration_names_a_codec_of_another_package(plugins, repository):
    program = """
import sys, yaml
from pathlib import Path
from arseg.errors import ConfigError
from arseg.plots.style import describe_setting
from arseg.workflow.reading import read_config
from arseg.workflow.schema import config_schema

demo, schema = yaml.safe_load(Path(sys.argv[1]).read_text()), config_schema()
config, _ = read_config(demo | {"codecs": ["mpeg4"]}, schema, "x.yaml")
print(config.codecs)
setting = {"backbone": "tiny", "codec": "mpeg4", "dataset": "a", "split": "b", "rate": "3000k", "gop": 12}
print(describe_setting(setting))
try:
    read_config(demo | {"codecs": ["mpeg5"]}, schema, "x.yaml")
except ConfigError as error:
    print(error)
"""
    shown = run(plugins, program, repository / "config/demo.yaml")
    assert "('mpeg4',)" in shown
    assert "MPEG-4 3 Mbit/s" in shown
    assert "codecs[0]: 'mpeg5' is not allowed; did you mean 'mpeg4'? Allowed: h264, hevc, mpeg4" in shown


@pytest.fixture
def register(monkeypatch):
    """Register codecs for one test."""
    monkeypatch.setattr(codecs, "_registered", dict(codecs._registered))
    return codecs.register


def test_a_standard_may_have_several_codecs(register):
    ours = codecs.get("h264")
    register("h264-coarse")(replace(ours, settings=lambda *given: ours.settings(*given) | {"subme": 0}))
    encoding = Encoding("h264-coarse", "qp18")
    clip = encode_clip(moving_texture(4, 64, 96, (2, 0)), encoding)
    assert encoding.name == "h264-coarse-qp18-gop12-medium"
    assert "subme=0" in clip.parameters
    assert len(read_clip(clip.bitstream, encoding.codec)) == 4


def test_settings_that_a_codec_lacks_are_refused(register):
    register("plain")(Codec("mpeg4", "MPEG-4", "mpeg4", "m4v", dict, rates={"kbps": "b:v"}, max_references=1))
    for (name, value), message in {
        ("rate", "crf20"): "rate crf20: MPEG-4 has kbps only",
        ("preset", "slow"): "preset 'slow': MPEG-4 has medium",
        ("references", 2): "references 2: MPEG-4 takes 1 at most",
        ("parameters", "a=1"): "parameters: 'a=1': MPEG-4 takes none here",
    }.items():
        with pytest.raises(ConfigError, match=message):
            Encoding("plain", **{name: value})
    with pytest.raises(ConfigError, match=r"codec 'plane': expected one of h264, hevc, .*Did you mean 'plain'"):
        Encoding("plane")
