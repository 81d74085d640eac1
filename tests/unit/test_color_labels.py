"""Label maps in colours: what becomes of classes' colours, and of all others."""

import numpy as np
import pytest
from PIL import Image

from arseg.cli.main import main
from arseg.data.archives import ImageSource
from arseg.data.color_labels import write_index_labels
from arseg.data.images import read_label
from arseg.errors import DataError
from arseg.spec import SegmentationClass

CLASSES = (SegmentationClass(0, "road", (10, 20, 30), False), SegmentationClass(1, "sky", (0, 0, 255), False))


@pytest.fixture
def words(tmp_path):
    """Write two label maps, one of them with three pixels of no class; return the words of the command."""
    colors = np.zeros((4, 6, 3), np.uint8)
    colors[:2], colors[2:] = CLASSES[0].color, CLASSES[1].color
    for name in ("a/1.png", "b/1.png"):
        path = tmp_path / "colors" / name
        path.parent.mkdir(parents=True)
        Image.fromarray(colors).save(path)
        colors[0, :2], colors[3, 5] = (1, 2, 3), (0, 0, 254)
    (tmp_path / "classes.csv").write_text(
        "index,name,red,green,blue,void\n0,road,10,20,30,false\n1,sky,0,0,255,false\n"
    )
    source, output = tmp_path / "colors", tmp_path / "out"
    return ["labels", str(source), "--classes", str(tmp_path / "classes.csv"), "--output", str(output)]


def test_colors_of_no_class_are_named_with_file_and_number(words, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(words)
    assert (
        "colors: b/1.png: colours of no class: 1,2,3 (2 pixels), 0,0,254 (1 pixels). Add their classes to the classes "
        "sheet, or ignore these pixels: --unknown ignore"
    ) in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_colors_of_no_class_are_ignored_if_asked(words, tmp_path):
    main([*words, "--unknown", "ignore"])
    first, second = (read_label(tmp_path / "out" / name, 2) for name in ("a/1.png", "b/1.png"))
    np.testing.assert_array_equal(first, np.repeat([0, 0, 1, 1], 6).reshape(4, 6))
    assert np.argwhere(second == 255).tolist() == [[0, 0], [0, 1], [3, 5]]


def test_classes_of_one_color_are_refused(words, tmp_path):
    twins = (CLASSES[0], SegmentationClass(1, "track", CLASSES[0].color, False))
    with pytest.raises(DataError, match=r"classes road and track have the same colour \(10, 20, 30\)"):
        write_index_labels(ImageSource(tmp_path / "colors"), tmp_path / "out", twins)
