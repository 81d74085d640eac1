import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from evaluation_examples import CONFUSIONS, SETTINGS, make_evaluation

from arseg.cli.main import main
from arseg.errors import ConfigError, DataError
from arseg.evaluate.result import load_evaluation, merge_evaluations
from arseg.evaluate.summary import summarize
from arseg.evaluate.tables import collect_evaluations, read_table, tabulate, write_table
from arseg.metrics.metric import agreement_name, describe_score
from arseg.spec import Encoding

ZEROS = np.zeros_like(CONFUSIONS)


def save_all(folder, *evaluations):
    paths = [folder / f"{number}.npz" for number in range(len(evaluations))]
    for path, evaluation in zip(paths, evaluations, strict=True):
        evaluation.save(path)
    return paths


def collect_table(paths):
    return tabulate(collect_evaluations(paths))


# Evaluations


def test_scores_by_hand():
    evaluation = make_evaluation()
    np.testing.assert_allclose(
        np.stack([evaluation.columns[f"iou_{name}"] for name in ("sky", "road", "void")], axis=1),
        [[0.75, 0.8, 1.0], [0.6, 0.6, np.nan]],
        rtol=0,
        atol=1e-15,
    )
    np.testing.assert_allclose(evaluation.miou, [0.85, 0.6], rtol=0, atol=1e-15)
    np.testing.assert_allclose(evaluation.columns["miou_no_void"], [0.775, 0.6], rtol=0, atol=1e-15)
    np.testing.assert_array_equal(evaluation.columns["num_classes_present"], [3, 2])
    np.testing.assert_allclose(make_evaluation(absent="nan").miou, [0.85, np.nan])


def test_evaluation_comes_back_from_its_file(tmp_path):
    evaluation = make_evaluation()
    evaluation.save(tmp_path / "deep" / "evaluation.npz")
    loaded = load_evaluation(tmp_path / "deep" / "evaluation.npz")
    assert loaded.settings == evaluation.settings
    assert (loaded.shards, loaded.encoders, loaded.gmacs_per_frame) == ((0,), ("x265 4.1",), 308.64)
    np.testing.assert_array_equal(loaded.confusions, CONFUSIONS)
    np.testing.assert_array_equal(loaded.num_frames, [5, 5])
    assert loaded.confusions.dtype == np.int64
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["evaluation.npz"]


def test_counts_of_other_metrics_come_back_and_cannot_be_missing_in_a_shard(tmp_path):
    whole = make_evaluation(shards=(0,), num_shards=2)
    with_other = replace(whole, counts=whole.counts | {"other": np.arange(2)})
    with_other.save(tmp_path / "evaluation.npz")
    counts = load_evaluation(tmp_path / "evaluation.npz").counts
    assert list(counts) == ["miou", "other"]
    np.testing.assert_array_equal(counts["other"], [0, 1])
    with pytest.raises(DataError, match=r"shards \(0,\) and \(1,\) lacks the metric other\. Evaluate all"):
        merge_evaluations([with_other, make_evaluation(shards=(1,), num_shards=2)])
    with pytest.raises(ConfigError, match=r"metric 'other': expected one of miou\..*ARSEG_PLUGINS"):
        tabulate([with_other])


def test_contradicting_shapes_are_refused():
    with pytest.raises(DataError, match=r"shape \(2, 4, 4\).*expected int64 \(2, 3, 3\)"):
        replace(make_evaluation(), counts={"miou": np.zeros((2, 4, 4), dtype=np.int64)})


def test_unreadable_evaluations_are_named(tmp_path):
    path = tmp_path / "evaluation.npz"
    with pytest.raises(DataError, match=r"evaluation.npz: no such evaluation. Make it again: arseg evaluate"):
        load_evaluation(path)
    for content in (b"", b"not an archive", b"PK\x03\x04broken"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"evaluation.npz: not an evaluation"):
            load_evaluation(path)
    np.savez(path, confusions=CONFUSIONS)
    with pytest.raises(
        DataError, match=r"evaluation.npz: not an evaluation of arseg: it holds confusions\. Name another"
    ):
        load_evaluation(path)
    np.savez(path, description=np.array("{"), confusions=CONFUSIONS, num_frames=CONFUSIONS)
    with pytest.raises(DataError, match=r"evaluation.npz: not an evaluation of arseg \(Expecting .*Name another"):
        load_evaluation(path)
    description = np.array(json.dumps({"format_version": 99}))
    np.savez(path, description=description, confusions=CONFUSIONS, num_frames=CONFUSIONS)
    with pytest.raises(DataError, match=r"evaluation.npz: format version 99, expected 3"):
        load_evaluation(path)


