"""`arseg bench`: that figures are of what they say, on sizes that take no time."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from command_line import phase1_words
from video_examples import encode_with_x264, moving_texture

from arseg.bench import examples, measure
from arseg.bench.preprocess import preprocess
from arseg.bench.report import Common, publish
from arseg.bench.training import time_starts
from arseg.cli.main import main
from arseg.errors import DataError
from arseg.evaluate.complexity import gmacs_per_frame
from arseg.models.attention import implementations

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small_limits(monkeypatch):
    monkeypatch.setattr("arseg.bench.attention.COPY_BYTES", {"cpu": 2**16})
    monkeypatch.setattr("arseg.bench.attention.MATRIX_SIDE", {"cpu": 32})
    monkeypatch.setattr("arseg.bench.measure.MIN_SECONDS", 0.001)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run a benchmark as a user does; return the tables of its JSON file, and its facts."""

    def bench(*words):
        output = tmp_path_factory.mktemp("bench") / "found.json"
        main(["bench", *map(str, words), "--quick", "--output", str(output)])
        found = json.loads(output.read_text())
        return list(found["tables"].items()), found["facts"]

    return bench


def test_actions_take_turns_and_warm_up():
    done = []
    actions = {name: lambda name=name: done.append(name) for name in "ab"}
    times = measure.time_programs(actions, rounds=2, warmup=1)
    assert "".join(done) == "ababab"
    assert {name: measured.shape for name, measured in times.items()} == {"a": (2, 2), "b": (2, 2)}
    done.clear()
    slow = torch.ones(2**20)
    times = measure.time_networks({"a": lambda: done.append(slow.exp().sum())}, rounds=2)
    assert len(done) >= 4
    row = measure.in_milliseconds(times["a"])
    assert 0 < row["min_ms"] <= row["median_ms"] < 1000


PEAK = """
import torch
from arseg.bench.measure import peak_mib
print(peak_mib(lambda: torch.ones(64 * 2**20, dtype=torch.uint8).add_(1), torch.device("cpu")))
"""


def test_peak_memory_is_seen_though_it_is_given_back():
    # In a process of its own: this one may hold memory of other tests, and give it back just then.
    found = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True).stdout.strip()
    if found == "None":
        pytest.skip("this system does not tell a process's memory")
    assert 50 < float(found) < 200


def test_every_implementation_of_the_attention_is_measured(run):
    ((_, rows),), facts = run("attention", "--device", "cpu")
    names = implementations(torch.zeros(1, 16, 48, 64))
    for what in ("forward", "forward + backward", "CReFF forward"):
        assert [row["implementation"] for row in rows if row["what"] == what] == names
    num_bytes, flops = 4 * 4 * 16 * 48 * 64, 4 * 49 * 16 * 48 * 64
    floor = max(num_bytes / facts["memory_bandwidth_GB_per_s"] / 1e6, flops / facts["matrix_product_GFLOP_per_s"] / 1e6)
    assert rows[0]["floor_ms"] == pytest.approx(floor)
    assert rows[0]["times_floor"] == pytest.approx(rows[0]["median_ms"] / floor)


@pytest.fixture(scope="module")
def inference_tables(run):
    return run("inference", "--device", "cpu", "--backbones", "tiny")[0]


def test_ratios_of_inference_follow_from_its_times(inference_tables):
    (_, (row,)), (_, (parts,)) = inference_tables[:2]
    mean = (row["HR_median_ms"] + 2 * row["AR_median_ms"]) / 3
    assert row["AR/HR"] == pytest.approx(mean / row["HR_median_ms"])
    least_mean = (row["HR_min_ms"] + 2 * row["AR_min_ms"]) / 3
    assert row["AR/HR_of_minima"] == pytest.approx(least_mean / row["HR_min_ms"])
    macs = [gmacs_per_frame("tiny", 12, 64, 96, mode, scale, 3) for mode, scale in (("ar", 50), ("hr", 100))]
    assert row["AR/HR_of_MACs"] == pytest.approx(macs[0] / macs[1])
    assert row["keyframe/mean"] == pytest.approx(row["HR_median_ms"] / mean)
    assert all(parts[part] > 0 for part in ("encode", "warp", "fuse", "classify", "labels"))


def test_the_front_end_adds_up_and_runs_alone(run, inference_tables):
    alone, _ = run("inference", "--device", "cpu", "--front-end-only")
    assert len(alone) == 1
    for title, (row,) in (inference_tables[-1], alone[0]):
        assert title == "before the networks: ms of processor time per frame at 96x64, one thread"
        stages = [row[stage] for stage in ("decode", "motion", "convert", "normalize")]
        assert min(stages) > 0
        assert row["total"] == pytest.approx(sum(stages))
        assert row["limit: decoding alone"] > 0


def test_inference_from_a_video(inference_tables):
    _, video = inference_tables[2]
    assert [(row["mode"], row["frames"]) for row in video] == [("AR", 3), ("HR", 3)]
    assert all(0 < row["with_decoding"] <= row["networks_alone"] for row in video)


def test_drawn_motion_is_of_whole_pixels():
    motion_qpel = examples.random_motion((50, 70))
    assert motion_qpel.shape == (1, 50, 70, 2)
    assert motion_qpel.dtype == torch.int16
    assert motion_qpel.any()
    assert not (motion_qpel % 4).any()


