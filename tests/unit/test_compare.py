"""Results beside the published values."""

import numpy as np
import pandas as pd
import pytest

from arseg.cli.main import main
from arseg.errors import DataError
from arseg.evaluate.compare import compare, read_published_values, read_result, summarize_comparison
from arseg.evaluate.tables import read_table, write_table
from arseg.plots.curves import score_by_distance

AR_PSP18_CAMVID = 0.70390105, 0.71135044
"""First two published values of AR 0.5x with PSPNet-18 on CamVid."""


@pytest.fixture(scope="module")
def published(repository):
    return read_published_values(repository / "config/published-miou.csv")


def table(**changes):
    """A tidy table of AR 0.5x with PSPNet-18 on CamVid that scores 0.7 at each distance."""
    row = {
        "dataset": "camvid",
        "split": "kaggle-test",
        "backbone": "psp18",
        "codec": "hevc",
        "rate": "3000k",
        "gop": 12,
    }
    row |= {"encoding": "hevc-3000k-gop12-medium", "seed": 233, "mode": "AR", "scale": 0.5, "distance": range(12)}
    row |= {"miou": 0.7, "miou_no_void": 0.7, "num_classes_present": 12, "num_classes_no_void": 11}
    row |= {"classes_without_labels": "", "gmacs_per_frame": 101.9}
    return pd.DataFrame(row | changes)


def test_the_sheet_holds_what_the_paper_reports(published):
    assert len(published) == 144
    means = published.groupby(["dataset", "backbone", "mode"])["published"].mean().mul(100).round(2)
    assert means["camvid", "psp18"].to_dict() == {"HR": 69.43, "LR": 66.56, "AR": 70.48}
    assert means["camvid", "bise18"].to_dict() == {"HR": 71.57, "LR": 66.55, "AR": 70.37}
    assert means["cityscapes", "psp18-cityscapes"].to_dict() == {"HR": 68.30, "LR": 66.80, "AR": 69.03}
    assert means["cityscapes", "bise18"].to_dict() == {"HR": 70.09, "LR": 66.89, "AR": 70.37}
    assert set(published["rate"]) == {"3000k", "5000k"}


def test_differences_are_ours_less_theirs(published):
    comparison = compare(table(), published)
    assert len(comparison) == 12
    np.testing.assert_allclose(comparison["difference"][:2], [0.7 - score for score in AR_PSP18_CAMVID], atol=1e-8)
    assert set(comparison["differs"]) == {""}
    text = summarize_comparison(comparison)
    assert "## camvid kaggle-test, psp18, hevc-3000k-gop12-medium" in text
    assert "|    0 |     70.00 |               70.39 |                -0.39 |" in text
    assert "| mean |     70.00 |               70.48 |                -0.48 |" in text
    assert "over all distances. mIoU is the mean of 12 classes." in text
    assert "Not as published" not in text


def test_the_classes_that_count_are_said(published):
    text = summarize_comparison(compare(table(num_classes_present=11, classes_without_labels="fence;car"), published))
    assert "mIoU is the mean of 11 classes. Without a labelled pixel: fence, car. Such a class does not count" in text
    unknown = table(split="", encoding="").drop(columns=["num_classes_present", "classes_without_labels"])
    assert "mIoU is the mean of" not in summarize_comparison(compare(unknown, published))


def test_seeds_are_averaged(published):
    seeds = pd.concat([table(miou=0.6), table(miou=0.8, seed=1)])
    comparison = compare(seeds, published)
    assert set(comparison["seeds"]) == {2}
    np.testing.assert_allclose(comparison["miou"], 0.7)


def test_the_published_form_of_pspnet_is_compared_and_the_other_one_is_not_mixed_in(published):
    words = {"dataset": "cityscapes", "split": "val", "rate": "5000k", "encoding": "hevc-5000k-gop12-medium"}
    ours = pd.concat([table(backbone="psp18-cityscapes", **words), table(backbone="psp18", miou=0.1, seed=1, **words)])
    comparison = compare(ours, published)
    assert len(comparison) == 12
    assert comparison["published"].iloc[1] == 0.69622558
    assert set(comparison["differs"]) == {""}
    np.testing.assert_allclose(comparison["miou"], 0.7)


def test_what_is_not_as_published_is_said(published):
    ours = table(split="official-test", encoding="h264-3000k-gop12-medium", codec="h264")
    text = summarize_comparison(compare(ours, published))
    assert (
        "Not as published: split official-test instead of kaggle-test; "
        "encoding h264-3000k-gop12-medium instead of hevc-3000k-gop12-medium." in text
    )
    imported = table(split="test", encoding="hevc-3000k-gop12-medium-imported")
    assert set(compare(imported, published)["differs"]) == {""}


@pytest.mark.parametrize("change", [{"scale": 0.4}, {"rate": "1000k"}, {"gop": 30}, {"dataset": "mine"}])
def test_a_result_that_was_never_published_is_refused(published, change):
    with pytest.raises(
        DataError, match=r"none of these results was published: .*Published are: camvid bise18 LR 0\.5x"
    ):
        compare(table(**change), published)


def test_published_result_files_are_results_too(tmp_path, published, repository, capsys):
    theirs = published.query("dataset == 'camvid' and backbone == 'psp18' and mode == 'AR'")["published"].to_numpy()
    path = tmp_path / "camvid-psp18-AR-0.5x-resolution-exp-GOP12-3M-evaluation.txt"
    np.savetxt(path, [*theirs, theirs.mean()])
    words = ["compare", path, "--published", repository / "config/published-miou.csv", "--csv", tmp_path / "c.csv"]
    main([str(word) for word in [*words, "--summary", tmp_path / "c.md"]])
    assert "+0.00" in capsys.readouterr().out
    written = pd.read_csv(tmp_path / "c.csv")
    assert (written["difference"].abs() < 1e-6).all()
    assert (tmp_path / "c.md").read_text().startswith("# Beside the published values")


def test_other_files_are_refused(tmp_path, repository):
    with pytest.raises(DataError, match=r"weights\.pt: expected a table"):
        read_result(tmp_path / "weights.pt")
    write_table(table().rename(columns={"miou": "agreement"}), tmp_path / "agreement.csv")
    with pytest.raises(DataError, match=r"agreement\.csv: is agreement with HR, and what was published is mIoU"):
        read_result(tmp_path / "agreement.csv")
    with pytest.raises(DataError, match=r"nowhere\.csv: no such sheet of published values"):
        read_published_values(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match=r"lacks the column dataset"):
        read_published_values(repository / "config/camvid-classes.csv")
    saved = (repository / "config/published-miou.csv").read_text().replace(",", ";").replace("0.", "0,")
    (tmp_path / "saved.csv").write_text(saved)
    for read in (read_published_values, read_table):
        with pytest.raises(DataError, match=r"saved\.csv: its cells are separated by semicolons, expected commas"):
            read(tmp_path / "saved.csv")


def test_published_lines_are_drawn(tmp_path, published):
    score_by_distance(table(), tmp_path / "ours.png")
    score_by_distance(table(), tmp_path / "both.png", compare(table(), published))
    assert (tmp_path / "ours.png").read_bytes() != (tmp_path / "both.png").read_bytes()
