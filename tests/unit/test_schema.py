import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from arseg.config import TrainConfig
from arseg.data.synthetic.dataset import StreetOptions
from arseg.errors import ConfigError
from arseg.schema import check_config, read_schema
from arseg.spec import Encoding
from arseg.workflow.experiment import SCHEMA
from arseg.workflow.keys import TRAINING
from arseg.workflow.schema import schema_text, with_tables

CONFIGS = ["config.yaml", "demo.yaml", "camvid-sequence.yaml"]


@pytest.fixture(scope="module")
def schema(repository: Path) -> dict:
    return read_schema(repository / SCHEMA)


@pytest.fixture
def config(repository: Path) -> dict:
    return yaml.safe_load((repository / "config/config.yaml").read_text())


@pytest.mark.parametrize("name", CONFIGS)
def test_shipped_configurations_are_valid(name, repository, schema):
    config = yaml.safe_load((repository / "config" / name).read_text())
    complete = check_config(config, schema, name)
    assert complete["name"] == config["name"]


def test_config_yaml_is_the_whole_experiment_of_the_paper(config, schema):
    complete = check_config(config, schema)
    assert complete["codecs"] == ["hevc"]
    assert complete["gops"] == [12]
    assert complete["scales"] == [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert complete["seeds"] == [233]
    assert {name: (d["rates"], d["fps"]) for name, d in complete["datasets"].items()} == {
        "camvid": (["3000k"], 30),
        "cityscapes": (["5000k"], 17),
    }
    assert complete["datasets"]["camvid"]["backbones"] == ["psp18", "bise18"]
    assert complete["datasets"]["cityscapes"]["backbones"] == ["psp18-cityscapes", "bise18"]


def test_config_yaml_encodes_as_the_paper(config, schema):
    complete = check_config(config, schema)
    assert complete["encoder"] == {"parameters": {"hevc": "", "h264": ""}}
    assert complete["motion"] == {"subpixel": False}
    assert [dataset["presets"] for dataset in complete["datasets"].values()] == [[Encoding().preset]] * 2


def test_presets_and_rates_of_the_schema_are_names_for_paths(schema):
    properties = schema["$defs"]["dataset"]["properties"]
    for preset in properties["presets"]["items"]["enum"]:
        assert re.fullmatch(r"[a-z0-9]+", preset)
        assert Encoding(preset=preset).name.endswith(preset)
    assert properties["rates"]["items"]["pattern"] == "^([1-9][0-9]*k|qp[0-9]+|crf[0-9]+)$"


def test_absent_keys_get_their_defaults_and_the_input_is_left_alone(config, schema):
    del config["scales"], config["datasets"]["camvid"]["shards"]
    complete = check_config(config, schema)
    assert complete["scales"][0] == 0.3
    assert complete["datasets"]["camvid"]["shards"] == 1
    assert "scales" not in config


def test_the_source_gets_the_defaults_of_its_kind(config, schema, repository):
    complete = check_config(config, schema)
    assert complete["datasets"]["camvid"]["source"] == {
        "split": "kaggle",
        **dict.fromkeys(("package", "stills", "labels", "videos"), ""),
        "files": "config/camvid-files.csv",
        "sequences": "config/camvid-sequences.csv",
    }
    demo = yaml.safe_load((repository / "config/demo.yaml").read_text())
    source = check_config(demo, schema)["datasets"]["synthetic"]["source"]
    assert source.pop("seed") == 1
    defaults = vars(StreetOptions())
    assert source == {name: defaults[name] for name in source}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(scale=[0.5]), r"x\.yaml: scale: unknown key; did you mean 'scales'\? Allowed: .*codecs"),
        (lambda c: c.update(scales=[1.2]), r"x\.yaml: scales\[0\]: 1\.2 is greater than or equal to the maximum of 1"),
        (lambda c: c.update(scales=[0.5, 0]), r"x\.yaml: scales\[1\]: 0 is less than or equal to the minimum of 0"),
        (lambda c: c.update(codecs=["h265"]), r"x\.yaml: codecs\[0\]: 'h265' is not allowed.* Allowed: h264, hevc"),
        (
            lambda c: c.update(encoder={"parameters": {"x265": "me=hex"}}),
            r"x\.yaml: encoder\.parameters\.x265: unknown key.*Allowed: h264, hevc",
        ),
        (
            lambda c: c.update(encoder={"references": 17}),
            r"x\.yaml: encoder\.references: 17 is greater than the maximum of 16",
        ),
        (
            lambda c: c["datasets"]["camvid"].update(preset="slow"),
            r"x\.yaml: datasets\.camvid\.preset: unknown key; did you mean 'presets'\?",
        ),
        (lambda c: c.pop("datasets"), r"x\.yaml: datasets: this key is missing"),
        (
            lambda c: c["datasets"]["camvid"].update(rates=["3M"]),
            r"x\.yaml: datasets\.camvid\.rates\[0\]: '3M' does not match .*3000k",
        ),
        (
            lambda c: c["datasets"]["camvid"]["source"].update(folder="x"),
            r"x\.yaml: datasets\.camvid\.source\.folder: unknown key; Allowed: files, labels, package, sequences",
        ),
        (
            lambda c: c["datasets"]["cityscapes"]["source"].update(rot="x"),
            r"x\.yaml: datasets\.cityscapes\.source\.rot: unknown key; did you mean 'root'\?",
        ),
        (
            lambda c: c["datasets"]["cityscapes"].update(kind="frames"),
            r"x\.yaml: datasets\.cityscapes\.splits: this key is missing",
        ),
        (
            lambda c: c["datasets"]["cityscapes"]["training"].update(epoch=3),
            r"x\.yaml: datasets\.cityscapes\.training\.epoch: unknown key; did you mean 'epochs'\?",
        ),
        (
            lambda c: c["datasets"]["camvid"].update(backbones=["resnet50"]),
            r"x\.yaml: datasets\.camvid\.backbones\[0\]: 'resnet50' is not allowed.*bise18",
        ),
    ],
)
def test_refusals_name_the_key_the_reason_and_what_is_allowed(config, schema, change, message):
    change(config)
    with pytest.raises(ConfigError, match=message):
        check_config(config, schema, "x.yaml")


def test_all_problems_are_reported_at_once(config, schema):
    config.update(codecs=["av1"], gops=[1])
    with pytest.raises(ConfigError) as caught:
        check_config(config, schema, "x.yaml")
    assert len(str(caught.value).splitlines()) == 2


def test_schema_and_tables_are_those_of_the_keys(repository):
    """If not: `make schema`."""
    assert (repository / SCHEMA).read_text() == schema_text()
    tables = (repository / "config/README.md").read_text()
    assert tables == with_tables(tables)


def test_every_training_constant_is_a_key():
    # original_quirks belongs to the whole experiment, not to one training.
    assert set(TRAINING) == {field.name for field in fields(TrainConfig)} - {"original_quirks"}
