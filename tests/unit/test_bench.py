"""`arseg bench`: that figures are of what they say, on sizes that take no time."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from video_examples import encode_with_x264, moving_texture

from arseg.bench import examples, inference, loading, preprocess
from arseg.bench.attention import AttentionOptions, bench_attention
from arseg.bench.inference import InferenceOptions, bench_inference
from arseg.bench.limits import Limits, measure_limits
from arseg.bench.motion import MotionOptions, bench_motion
from arseg.bench.preprocess import PreprocessOptions, bench_preprocess
from arseg.bench.report import Report, Table, parse_size
from arseg.bench.timing import Timing, measure
from arseg.bench.training import TrainingOptions, bench_training
from arseg.cli import bench as commands
from arseg.errors import ConfigError, DataError
from arseg.evaluate.complexity import gmacs_per_frame
from arseg.models.attention import implementations
from arseg.models.branches import load_branches
from arseg.models.inference import predict_fused
from arseg.stopwatch import Stopwatch

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small_limits(monkeypatch):
    monkeypatch.setattr("arseg.bench.limits.COPY_BYTES", {"cpu": 2**16})
    monkeypatch.setattr("arseg.bench.limits.MATRIX_SIDE", {"cpu": 32})


def test_runs_are_counted_behind_the_warm_up(monkeypatch):
    clock, done = iter(np.cumsum([0, 0.003, 1, 0.001, 1, 0.002])), []
    monkeypatch.setattr("arseg.bench.timing.time.perf_counter", lambda: next(clock))
    timing = measure(lambda: done.append(1), CPU, repeats=3, warmup=2)
    assert len(done) == 5
    assert timing.milliseconds == pytest.approx((3, 1, 2))
    assert (timing.least, timing.median, timing.p95) == pytest.approx((1, 2, 3))


def test_percentiles():
    timing = Timing(tuple(float(n) for n in range(1, 101)))
    assert timing.row() == {"min_ms": 1, "median_ms": 50.5, "p95_ms": 96, "runs": 100}


PEAK = """
import torch
from arseg.bench.timing import watch_memory
with watch_memory(torch.device("cpu")) as memory:
    held = torch.ones(64 * 2**20, dtype=torch.uint8)
    for _ in range(50):
        held.add_(1)
    del held