def test_both_phases_of_training_are_measured(run, monkeypatch):
    asked = []
    monkeypatch.setattr("arseg.bench.training.time_starts", lambda words, rounds: asked.append((words, rounds)) or [])
    tables, _ = run("training", "--device", "cpu", "--backbones", "tiny")
    steps, samples = (rows for _, rows in tables)
    assert [row["phase"] for row in steps] == [row["phase"] for row in samples] == ["phase 1", "phase 2"]
    for row in steps:
        total = row["step_ms"] + row["waiting_ms"]
        assert row["waiting_share"] == pytest.approx(row["waiting_ms"] / total)
        assert row["samples_per_s"] == pytest.approx(2 * 1000 / total)
    for row in samples:
        assert row["samples_per_core_s"] == pytest.approx(1000 / row["whole_ms"])
        assert 0 < row["decode_ms"] + row["motion_ms"] + row["augmentation_ms"] <= row["whole_ms"]
        assert min(row["decode_ms"], row["augmentation_ms"]) > 0
    assert [row["motion_ms"] > 0 for row in samples] == [False, True]
    assert [row["limit"] for row in samples] == [None, 12]
    ((words, rounds),) = asked
    assert words[:2] == ["train", "phase1"]
    assert rounds == 1


def test_a_training_is_stopped_at_its_first_batch(tiny_dataset, tmp_path):
    imported, trained = time_starts(phase1_words(tiny_dataset.manifest, tmp_path / "weights.pt"), 1)
    assert imported["times_import"] == imported["times_import_core"] == 1
    assert trained["times_import"] == pytest.approx(trained["s"] / imported["s"])
    assert not (tmp_path / "weights.pt").exists()


def test_a_training_that_ends_before_its_first_batch_is_no_measurement():
    with pytest.raises(subprocess.CalledProcessError):
        time_starts(["train", "phase1"], 1)


def test_making_of_clips_is_measured(run):
    ((_, steps), (_, (jobs,))), facts = run("preprocess", "--codec", "h264")
    assert [row["step"] for row in steps[:2]] == ["read", "encode"]
    assert steps[-1]["seconds"] == pytest.approx(sum(row["seconds"] for row in steps[:-1]))
    assert jobs["ratio"] == pytest.approx(jobs["whole"] / jobs["encoder"])
    assert facts == {"clips": "2 of 4 frames, h264-3000k-gop4-ultrafast"}


def test_too_few_frames_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"--frames .*: 0 PNG files, but two clips have 24 frames"):
        preprocess(frames=tmp_path, codec="h264")


def test_motion_is_measured_against_plain_decoding(run):
    ((title, rows),), facts = run("motion")
    assert title == "per frame of 8 of 96x64, h264"
    plain, raw, _, composed, _ = rows
    assert [row["what"] for row in rows] == [
        "plain decoding", "raw, written", "raw, read", "composed, written", "composed, read"
    ]  # fmt: skip
    for row in rows:
        share = row["frames_per_s"] / plain["frames_per_s"]
        assert row["share_of_plain_decoding"] == pytest.approx(share)
    assert 0 < raw["bytes"] < composed["bytes"]
    assert facts == {"no_motion_to_the_keyframes": None}


def test_motion_of_a_given_video_is_measured_as_far_as_there_is_some(run, tmp_path):
    video = tmp_path / "own.264"
    video.write_bytes(encode_with_x264(moving_texture(6, 32, 48, (2, 0)), "bframes=2:b-adapt=0"))
    ((title, _),), facts = run("motion", video)
    assert title == "per frame of 6 of 48x32, h264"
    assert facts["no_motion_to_the_keyframes"].startswith("frame 1 is a B-frame")


def test_results_carry_machine_versions_and_date(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["arseg", "bench", "attention", "--quick"])
    output = tmp_path / "found.json"
    rows = [{"a_b": None, "c": 1234.6, "d": 0.5, "e": np.float64(2)}]
    publish({"shown": rows, "empty": []}, output, CPU, some_fact=3)
    result = json.loads(output.read_text())
    assert result["command"] == "arseg bench attention --quick"
    assert result["machine"]["threads"] == torch.get_num_threads()
    assert result["machine"]["cores"] >= 1
    assert "torch" in result["code"]["packages"]
    assert result["date"][:2] == "20"
    assert result["tables"] == {"shown": rows}
    shown = capsys.readouterr().out
    for text in ("a b", "| - ", "1,235", "some fact: 3"):
        assert text in shown


def test_options_that_cannot_be_are_refused(capsys):
    assert Common().repeats == 3
    for words, message in (
        (["attention", "--repeats", "0"], 'Invalid value "0" for --repeats. Must be >= 1.'),
        (["inference", "--gop", "1"], 'Invalid value "1" for --gop. Must be >= 2.'),
        (["inference", "--backbones", "psp50"], "backbone 'psp50': expected one of"),
        (["training", "--backbones", "psp50"], "backbone 'psp50': expected one of"),
    ):
        with pytest.raises(SystemExit):
            main(["bench", *words])
        written = capsys.readouterr()
        assert message in written.out + written.err
