from dataclasses import dataclass, fields, make_dataclass
from functools import reduce
from operator import getitem
from pathlib import Path

import pytest
import yaml

from arseg.config import TrainConfig
from arseg.datasets import DatasetKind, Frames
from arseg.datasets.synthetic.kind import Synthetic
from arseg.errors import ConfigError
from arseg.spec import Encoding
from arseg.workflow.keys import TRAINING
from arseg.workflow.reading import check_config
from arseg.workflow.schema import SCHEMA, config_schema, schema_text, with_tables

CONFIGS = ["config.yaml", "demo.yaml", "camvid-sequence.yaml"]


@pytest.fixture(scope="module")
def schema() -> dict:
    return config_schema()


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
    assert complete["encoder"] == {"parameters": {}}
    assert complete["motion"] == {"subpixel": False}
    assert {n: (d["rates"], d["fps"], d["presets"], d["backbones"]) for n, d in complete["datasets"].items()} == {
        "camvid": (["3000k"], 30, [Encoding().preset], ["psp18", "bise18"]),
        "cityscapes": (["5000k"], 17, [Encoding().preset], ["psp18-cityscapes", "bise18"]),
    }


def test_absent_keys_get_their_defaults_and_the_input_is_left_alone(config, schema, repository):
    del config["scales"], config["datasets"]["camvid"]["shards"]
    complete = check_config(config, schema)
    assert complete["scales"][0] == 0.3
    assert complete["datasets"]["camvid"]["shards"] == 1
    assert "scales" not in config
    assert complete["datasets"]["camvid"]["source"] == {
        "split": "kaggle",
        **dict.fromkeys(("package", "stills", "labels", "videos"), ""),
        "files": "config/camvid-files.csv",
        "sequences": "config/camvid-sequences.csv",
    }
    demo = yaml.safe_load((repository / "config/demo.yaml").read_text())
    source = check_config(demo, schema)["datasets"]["synthetic"]["source"]
    assert source.pop("seed") == 1
    defaults = vars(Synthetic())
    assert source == {name: defaults[name] for name in source}


def of(place, **values):
    """Change values at a place in the configuration, like "datasets.camvid"."""

    def change(config):
        reduce(getitem, filter(None, place.split(".")), config).update(values)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (of("", scale=[0.5]), r"scale: unknown key; did you mean 'scales'\? Allowed: .*codecs"),
        (of("", scales=[1.2]), r"scales\[0\]: 1\.2 is greater than or equal to the maximum of 1"),
        (of("", scales=[0.5, 0]), r"scales\[1\]: 0 is less than or equal to the minimum of 0"),
        (of("", codecs=["h265"]), r"codecs\[0\]: 'h265' is not allowed.* Allowed: h264, hevc"),
        (
            of("", encoder={"parameters": {"x265": "me=hex"}}),
            r"encoder\.parameters: 'x265' is not allowed.*Allowed: h264, hevc",
        ),
        (of("", encoder={"references": 17}), r"encoder\.references: 17 is greater than the maximum of 16"),
        (of("datasets.camvid", preset="slow"), r"datasets\.camvid\.preset: unknown key; did you mean 'presets'\?"),
        (lambda c: c.pop("name"), r"name: this key is missing"),
        (of("", segment={"video": ["a.mp4"]}), r"segment\.video: unknown key; did you mean 'videos'\?"),
        (of("datasets.camvid", rates=["3M"]), r"datasets\.camvid\.rates\[0\]: '3M' does not match .*3000k"),
        (
            of("datasets.camvid.source", folder="x"),
            r"datasets\.camvid\.source\.folder: unknown key; Allowed: files, labels, package, sequences",
        ),
        (
            of("datasets.cityscapes.source", rot="x"),
            r"datasets\.cityscapes\.source\.rot: unknown key; did you mean 'root'\?",
        ),
        (of("datasets.cityscapes", kind="frames"), r"datasets\.cityscapes\.splits: this key is missing"),
        (
            of("datasets.cityscapes.training", epoch=3),
            r"datasets\.cityscapes\.training\.epoch: unknown key; did you mean 'epochs'\?",
        ),
        (
            of("datasets.camvid", backbones=["resnet50"]),
            r"datasets\.camvid\.backbones\[0\]: 'resnet50' is not allowed.*bise18",
        ),
    ],
)
def test_refusals_name_the_key_the_reason_and_what_is_allowed(config, schema, change, message):
    change(config)
    with pytest.raises(ConfigError, match=rf"x\.yaml: {message}"):
        check_config(config, schema, "x.yaml")


def test_all_problems_are_reported_at_once(config, schema):
    config.update(codecs=["av1"], gops=[1])
    with pytest.raises(ConfigError) as caught:
        check_config(config, schema, "x.yaml")
    assert len(str(caught.value).splitlines()) == 2


def test_schema_and_tables_are_those_of_the_keys(repository):
    """If not: `make schema`."""
    # original_quirks belongs to the whole experiment, not to one training.
    assert set(TRAINING) == {field.name for field in fields(TrainConfig)} - {"original_quirks"}
    assert SCHEMA.read_text() == schema_text()
    tables = (repository / "config/README.md").read_text()
    assert tables == with_tables(tables)


@dataclass(frozen=True)
class Night(Frames):
    """A kind that inherits most keys."""

    lamps: int = 3
    """Number of lamps."""


def test_a_kind_inherits_keys_each_of_which_has_a_docstring():
    keys = config_schema({"night": Night})["$defs"]["night"]
    assert keys["required"] == ["root", "classes", "splits"]
    assert keys["properties"]["lamps"] == {"type": "integer", "default": 3, "description": "Number of lamps."}
    assert keys["properties"]["classes"]["description"].startswith("CSV of the classes")
    kind = make_dataclass("Dark", [("lamps", int)], bases=(DatasetKind,), frozen=True)
    with pytest.raises(ConfigError, match=r"Dark\.lamps: this key has no docstring\."):
        config_schema({"dark": kind})