def test_an_evaluation_with_other_settings_is_not_called_damaged(tmp_path):
    path = tmp_path / "evaluation.npz"
    make_evaluation().save(path)
    arrays = dict(np.load(path))
    description = json.loads(str(arrays["description"]))
    description["settings"]["sharpness"] = description["settings"].pop("seed")
    np.savez(path, **arrays | {"description": np.array(json.dumps(description))})
    with pytest.raises(DataError, match=r"its settings differ from this version's in seed, sharpness\. Read it with"):
        load_evaluation(path)


# Shards


def test_shards_add_up_in_any_order():
    first = make_evaluation(shards=(0,), num_shards=3)
    second = make_evaluation(2 * CONFUSIONS, shards=(2,), num_shards=3)
    empty = replace(
        make_evaluation(ZEROS, shards=(1,), num_shards=3),
        gmacs_per_frame=float("nan"),
        num_frames=np.zeros(2, dtype=np.int64),
        encoders=(),
    )
    for parts in ([first, second, empty], [empty, second, first]):
        merged = merge_evaluations(parts)
        assert (merged.shards, merged.is_complete) == ((0, 1, 2), True)
        np.testing.assert_array_equal(merged.confusions, 3 * CONFUSIONS)
        np.testing.assert_array_equal(merged.num_frames, [10, 10])
        assert merged.gmacs_per_frame == 308.64
        assert merged.encoders == ("x265 4.1",)
    assert not first.is_complete


def test_shards_that_contradict_one_another_are_refused():
    first = make_evaluation(num_shards=2)
    with pytest.raises(DataError, match=r"camvid test: shard 0 occurs twice"):
        merge_evaluations([first, first])
    other = make_evaluation(shards=(1,), num_shards=2, checkpoints={"hr": "2" * 64})
    with pytest.raises(DataError, match=r"shards \(0,\) and \(1,\) differ in checkpoints"):
        merge_evaluations([first, other])
    larger = replace(make_evaluation(shards=(1,), num_shards=2), gmacs_per_frame=400.0)
    with pytest.raises(DataError, match=r"308.64 and 400.0 GMACs per frame"):
        merge_evaluations([first, larger])


def test_missing_shard_and_missing_frames_are_named(tmp_path):
    (path,) = save_all(tmp_path, make_evaluation(shards=(1,), num_shards=2))
    with pytest.raises(DataError, match=r"0.npz: shard 0 of 2 is missing"):
        collect_table([path])
    (path,) = save_all(tmp_path, replace(make_evaluation(), num_frames=np.array([5, 0])))
    with pytest.raises(DataError, match=r"0.npz: no frame at distance 1. Make clips at every distance from 0 to 1"):
        collect_table([path])
    with pytest.raises(DataError, match="no evaluation"):
        collect_table([])


def test_one_result_given_twice_names_both_files(tmp_path):
    paths = save_all(tmp_path, make_evaluation(), make_evaluation())
    with pytest.raises(DataError, match=r"0.npz, .*1.npz: .*shard 0 occurs twice"):
        collect_table(paths)


# Tidy table


@pytest.fixture
def table(tmp_path):
    return collect_table(
        save_all(
            tmp_path,
            make_evaluation(mode="ar", scale_percent=50),
            make_evaluation(shards=(1,), num_shards=2, mode="lr", scale_percent=50),
            make_evaluation(encoding=Encoding(rate="375k", gop=2), class_names=("sky", "car", "void")),
            make_evaluation(),
            make_evaluation(ZEROS, num_shards=2, mode="lr", scale_percent=50),
        )
    )


def test_table_has_the_stated_columns_and_order(table):
    assert list(table.columns) == [
        *("dataset", "split", "backbone", "codec", "rate", "gop", "encoding", "seed", "mode", "scale", "distance"),
        *("miou", "miou_no_void", "num_classes_present", "num_classes_no_void", "classes_without_labels"),
        "gmacs_per_frame",
        *("iou_sky", "iou_road", "iou_void", "iou_car"),
    ]
    keys = table[["rate", "mode", "scale", "distance"]].itertuples(index=False, name=None)
    assert list(keys) == [
        *(("375k", "HR", 1.0, 0), ("375k", "HR", 1.0, 1)),
        *(("3000k", "HR", 1.0, 0), ("3000k", "HR", 1.0, 1)),
        *(("3000k", "LR", 0.5, 0), ("3000k", "LR", 0.5, 1)),
        *(("3000k", "AR", 0.5, 0), ("3000k", "AR", 0.5, 1)),
    ]


