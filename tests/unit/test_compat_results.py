"""Published result files: their names and format, and what may be wrong with one."""

import numpy as np
import pytest
from evaluation_examples import make_evaluation

from arseg.compat.results import file_name, read_published, write_published
from arseg.errors import DataError
from arseg.spec import Encoding


@pytest.mark.parametrize("dataset", ["camvid", "cityscapes"])
def test_each_network_has_a_published_file_of_its_own(dataset):
    backbones = ("psp18", "psp18-cityscapes", "bise18")
    assert len({file_name(make_evaluation(dataset=dataset, backbone=name).settings) for name in backbones}) == 3


def test_published_file_has_its_name_and_format(tmp_path):
    evaluation = make_evaluation(mode="ar", scale_percent=50)
    path = write_published(evaluation, tmp_path)
    assert path.name == "camvid-psp18-AR-0.5x-resolution-exp-GOP2-3M-evaluation.txt"
    lines = path.read_text().splitlines()
    assert len(lines) == 3
    assert lines[0] == f"{evaluation.miou[0]:.18e}"
    assert float(lines[2]) == pytest.approx(0.725, abs=1e-15)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "camvid-psp18-1.0x-resolution-exp-GOP2-3M-evaluation.txt"),
        ({"mode": "lr", "scale_percent": 30}, "camvid-psp18-0.3x-resolution-exp-GOP2-3M-evaluation.txt"),
        ({"backbone": "bise18", "encoding": Encoding(rate="375k", gop=2)},
         "camvid-bise18-1.0x-resolution-exp-GOP2-0.375M-evaluation.txt"),
        ({"encoding": Encoding(rate="qp27", gop=2)}, "camvid-psp18-1.0x-resolution-exp-GOP2-qp27-evaluation.txt"),
        ({"dataset": "cityscapes", "backbone": "psp18-cityscapes"},
         "cityscapes-psp18-1.0x-resolution-exp-GOP2-3M-evaluation.txt"),
        ({"dataset": "cityscapes"}, "cityscapes-psp18camvid-1.0x-resolution-exp-GOP2-3M-evaluation.txt"),
        ({"encoding": Encoding(rate="crf23", gop=2)}, "camvid-psp18-1.0x-resolution-exp-GOP2-crf23-evaluation.txt"),
        ({"dataset": "my-road", "mode": "ar", "scale_percent": 90},
         "my-road-psp18-AR-0.9x-resolution-exp-GOP2-3M-evaluation.txt"),
    ],
)  # fmt: skip
def test_published_files_come_back(tmp_path, changes, name):
    evaluation = make_evaluation(**changes)
    settings = evaluation.settings
    path = write_published(evaluation, tmp_path)
    assert path.name == name
    table = read_published(path)
    for field in ("dataset", "backbone"):
        assert set(table[field]) == {getattr(settings, field)}
    assert set(table["rate"]) == {settings.encoding.rate}
    assert set(zip(table["mode"], table["scale"], table["gop"], strict=True)) == {
        (settings.mode.upper(), settings.scale_percent / 100, 2)
    }
    assert list(table["distance"]) == [0, 1]
    np.testing.assert_array_equal(table["miou"], evaluation.miou)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0.4\n0.6\n", "found 2 lines, expected 3"),
        ("0.4\n0.6\n0.6\n", "the last line is 0.600000, expected the mean 0.500000"),
        ("0.4\nx\n0.5\n", "expected one number per line"),
    ],
)
def test_damaged_published_files_are_named(tmp_path, content, message):
    path = write_published(make_evaluation(), tmp_path)
    path.write_text(content)
    with pytest.raises(DataError, match=rf"{path.name}: {message}"):
        read_published(path)


def test_other_names_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"scores.txt: not the name of a published result"):
        read_published(tmp_path / "scores.txt")