print(memory.peak_mib)
"""


def test_peak_memory_is_seen_though_it_is_given_back():
    # In a process of its own: this one may hold memory of other tests, and give it back just then.
    run = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    if run.stdout.strip() == "None":
        pytest.skip("this system does not tell a process's memory")
    assert 50 < float(run.stdout) < 200


def test_floors_are_of_what_takes_longer():
    limits = Limits(gigabytes_per_second=10, gigaflops=100)
    assert limits.floor_ms(1e9, 1e9) == pytest.approx(100)
    assert limits.floor_ms(1e9, 1e12) == pytest.approx(10_000)
    measured = measure_limits(CPU)
    assert measured.gigabytes_per_second > 0
    assert measured.gigaflops > 0


def test_every_implementation_of_the_attention_is_measured():
    report = bench_attention(AttentionOptions(), CPU, quick=True)
    rows = report.tables[0].rows
    names = implementations(torch.zeros(1, 16, 48, 64))
    for what in ("forward", "forward + backward", "CReFF forward"):
        assert [row["implementation"] for row in rows if row["what"] == what] == names
    first = rows[0]
    num_bytes, flops = 4 * 4 * 16 * 48 * 64, 4 * 49 * 16 * 48 * 64
    assert first["GB_per_s"] == pytest.approx(num_bytes / first["median_ms"] / 1e6, rel=0.05)
    assert first["GFLOP_per_s"] == pytest.approx(flops / first["median_ms"] / 1e6, rel=0.05)
    assert first["times_floor"] == pytest.approx(first["median_ms"] / first["floor_ms"], rel=0.05)


@pytest.fixture(scope="module")
def inference_report():
    return bench_inference(InferenceOptions(backbones=("bise18",), forms=True), CPU, quick=True)


def test_ratios_of_inference_follow_from_its_times(inference_report):
    (row,) = inference_report.tables[0].rows
    mean = (row["HR_median"] + 2 * row["AR_median"]) / 3
    assert row["AR_mean_of_GOP"] == pytest.approx(mean, abs=2e-3)
    assert row["AR/HR"] == pytest.approx(mean / row["HR_median"], abs=1e-3)
    least_mean = (row["HR_min"] + 2 * row["AR_min"]) / 3
    assert row["AR/HR_of_minima"] == pytest.approx(least_mean / row["HR_min"], abs=1e-3)
    macs = [gmacs_per_frame("bise18", 12, 64, 96, mode, scale, 3) for mode, scale in (("ar", 50), ("hr", 100))]
    assert row["AR/HR_of_MACs"] == pytest.approx(macs[0] / macs[1], abs=1e-3)
    assert row["keyframe/mean"] == pytest.approx(row["HR_median"] / mean, abs=2e-3)
    (parts,) = inference_report.tables[1].rows
    assert all(parts[part] > 0 for part in inference.PARTS)


def test_the_front_end_adds_up_and_runs_alone(inference_report):
    alone = bench_inference(InferenceOptions(front_end_only=True, forms=True), CPU, quick=True)
    for report in (inference_report, alone):
        title, (row,) = report.tables[-1].title, report.tables[-1].rows
        assert title == "before the networks: ms of processor time per picture at 96x64, one thread"
        stages = [row[stage] for stage in ("decode", "motion", "convert", "normalize")]
        assert min(stages) > 0
        assert row["total"] == pytest.approx(sum(stages), abs=0.003)
        assert row["limit: decoding alone"] > 0
    assert len(alone.tables) == 1


def test_inference_from_a_video_and_by_form(inference_report):
    _, _, video, forms, _ = inference_report.tables
    assert [(row["mode"], row["frames"]) for row in video.rows] == [("AR", 3), ("HR", 1)]
    assert all(0 < row["with_decoding"] <= row["networks_alone"] for row in video.rows)
    assert [(row["scale"], row["form"]) for row in forms.rows] == [(s, f) for s in (1, 0.5) for f in inference.FORMS]


def test_the_frame_that_is_timed_in_parts_is_the_protocol_s(tmp_path):
    hr, lr = load_branches(examples.write_random_checkpoints(tmp_path, "bise18", 50), CPU)
    image, motion_qpel = examples.random_image(48, 64), examples.random_motion(48, 64)
    watch = Stopwatch()
    with torch.inference_mode():
        feature = hr.network.encode(image).feature
        found = inference._ar_frame(lr.network, feature, image, motion_qpel, lr, watch)
        scores = predict_fused(lr.network, feature, image, motion_qpel, 50, (48, 64), lr.spec.warp_alignment)
    assert torch.equal(found, scores.argmax(dim=1))
    assert set(watch.seconds) == set(inference.PARTS)


def test_drawn_motion_is_of_whole_pixels():
    motion_qpel = examples.random_motion(50, 70)
    assert motion_qpel.shape == (1, 50, 70, 2)
    assert motion_qpel.dtype == torch.int16
    assert motion_qpel.any()
    assert not (motion_qpel % 4).any()


def test_both_phases_of_training_are_measured(monkeypatch):
    asked = []
    monkeypatch.setattr("arseg.bench.training.start_rows", lambda words, repeats: asked.append((words, repeats)) or [])
    report = bench_training(TrainingOptions(backbones=("tiny",)), CPU, quick=True)
    steps, samples, _ = (table.rows for table in report.tables)
    assert [row["phase"] for row in steps] == [row["phase"] for row in samples] == ["phase 1", "phase 2"]
    for row in steps:
        total = row["median_ms"] + row["waiting_median_ms"]
        assert row["waiting_share"] == pytest.approx(row["waiting_median_ms"] / total, abs=1e-3)
        assert row["samples_per_s"] == pytest.approx(2 * 1000 / total, rel=1e-2)
    for row in samples:
        assert row["samples_per_core_s"] == pytest.approx(1000 / row["whole_ms"], rel=1e-2)
        assert all(row[f"{stage}_ms"] > 0 for stage in ("decode", "augmentation"))
    assert [row["motion_ms"] > 0.01 for row in samples] == [False, True]
    ((words, repeats),) = asked
    assert words[:2] == ["train", "phase1"]
    assert repeats == 1


def test_a_training_is_stopped_at_its_first_batch(tiny_dataset, tmp_path):
    words = ["train", "phase1", f"--manifest={tiny_dataset.manifest}", "--train-split=train", "--val-split=val"]
    words += ["--backbone=tiny", "--initial-weights=none", "--crop=64x48", "--workers=0"]
    imported, trained = loading.start_rows([*words, f"--output={tmp_path / 'weights.pt'}"], 1)
    assert imported["times_import"] == imported["times_import_core"] == 1
    assert trained["times_import"] == pytest.approx(trained["s"] / imported["s"], abs=0.01)
    assert not (tmp_path / "weights.pt").exists()


def test_a_training_that_ends_before_its_first_batch_is_no_measurement():
    with pytest.raises(subprocess.CalledProcessError):
        loading._start(["-c", "raise SystemExit(1)"])


def test_making_of_clips_is_measured():
    report = bench_preprocess(PreprocessOptions(codec="h264"), quick=True)
    steps, runs = report.tables
    assert [row["step"] for row in steps.rows] == [*preprocess.STEPS, "sum of the steps"]
    assert [row["published_programs"] for row in steps.rows][-1] == 3.44
    (run,) = runs.rows
    assert run["ratio"] == pytest.approx(run["whole"] / run["encoder"], rel=0.05)


def test_motion_is_measured_against_plain_decoding():
    report = bench_motion(MotionOptions(), quick=True)
    plain, raw, _, composed, _ = rows = report.tables[0].rows
    assert [row["what"] for row in rows] == [
        "plain decoding", "raw, written", "raw, read", "composed, written", "composed, read"
    ]  # fmt: skip
    for row in rows:
        share = row["pictures_per_s"] / plain["pictures_per_s"]
        assert row["share_of_plain_decoding"] == pytest.approx(share, rel=0.02)
    assert 0 < raw["bytes"] < composed["bytes"]
    assert report.facts == {"video": "8 pictures of 96x64, h264", "no_motion_to_the_keyframes": None}


def test_motion_of_a_given_video_is_measured_as_far_as_there_is_some(tmp_path):
    video = tmp_path / "own.264"
    video.write_bytes(encode_with_x264(moving_texture(6, 32, 48, (2, 0)), "bframes=2:b-adapt=0"))
    report = bench_motion(MotionOptions(pictures=4, repeats=2), video)
    assert report.facts["video"] == "4 pictures of 48x32, h264"
    assert report.facts["no_motion_to_the_keyframes"].startswith("picture 1 is a B-picture")


def test_too_few_frames_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"--frames .*: 0 PNG files, but two clips have 24 frames"):
        bench_preprocess(PreprocessOptions(frames=tmp_path, codec="h264"))


def test_results_carry_machine_versions_and_date(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["arseg", "bench", "attention", "--quick"])
    output = tmp_path / "attention.json"
    commands.attention(quick=True, device="cpu", output=output)
    result = json.loads(output.read_text())
    assert result["command"] == "arseg bench attention --quick"
    assert result["machine"]["threads"] == torch.get_num_threads()
    assert result["machine"]["cores"] >= 1
    assert "torch" in result["code"]["packages"]
    assert result["date"][:2] == "20"
    assert result["options"]["quick"]
    (rows,) = result["tables"].values()
    assert rows[0]["runs"] == 2
    assert "times floor" in capsys.readouterr().out


def test_tables_show_what_is_missing():
    text = Report("x", {}, [Table("title", [{"a_b": None, "c": 1234.5, "d": 0.5}])]).text()
    assert "a b" in text
    assert "| - " in text
    assert "1,234" in text or "1,235" in text


def test_sizes_and_options_that_cannot_be_are_refused():
    assert parse_size("960x720") == (720, 960)
    for size in ("960", "960x0", "x", "960x-720"):
        with pytest.raises(ConfigError, match=f"--size {size}: expected WIDTHxHEIGHT"):
            parse_size(size)
    with pytest.raises(ConfigError, match="--window 4: expected an odd side length"):
        bench_attention(AttentionOptions(window=4), CPU)
    with pytest.raises(ConfigError, match="--repeats 0: must be at least 1"):
        bench_attention(AttentionOptions(repeats=0), CPU)
    with pytest.raises(ConfigError, match="--gop 1: must be at least 2"):
        bench_inference(InferenceOptions(gop=1), CPU)
    with pytest.raises(ConfigError, match="backbone 'psp50': expected one of"):
        bench_inference(InferenceOptions(backbones=("psp50",), decoded_hr_frames=0), CPU)
    with pytest.raises(ConfigError, match="backbone 'psp50': expected one of"):
        bench_training(TrainingOptions(backbones=("psp50",)), CPU)
    with pytest.raises(ConfigError, match="--pictures 0: must be at least 1"):
        bench_motion(MotionOptions(pictures=0))