def test_table_values(table):
    second = table.iloc[3]
    assert (second["dataset"], second["split"], second["gop"], second["seed"]) == ("camvid", "test", 2, 233)
    assert second["miou"] == pytest.approx(0.6, abs=1e-15)
    assert (second["num_classes_present"], second["num_classes_no_void"]) == (2, 2)
    assert table["classes_without_labels"].tolist() == ["", "void"] * 4
    assert np.isnan(second["iou_void"])  # absent
    assert np.isnan(second["iou_car"])  # of the other data set
    assert table.iloc[0]["iou_car"] == pytest.approx(0.8, abs=1e-15)


def test_order_of_the_files_does_not_matter(tmp_path):
    paths = save_all(
        tmp_path, make_evaluation(), make_evaluation(dataset="streets", class_names=("sky", "car", "void"))
    )
    pd.testing.assert_frame_equal(collect_table(paths), collect_table(paths[::-1]))


def test_csv_is_stable_and_comes_back(table, tmp_path):
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    write_table(table, first)
    write_table(read_table(first), second)
    assert first.read_bytes() == second.read_bytes()
    lines = first.read_text().splitlines()
    assert lines[4].startswith(
        "camvid,test,psp18,hevc,3000k,2,hevc-3000k-gop2-medium,233,HR,1.0,1,0.60000000,0.60000000,2,2,void,308.6400,0.6"
    )
    pd.testing.assert_frame_equal(read_table(first), table, atol=1e-8)


def test_unreadable_tables_are_named(tmp_path):
    path = tmp_path / "miou.csv"
    with pytest.raises(DataError, match=r"miou.csv: no such table. Make it: arseg tabulate"):
        read_table(path)
    path.write_text("")
    with pytest.raises(DataError, match=r"miou.csv: not a table"):
        read_table(path)
    path.write_text("dataset,split\ncamvid,test\n")
    with pytest.raises(DataError, match=r"miou.csv: the table lacks the column backbone"):
        read_table(path)


def test_labels_of_a_network_never_give_miou(tmp_path, capsys):
    by_hr = [make_evaluation(labelled_by="HR", mode=mode) for mode in ("hr", "warp")]
    paths = save_all(tmp_path, *by_hr, make_evaluation())
    assert [load_evaluation(path).settings.labelled_by for path in paths] == ["HR", "HR", ""]
    assert b"labelled_by" not in np.load(paths[2])["description"].tobytes()  # files of older versions have none
    words = ["tabulate", *paths[:2], "--csv", tmp_path / "agreement.csv", "--summary", tmp_path / "agreement.md"]
    main([*map(str, words)])
    table = read_table(tmp_path / "agreement.csv")
    assert list(table.columns)[11:] == [
        *("agreement", "agreement_no_void", "num_classes_present", "num_classes_no_void", "classes_without_labels"),
        *("gmacs_per_frame", "agreement_iou_sky", "agreement_iou_road", "agreement_iou_void"),
    ]
    np.testing.assert_allclose(table["agreement"], [0.85, 0.6] * 2)
    summary = (tmp_path / "agreement.md").read_text()
    assert "miou" not in summary.lower()
    assert summary.startswith("# Agreement with HR by reference distance")
    assert "which is not accuracy: the labels are those that the HR branch gives the frames" in summary
    assert "Agreement is the mean of 2 to 3 classes." in summary
    header, _, row, _ = markdown_rows(summary)
    assert header[3:5] == ["agreement with HR, mean of 2 to 3 classes", "no void, of 2"]
    assert row[3:5] == ["72.50", "68.75"]

    with pytest.raises(SystemExit):
        main([*map(str, words), "--published", str(tmp_path / "published")])
    assert "these results are agreement with HR, which made their labels" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "published").exists()
    with pytest.raises(DataError, match=r"labels of camvid test are true, those of camvid test are HR's: no table has"):
        collect_table(save_all(tmp_path, by_hr[0], make_evaluation(seed=1)))
    with pytest.raises(DataError, match=r"shards \(0,\) and \(1,\) differ in labelled_by: 'HR' and ''"):
        merge_evaluations([replace(by_hr[0], shards=(0,)), make_evaluation(shards=(1,))])


