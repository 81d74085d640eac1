import numpy as np
import pandas as pd
import pytest
from evaluation_examples import CONFUSIONS, make_evaluation
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from PIL import Image

from arseg.cli.main import main
from arseg.data.manifest import Manifest
from arseg.errors import ConfigError
from arseg.evaluate.tables import read_table, tabulate, write_table
from arseg.plots import curves, panel_drawing
from arseg.plots.curves import score_by_cost, score_by_distance
from arseg.plots.motion import motion_to_rgb
from arseg.plots.panel_drawing import PanelRow, _warp_picture, best_windows, draw_panel
from arseg.plots.style import describe_setting
from arseg.spec import Encoding, Rate, SegmentationClass
from arseg.store import ClipIdentity, ClipSample


@pytest.fixture
def figures(monkeypatch):
    """Keep the figures that are saved, to look into them."""
    kept: list[Figure] = []
    save = curves.save_figure

    def keep(figure, output):
        kept.append(figure)
        save(figure, output)

    for module in (curves, panel_drawing):
        monkeypatch.setattr(module, "save_figure", keep)
    return kept


@pytest.fixture
def table() -> pd.DataFrame:
    settings = [("hr", 100), ("lr", 50), ("ar", 50), ("lr", 30), ("ar", 30), ("warp", 100)]
    return tabulate(
        make_evaluation(CONFUSIONS, mode=mode, scale_percent=scale, encoding=Encoding(rate=rate, gop=2))
        for rate in ("3000k", "qp27")
        for mode, scale in settings
    )


def test_curves_show_the_table_in_percent(table, figures, tmp_path):
    score_by_distance(table, tmp_path / "distance.png")
    (figure,) = figures
    assert [axes.get_title(loc="left").partition("\n")[2] for axes in figure.axes] == [
        "HEVC 3 Mbit/s · L = 2",
        "HEVC QP 27 · L = 2",
    ]
    lines = figure.axes[0].get_lines()
    assert len(lines) == 6
    for line in lines:
        np.testing.assert_array_equal(line.get_xdata(), [0, 1])
        np.testing.assert_allclose(line.get_ydata(), [85, 60])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        *("AR 0.3×", "LR 0.3×", "AR 0.5×", "LR 0.5×", "WARP 1.0×", "HR 1.0×"),
    ]
    assert figure.axes[0].get_ylabel() == "mIoU at distance d (%)"


def test_titles_name_encodings_that_words_do_not_tell_apart(figures, tmp_path):
    options = [{}, {"preset": "slow", "references": 4}, {"rate": "qp27"}]
    results = [make_evaluation(encoding=Encoding(gop=2, **changes)) for changes in options]
    score_by_distance(tabulate(results), tmp_path / "distance.png")
    assert [axes.get_title(loc="left").partition("\n")[2] for axes in figures[0].axes] == [
        "hevc-3000k-gop2-medium",
        "hevc-3000k-gop2-slow-ref4",
        "HEVC QP 27 · L = 2",
    ]


def test_modes_differ_without_colour_and_scales_share_one(table, figures, tmp_path):
    score_by_distance(table, tmp_path / "distance.png")
    handles = {line.get_label(): line for line in figures[0].legends[0].legend_handles}
    assert to_rgba(handles["HR 1.0×"].get_color()) == (0, 0, 0, 1)
    assert handles["WARP 1.0×"].get_linestyle() == "-."
    for scale in ("0.3×", "0.5×"):
        solid, dashed = handles[f"AR {scale}"], handles[f"LR {scale}"]
        assert (solid.get_linestyle(), dashed.get_linestyle()) == ("-", "--")
        assert solid.get_color() == dashed.get_color()
    assert handles["AR 0.3×"].get_color() != handles["AR 0.5×"].get_color()


def test_several_seeds_are_one_line_with_a_band(figures, tmp_path):
    perfect = [np.diag([8, 8, 8])] * 2
    score_by_distance(tabulate([make_evaluation(seed=1), make_evaluation(perfect, seed=2)]), tmp_path / "seeds.png")
    (axes,) = figures[0].axes
    (line,) = axes.get_lines()
    np.testing.assert_allclose(line.get_ydata(), [92.5, 80])
    (band,) = axes.collections
    assert band.get_paths()[0].get_extents().bounds[1] == pytest.approx(60)


def test_cost_figure_labels_points_with_their_scale(table, figures, tmp_path):
    score_by_cost(table, tmp_path / "cost.png")
    axes = figures[0].axes[0]
    assert sorted(text.get_text() for text in axes.texts) == ["0.3×", "0.3×", "0.5×", "0.5×", "1.0×", "1.0×"]
    assert "WARP, propagated" in [text.get_text() for text in figures[0].legends[0].get_texts()]
    assert [panel.get_ylabel() for panel in figures[0].axes] == ["mIoU, mean over distances (%)", ""]
    assert axes.get_xlabel() == "cost (GMACs per frame)"
    series = [line for line in axes.get_lines() if line.get_marker() != "None"]
    np.testing.assert_allclose(series[0].get_ydata(), [72.5])
    np.testing.assert_allclose(series[0].get_xdata(), [308.64])


def test_tables_of_older_versions_are_drawn(repository, figures, tmp_path):
    table = repository / "docs/results/camvid-sequence/miou.csv"
    words = ["--by-distance", tmp_path / "distance.png", "--by-cost", tmp_path / "cost.png"]
    main([*map(str, ["plot", "curves", table, *words, "--metric", "miou_no_void"])])
    assert [figure.axes[0].get_ylabel() for figure in figures] == [
        *("mIoU without void at distance d (%)", "mIoU without void, mean over distances (%)")
    ]
    with pytest.raises(ConfigError, match="--metric iou: the table has no such column; expected one of miou, miou_no_"):
        score_by_cost(read_table(table), tmp_path / "cost.png", "iou")


