"""CamVid's colour labels: what is converted, and what is refused."""

import shutil

import numpy as np
import pytest
from camvid_examples import UNKNOWN, write_zip
from PIL import Image

from arseg.data.images import read_label
from arseg.datasets.camvid.manifest import write_camvid_labels
from arseg.errors import DataError


def test_labels_of_other_kinds_are_refused(tmp_path):
    folder = tmp_path / "labels"
    folder.mkdir()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / "0001TP_006690_L.png")
    with pytest.raises(
        DataError, match=r"_L\.png: the colour label has the pixel format L, .* Give CamVid's own colour"
    ):
        write_camvid_labels(folder, tmp_path / "out")
    (folder / "0001TP_006690_L.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"0001TP_006690_L\.png: the colour label cannot be read"):
        write_camvid_labels(folder, tmp_path / "out")
    shutil.copy(folder / "0001TP_006690_L.png", folder / "0001TP_006690.png")
    with pytest.raises(DataError, match=r"are labels of one still"):
        write_camvid_labels(folder, tmp_path / "out")
    write_zip(tmp_path / "stills.zip", {"0001TP_006690.png": b""})
    with pytest.raises(DataError, match=r"stills\.zip: holds no colour labels"):
        write_camvid_labels(tmp_path / "stills.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_label_of_unknown_colors_only_is_ignored_whole(tmp_path, caplog):
    (tmp_path / "in").mkdir()
    Image.fromarray(np.full((4, 6, 3), UNKNOWN, np.uint8)).save(tmp_path / "in/0001TP_006690_L.png")
    write_camvid_labels(tmp_path / "in", tmp_path / "out")
    assert (read_label(tmp_path / "out/0001TP_006690.png", 12) == 255).all()
    assert "are these CamVid's own colours?" in caplog.text