@pytest.mark.parametrize(
    ("score", "words"),
    [
        ("miou", "mIoU"),
        ("miou_no_void", "mIoU without void"),
        ("pixel_accuracy", "pixel accuracy"),
        (agreement_name("miou"), "agreement with HR"),
        (agreement_name("miou_no_void"), "agreement with HR without void"),
        (agreement_name("pixel_accuracy"), "agreement with HR in pixel accuracy"),
    ],
)
def test_scores_in_words(score, words):
    assert describe_score(score) == words


# Summary


def markdown_rows(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def test_summary_has_one_table_per_encoding(table):
    text = summarize(table)
    assert re.findall("^## (.*)$", text, re.MULTILINE) == [
        "camvid test, psp18, hevc-375k-gop2-medium",
        "camvid test, psp18, hevc-3000k-gop2-medium",
    ]
    assert "what the paper calls GFLOPs" in text
    assert "A class that occurs in neither labels nor predictions leaves the mean." in text
    assert "mIoU is the mean of 2 to 3 classes. Without a labelled pixel, at some distances: void. Such a class" in text
    header, _, *rows = markdown_rows(text.partition("3000k")[2])
    scores = ["mean of 2 to 3 classes", "no void, of 2"]
    assert header == ["mode", "scale", "seeds", *scores, "GMACs/frame", "% of HR", "d=0", "d=1"]
    assert rows[0] == ["HR", "1.0", "1", "72.50", "68.75", "308.6", "100.0", "85.00", "60.00"]
    assert [row[:2] for row in rows] == [["HR", "1.0"], ["LR", "0.5"], ["AR", "0.5"]]


def test_a_class_without_labels_that_is_predicted_counts_nothing_and_is_named(tmp_path):
    predicted = np.array([[[6, 2, 0], [0, 8, 1], [0, 0, 0]]] * 2)
    text = summarize(collect_table(save_all(tmp_path, make_evaluation(predicted))))
    assert "mIoU is the mean of 3 classes. Without a labelled pixel: void. Such a class does not count, or" in text
    assert markdown_rows(text)[0][3:5] == ["mean of 3 classes", "no void, of 2"]


def test_encodings_that_differ_in_a_preset_are_told_apart(tmp_path):
    slow = {"encoding": Encoding(gop=2, preset="slow")}
    paths = save_all(tmp_path, make_evaluation(), make_evaluation(2 * CONFUSIONS, **slow))
    table = collect_table(paths)
    assert table["encoding"].tolist() == ["hevc-3000k-gop2-medium"] * 2 + ["hevc-3000k-gop2-slow"] * 2
    assert re.findall("^## .*, (.*)$", summarize(table), re.MULTILINE) == [*table["encoding"].unique()]
    shards = save_all(tmp_path, make_evaluation(num_shards=2), make_evaluation(shards=(1,), num_shards=2, **slow))
    with pytest.raises(DataError, match=r"0.npz: shard 1 of 2 is missing"):
        collect_table(shards)


def test_summary_gives_the_spread_over_seeds(tmp_path):
    perfect = [np.diag([8, 8, 8])] * 2
    paths = save_all(tmp_path, make_evaluation(seed=1), make_evaluation(perfect, seed=2))
    (_, _, row) = markdown_rows(summarize(collect_table(paths)))
    # Means 0.725 and 1: mean 0.8625, sample standard deviation 0.275 / sqrt(2).
    assert row[2:4] == ["2", "86.25 ± 19.45"]
    assert row[-1] == "80.00"


def test_summary_of_a_nan_keeps_it(tmp_path):
    text = summarize(collect_table(save_all(tmp_path, make_evaluation(absent="nan"))))
    assert "makes the mean NaN, as in the published programs" in text
    assert markdown_rows(text)[-1][3] == "nan"


def test_summary_thins_out_long_groups_of_pictures(tmp_path):
    text = summarize(collect_table(save_all(tmp_path, make_evaluation([CONFUSIONS[0]] * 30))))
    shown = [int(name[2:]) for name in markdown_rows(text)[0] if name.startswith("d=")]
    assert len(shown) == 12
    assert (shown[0], shown[-1]) == (0, 29)


def test_merged_evaluations_are_whole(tmp_path):
    paths = save_all(
        tmp_path, make_evaluation(num_shards=2), make_evaluation(shards=(1,), num_shards=2), make_evaluation(seed=7)
    )
    evaluations = collect_evaluations(paths)
    assert [evaluation.settings.seed for evaluation in evaluations] == [SETTINGS.seed, 7]
    np.testing.assert_array_equal(evaluations[0].confusions, 2 * CONFUSIONS)