@pytest.mark.parametrize("metric", ["miou", "miou_no_void"])
def test_agreement_is_not_drawn_as_miou(metric, repository, figures, tmp_path):
    write_table(tabulate([make_evaluation(labelled_by="HR")]), tmp_path / "agreement.csv")
    words = ["plot", "curves", tmp_path / "agreement.csv", "--metric", metric, "--by-distance", tmp_path / "d.png"]
    published = repository / "config/published-miou.csv"  # has nothing to do with it
    main([*map(str, [*words, "--by-cost", tmp_path / "c.png", "--published", published])])
    name = "agreement with HR" + ("" if metric == "miou" else " without void")
    assert [figure.axes[0].get_ylabel() for figure in figures] == [
        *(f"{name} at distance d (%)", f"{name}, mean over distances (%)")
    ]


@pytest.mark.parametrize("draw", [score_by_distance, score_by_cost])
def test_equal_tables_give_equal_files(draw, table, tmp_path):
    draw(table, tmp_path / "first.png")
    draw(table, tmp_path / "second.png")
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
    with Image.open(tmp_path / "first.png") as image:
        assert min(image.size) > 400
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.png", "second.png"]


def test_settings_are_spelled_out():
    assert [Rate(rate).label for rate in ("3000k", "1500k", "375k", "qp27", "crf23")] == [
        *("3 Mbit/s", "1.5 Mbit/s", "375 kbit/s", "QP 27", "CRF 23"),
    ]
    setting = {"dataset": "camvid", "split": "test", "backbone": "bise18", "codec": "h264", "rate": "3000k"}
    assert describe_setting({**setting, "gop": 12}) == "camvid test · BiSeNet-18\nH.264 3 Mbit/s · L = 12"


def test_motion_colours():
    vectors = np.array([[0, 0], [4, 0], [-4, 0], [2, 0], [8, 0], [0, 4]], dtype=np.float32)
    white, right, left, half, long, down = motion_to_rgb(vectors, 4.0).tolist()
    assert white == [255, 255, 255]
    assert right == [255, 0, 0]
    assert left == [0, 255, 255]
    assert half == [255, 128, 128]
    assert long == right
    assert down == [128, 255, 0]  # a quarter of the way round from red


def test_best_windows_do_not_overlap_and_need_a_gain():
    gain = np.zeros((20, 30), dtype=np.int8)
    gain[2:6, 3:8] = 1
    gain[12:16, 20:24] = 1
    gain[0, 29] = -1
    assert best_windows(gain, (4, 5), 1) == [(2, 3)]
    first, second = best_windows(gain, (4, 5), 2)
    assert first == (2, 3)
    assert second in [(12, 19), (12, 20)]
    assert best_windows(-gain.clip(0, 1), (4, 5), 2) == []


def test_display_warp_takes_each_pixel_from_where_the_motion_points():
    keyframe = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    motion = np.zeros((12, 16, 2), dtype=np.float32)
    np.testing.assert_array_equal(_warp_picture(keyframe, motion), keyframe)
    motion[..., 0], motion[..., 1] = 3, -2
    shifted = _warp_picture(keyframe, motion)
    np.testing.assert_array_equal(shifted[2:, :-3], keyframe[:-2, 3:])


def panel_row(seed):
    rng = np.random.default_rng(seed)
    label = np.repeat(np.repeat(rng.integers(0, 3, (6, 8), dtype=np.uint8), 8, axis=0), 8, axis=1)
    label[:4] = 255
    worse = np.where(rng.random(label.shape) < 0.3, 0, label).astype(np.uint8)
    return PanelRow(
        clip=ClipSample(
            keyframe=rng.integers(0, 256, (48, 64, 3), dtype=np.uint8),
            frame=rng.integers(0, 256, (48, 64, 3), dtype=np.uint8),
            motion_qpel=rng.integers(-40, 40, (48, 64, 2), dtype=np.int16),
            intra=np.zeros((12, 16), dtype=bool),
            identity=ClipIdentity("0001TP", 42, 31, "frame.png", "keyframe.png", "label.png"),
        ),
        label=label,
        hr=label,
        lr=worse,
        ar=label,
        scored=(label != 255) & (label != 2),
    )


def test_gain_counts_scored_pixels_only():
    row = panel_row(0)
    assert row.gain[:4].sum() == 0
    wrong = (row.lr != row.label) & row.scored
    np.testing.assert_array_equal(row.gain, wrong)
    assert wrong.any()


@pytest.mark.parametrize(
    ("labelled_by", "title", "right", "grey"),
    [("", "label", "right", "void or unlabelled"), ("HR", "HR before encoding", "agree", "void or unsure")],
)
def test_panel_is_drawn(labelled_by, title, right, grey, figures, tmp_path):
    classes = tuple(
        SegmentationClass(index, name, color, name == "void")
        for index, (name, color) in enumerate(
            {"sky": (128, 128, 128), "road": (128, 64, 128), "void": (0, 0, 0)}.items()
        )
    )
    rows, manifest = [panel_row(0), panel_row(1)], Manifest((), classes, "")
    draw_panel(rows, manifest, 50, 11, tmp_path / "panel.png", labelled_by=labelled_by)
    (figure,) = figures
    titles = [axes.get_title() for axes in figure.axes]
    assert (titles[2], titles[3]) == (title, f"HR 1.0×: 100.0 % of pixels {right}")
    assert grey in [text.get_text() for text in figure.legends[0].get_texts()]
    with Image.open(tmp_path / "panel.png") as image:
        assert image.size[0] == int(4 * 2.9 * 160)
        assert image.size[1] > 1000
