"""What `arseg plan` reckons: commands taken apart, amounts counted, times added up."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arseg.data.clip_plans import plan_clips
from arseg.data.frames import frames_manifest
from arseg.data.manifest import ManifestRow, read_manifest, write_manifest
from arseg.data.synthetic.dataset import synthesize
from arseg.errors import ConfigError, DataError
from arseg.evaluate.complexity import count_macs
from arseg.machine import processor_name
from arseg.models.registry import ARCHITECTURES
from arseg.plan.estimate import NO_TIME, Span, estimate
from arseg.plan.finished import Finished, Run, read_runs
from arseg.plan.inventory import Inventory
from arseg.plan.jobs import Command, Job, jobs_to_do, parse_command
from arseg.plan.rates import COLUMNS, TABLE, Rate, Rates, read_rates
from arseg.plan.sizes import DataSize, DataSizes
from arseg.plan.workload import Work, work_of
from arseg.provenance.recording import command_line, records

TRAINING = {"crop": "64x48", "epochs": "3", "batch-size": "4", "validate-every": "2", "scale-percent": "50"}


class Ones(dict):
    """Rates that are all one, so that work is counted in its own units."""

    def __missing__(self, name: str) -> float:
        return 1.0


def command(text: str) -> Command:
    parsed = parse_command(f"arseg {text}")
    assert parsed is not None
    return parsed


def flags(options: dict[str, str]) -> str:
    return " ".join(f"--{name} {value}" for name, value in options.items())


def data(rows: dict[str, list[ManifestRow]] | None = None) -> DataSize:
    return DataSize(1000, 500, 12, {"train": 10, "val": 4, "test": 6}, "made up", rows or {})


class FixedSizes(DataSizes):
    """One data set, whatever the manifest is called."""

    def __init__(self) -> None:
        super().__init__({}, 12)

    def of_manifest(self, path: Path) -> DataSize:
        return data()


def work(text: str, *others: str, rates: Rates | None = None) -> Work:
    judged = work_of(command(text), Inventory([command(text), *map(command, others)], FixedSizes()), rates or Ones())
    assert judged is not None
    return judged


def test_a_command_line_is_taken_apart():
    parsed = parse_command(
        "/opt/bin/arseg train phase2 --train-stores a.h5 'b c.h5' --no-feature-similarity --epochs 7 > 'a log' 2>&1"
    )
    assert parsed == Command(
        "train phase2", {"train-stores": ("a.h5", "b c.h5"), "no-feature-similarity": (), "epochs": ("7",)}
    )
    assert parsed.value("epochs") == "7"
    assert parsed.number("batch-size", 8) == 8


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("arseg clips --gop 12", "clips", ()),
        ("arseg motion video.mp4 -o m.h5", "motion", ("video.mp4", "-o", "m.h5")),
        ("arseg motion show video.mp4", "motion show", ("video.mp4",)),
        ("arseg cityscapes download gtFine.zip --output x", "cityscapes download", ("gtFine.zip",)),
    ],
)
def test_names_have_one_word_or_two(text, name, arguments):
    parsed = parse_command(text)
    assert parsed is not None
    assert (parsed.name, parsed.arguments) == (name, arguments)


def test_what_stands_before_the_command_is_passed_over():
    assert parse_command("exec env OMP_NUM_THREADS=1 arseg clips --gop 2") == command("clips --gop 2")


@pytest.mark.parametrize("text", ["", "echo arseg", "arseg 'unfinished"])
def test_other_commands_are_none_of_ours(text):
    assert parse_command(text) is None


def test_synthetic_scenes_are_counted_as_they_are_drawn(tmp_path):
    source = {"num_train_sequences": 3, "num_test_sequences": 2, "frames_per_sequence": 9, "annotate_every": 2}
    source |= {"num_val_sequences": 1, "width": 32, "height": 32}
    sizes = DataSizes({"drawn": {"kind": "synthetic", "source": source}}, 4)
    reckoned = sizes.of_manifest(Path("results/manifest/drawn.csv"))
    synthesize(tmp_path / "drawn", gop=4, **source)
    rows, classes = frames_manifest(
        "drawn", tmp_path / "drawn", tmp_path / "drawn/classes.csv", tmp_path / "drawn/splits.csv"
    )
    found = {split: sum(row.split == split for row in rows) for split in ("train", "val", "test")}
    assert (dict(reckoned.frames), reckoned.num_classes) == (found, len(classes))
    assert (reckoned.width, reckoned.height) == (32, 32)


def test_own_frames_are_counted_before_there_is_a_manifest(tmp_path, monkeypatch):
    one_each = {f"num_{split}_sequences": 1 for split in ("train", "val", "test")}
    synthesize(tmp_path / "own", gop=3, width=48, height=32, frames_per_sequence=5, **one_each)
    monkeypatch.setenv("ARSEG_TEST_ROOT", str(tmp_path))
    root = "$ARSEG_TEST_ROOT/own"
    source = {"root": root, "classes": f"{root}/classes.csv", "splits": f"{root}/splits.csv"}
    size = DataSizes({"own": {"kind": "frames", "source": source}}, 3).of_manifest(Path("own.csv"))
    assert (size.width, size.height, size.num_classes) == (48, 32, 10)
    assert size.frames["test"] > 0


def test_published_data_sets_are_counted_as_published():
    sizes = DataSizes({"c": {"kind": "camvid", "source": {}}, "s": {"kind": "cityscapes", "source": {}}}, 12)
    assert dict(sizes.of_manifest(Path("c.csv")).frames) == {"kaggle-train": 369, "kaggle-val": 100, "kaggle-test": 232}
    assert dict(sizes.of_manifest(Path("s.csv")).frames) == {"train": 2975, "val": 500}
    with pytest.raises(DataError, match="no such data set"):
        sizes.of_manifest(Path("other.csv"))


def test_a_manifest_that_is_there_counts(tiny_dataset):
    size = DataSizes({}, 3).of_manifest(tiny_dataset.manifest)
    manifest = read_manifest(tiny_dataset.manifest)
    assert size.frames["test"] == len(manifest.split("test"))
    assert size.num_classes == manifest.num_classes


@pytest.mark.parametrize("tail", ["gop", "annotated"])
@pytest.mark.parametrize("distances", [[2], [0, 1, 2]])
def test_clips_of_a_manifest_are_counted_as_they_are_planned(tail, distances, tiny_dataset):
    size = DataSizes({}, 3).of_manifest(tiny_dataset.manifest)
    plans = plan_clips(read_manifest(tiny_dataset.manifest).split("test"), 3, distances, tail=tail)
    count = size.count_clips("test", distances, 3, tail, num_shards=1)
    assert count.clips == len(plans)
    assert count.frames == sum(len(plan.frame_paths) for plan in plans)
    assert sum(count.samples.values()) == sum(len(plan.targets) for plan in plans)


def test_a_frame_without_room_is_no_sample_at_far_distances():
    pattern = "v_{index:03d}.png"
    row = ManifestRow("d", "test", "v", 1, pattern.format(index=1), "", pattern, 1, max_distance=0)
    count = data({"test": [row, replace(row, frame_index=30, image=pattern.format(index=30), max_distance=None)]})
    assert count.count_clips("test", [0, 1], 2, "gop", 1).samples == {0: 2, 1: 1}


def test_the_work_of_clips():
    # 6 frames at 3 distances: 18 clips of 3 frames and 0.5 megapixels; reading, encoding, decoding and storing cost 1.
    judged = work("clips --manifest m.csv --split test --all-distances --gop 3 --codec h264 --output o")
    assert judged.core_seconds == 0.5 * (18 * 3 * 3 + 18)
    assert judged.bytes == 18 * 500_000
    half = work("clips --manifest m.csv --split test --all-distances --gop 3 --num-shards 2 --shard 1 --output o")
    assert half.core_seconds == judged.core_seconds / 2
    short = work("clips --manifest m.csv --split test --all-distances --gop 3 --tail annotated --output o")
    assert short.core_seconds == 0.5 * (6 * (1 + 2 + 3) * 3 + 18)


def test_a_slower_preset_costs_more():
    words = "clips --manifest m.csv --split test --output o"
    rates = read_rates()
    assert work(f"{words} --preset slow", rates=rates).core_seconds > work(words, rates=rates).core_seconds
    assert work(words, rates=rates).core_seconds > work(f"{words} --codec h264", rates=rates).core_seconds


def test_the_work_of_phase_1():
    judged = work(
        f"train phase1 --manifest m.csv --train-split train --val-split val --backbone bise18 --output w.pt "
        f"{flags(TRAINING)}"
    )
    # Two full batches of 4 in 10 samples, 3 epochs: 24 crops. One validation of 4 whole frames.
    crop = count_macs("bise18", 12, 48, 64, "lr", 50).total / 1e9
    whole = count_macs("bise18", 12, 500, 1000, "lr", 50).total / 1e9
    assert judged.gmacs == pytest.approx(3 * 24 * crop + 4 * whole)
    assert judged.network_core_seconds == pytest.approx(24 * crop + 4 * whole)
    assert judged.core_seconds == pytest.approx(0.5 * (24 + 4))


def test_the_work_of_phase_2_counts_the_frozen_branch_and_samples_of_stores_that_are_not_there_yet():
    phase1 = "train phase1 --manifest m.csv --train-split train --val-split val --backbone psp18 --output hr.pt"
    clips = [
        f"clips --manifest m.csv --split {split} --gop 3 --num-shards 2 --shard {shard} --output {split}{shard}"
        for split in ("train", "val")
        for shard in (0, 1)
    ]
    judged = work(
        f"train phase2 --hr hr.pt --train-stores train0/d02.h5 train1/d02.h5 --val-stores val0/d02.h5 val1/d02.h5 "
        f"--output w.pt {flags(TRAINING)}",
        phase1,
        *clips,
    )
    size = ("psp18", 12, 48, 64)
    trained, frozen = count_macs(*size, "ar", 50).total / 1e9, count_macs(*size, "hr", 100).total / 1e9
    whole = ("psp18", 12, 500, 1000)
    checked = (count_macs(*whole, "ar", 50).total + count_macs(*whole, "hr", 100).total) / 1e9
    assert judged.gmacs == pytest.approx(24 * (3 * trained + frozen) + 4 * checked)
    assert judged.core_seconds == pytest.approx(2 * 0.5 * (24 + 4))  # each sample is a frame and its keyframe


def test_the_work_of_an_evaluation():
    phase1 = "train phase1 --manifest m.csv --train-split train --val-split val --backbone bise18 --output {}"
    clips = "clips --manifest m.csv --split test --all-distances --gop 2 --output c"
    full = count_macs("bise18", 12, 500, 1000, "hr", 100).total / 1e9
    fused = count_macs("bise18", 12, 500, 1000, "ar", 50).total / 1e9
    stores = "--stores c/d00.h5 c/d01.h5"
    others = (phase1.format("hr.pt"), "train phase2 --hr hr.pt --output ar.pt", clips)
    judged = work(f"evaluate --mode ar --scale-percent 50 --hr hr.pt --lr ar.pt {stores} --output e.npz", *others)
    assert judged.gmacs == pytest.approx(6 * full + 6 * (full + fused))
    assert judged.core_seconds == 12 * 0.5
    judged = work(f"evaluate --mode hr --hr hr.pt {stores} --output e.npz", *others)
    assert judged.gmacs == pytest.approx(12 * full)


def test_stores_that_are_there_are_counted(tiny_dataset):
    stores = " ".join(map(str, tiny_dataset.test_stores))
    phase1 = "train phase1 --manifest m.csv --train-split train --val-split val --backbone bise18 --output hr.pt"
    dataset = read_manifest(tiny_dataset.manifest).rows[0].dataset
    sizes = DataSizes({dataset: {"kind": "camvid", "source": {}}}, 3)
    evaluation = command(f"evaluate --mode hr --hr hr.pt --stores {stores} --output e.npz")
    judged = work_of(evaluation, Inventory([command(phase1), evaluation], sizes), Ones())
    assert judged is not None
    num_samples = len(read_manifest(tiny_dataset.manifest).split("test")) * len(tiny_dataset.test_stores)
    assert judged.core_seconds == pytest.approx(num_samples * 960 * 720 / 1e6)


@pytest.mark.parametrize(
    "text",
    [
        "evaluate --mode hr --hr nowhere.pt --stores nothing.h5 --output e.npz",
        "clips --manifest m.csv --split nothing --output o",
        "clips --manifest m.csv --split test --preset placebo --output o",
    ],
)
def test_what_is_not_known_is_not_made_up(text):
    rates = Rates({name: Rate(1, "", "") for name in ("read", "encode hevc medium", "decode hevc", "store")})
    assert work_of(command(text), Inventory([], FixedSizes()), rates) is None


def rates(**more: float) -> Rates:
    table = {name: Rate(value, "", "") for name, value in {**dict(read_rates()), **more}.items()}
    return Rates(table)


def job(name: str, seconds: float, *, after: tuple[str, ...] = (), threads: int = 1, gpus: int = 0) -> Job:
    """A job that takes so many core-seconds beside its start: it draws as many megapixels."""
    text = f"synthesize --output {name} --num-train-sequences 1 --num-val-sequences 0 --num-test-sequences 0"
    text += f" --frames-per-sequence 1 --width {seconds * 1000:.0f} --height 1000"
    return Job("draw", threads, gpus, command(text), after, (name,))


def reckon(jobs: list[Job], *, cores: int, gpus: int = 0, finished: list[Run] | None = None):
    table = rates(synthesize=1.0, **{"start media": 1.0})
    inventory = Inventory([], FixedSizes())
    known = Finished(finished or [], inventory, table)
    return estimate(jobs, inventory, table, known, cores=cores, gpus=gpus, folder=Path.cwd())


def test_time_is_bounded_by_the_work_and_by_the_longest_chain():
    jobs = [job("a", 9), job("b", 19, after=("a",)), job("c", 5, after=("a",)), job("d", 3, after=("b", "c"))]
    plan = reckon(jobs, cores=1)
    assert [rule.rule for rule in plan.rules] == ["draw"]
    assert plan.rules[0].core_seconds == pytest.approx(36 + 4)
    assert plan.least == Span(40, 40)
    plan = reckon(jobs, cores=8)
    assert plan.work.least == pytest.approx(5)
    assert plan.least.least == pytest.approx(10 + 20 + 4)


def test_a_job_that_is_no_command_of_ours_is_counted_as_unknown():
    plan = reckon([Job("other", 1, 0, None, (), ("x",))], cores=1)
    assert (plan.rules[0].jobs, plan.rules[0].unknown, plan.rules[0].core_seconds) == (1, 1, 0)


def test_a_job_uses_the_threads_that_there_are():
    jobs = [job("a", 40, threads=8)]
    assert reckon(jobs, cores=16).critical.least == pytest.approx(1 + 40 / 8)
    assert reckon(jobs, cores=4).critical.least == pytest.approx(1 + 40 / 4)


TRAIN = "train phase1 --manifest m.csv --train-split train --val-split val --backbone bise18 --output w.pt"


def training_plan(gpus: int, finished: list[Run] | None = None):
    inventory = Inventory([command(TRAIN)], FixedSizes())
    table = rates(**{"gpu least": 10.0, "gpu most": 1000.0})
    known = Finished(finished or [], inventory, table)
    jobs = [Job("train", 4, 1, command(TRAIN), (), ("w.pt",))]
    return estimate(jobs, inventory, table, known, cores=4, gpus=gpus, folder=Path.cwd())


def test_networks_run_on_the_processor_where_there_is_no_gpu():
    judged = work(TRAIN, rates=rates())
    plan = training_plan(gpus=0)
    assert plan.rules[0].gpu == NO_TIME
    expected = judged.core_seconds + judged.network_core_seconds + rates()["start train"]
    assert plan.rules[0].core_seconds == pytest.approx(expected)


def test_gpu_time_is_a_range_until_it_has_been_measured():
    judged = work(TRAIN, rates=rates())
    plan = training_plan(gpus=1)
    assert plan.rules[0].gpu == Span(judged.gmacs / 1000, judged.gmacs / 10)
    assert plan.rules[0].core_seconds == pytest.approx(judged.core_seconds + rates()["start train"])
    run = Run(command(TRAIN), seconds=judged.gmacs / 50, core_seconds=1.0, processor="any", gpus=1)
    plan = training_plan(gpus=1, finished=[run])
    assert plan.rules[0].gpu.least == plan.rules[0].gpu.most == pytest.approx(judged.gmacs / 50)
    assert plan.rules[0].measured_on == 1


def test_finished_commands_correct_the_table():
    drawn = job("a", 10).command
    assert drawn is not None
    runs = [Run(drawn, seconds=99.0, core_seconds=25.0, processor=processor_name(), gpus=0)]
    plan = reckon([job("b", 4)], cores=1, finished=runs)
    assert plan.rules[0].core_seconds == pytest.approx(1 + 4 * 2.5)
    assert plan.rules[0].measured_on == 1
    elsewhere = [replace(runs[0], processor="another one")]
    assert reckon([job("b", 4)], cores=1, finished=elsewhere).rules[0].core_seconds == pytest.approx(5)


def test_finished_commands_are_read_off_their_records_once(tmp_path, monkeypatch):
    @records("compare", outputs=["first", "second"], facts=lambda arguments: {"resumed": arguments["resumed"]})
    def write(first: Path, second: Path, resumed: bool = False) -> None:
        first.touch()
        second.touch()

    monkeypatch.chdir(tmp_path)
    with command_line(["compare", "a", "--csv", "b"]):
        write(Path("a"), Path("b"))
        write(Path("c"), Path("d"), resumed=True)
    (run,) = read_runs(tmp_path)
    assert run.command == command("compare a --csv b")
    assert run.processor == processor_name()
    assert run.gpus == 0


def test_the_table_has_all_rates_that_are_asked_for():
    table = read_rates()
    for codec in ("h264", "hevc"):
        assert table[f"encode {codec} ultrafast"] < table[f"encode {codec} veryslow"]
    networks = {name.partition("-")[0] for name in ARCHITECTURES}
    for name in (f"{what} {network}" for network in networks for what in ("train", "run", "bytes weights")):
        assert table[name] > 0
    for name in ("start media", "start train", "gpu least"):
        assert table[name] > 0
    assert table["gpu least"] < table["gpu most"]


def test_own_rates_take_the_place_of_those_of_the_same_name(tmp_path):
    own = tmp_path / "rates.csv"
    own.write_text(",".join(COLUMNS) + "\nread,9,s,here\n")
    assert read_rates(own)["read"] == 9
    assert read_rates(own)["store"] == read_rates()["store"]


@pytest.mark.parametrize("line", ["read,0,s,here", "read,fast,s,here", "reed,1,s,here"])
def test_rates_that_cannot_be_are_refused(line, tmp_path):
    own = tmp_path / "rates.csv"
    own.write_text(",".join(COLUMNS) + f"\n{line}\n")
    with pytest.raises(ConfigError, match=r"rates.csv:2: expected a rate that is known"):
        read_rates(own)


def test_every_line_of_the_table_says_what_it_was_measured_on():
    lines = TABLE.read_text().splitlines()[1:]
    assert all(len(line.split(",", 3)) == 4 and line.split(",", 3)[3] for line in lines)


def test_files_that_are_not_there_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing.yaml: no such file"):
        jobs_to_do(tmp_path / "nothing.yaml", tmp_path / "Snakefile", 1)
    shutil.copy(TABLE, tmp_path / "some.yaml")
    with pytest.raises(ConfigError, match=r"Snakefile: no such file. Run in the checkout, or name it: --snakefile"):
        jobs_to_do(tmp_path / "some.yaml", tmp_path / "Snakefile", 1)


def test_an_image_of_another_size_is_what_counts(tmp_path, tiny_dataset, monkeypatch):
    monkeypatch.chdir(tmp_path)
    manifest = read_manifest(tiny_dataset.manifest)
    Image.fromarray(np.zeros((10, 20, 3), np.uint8)).save(tmp_path / "own.png")
    first = replace(manifest.rows[0], image="own.png", frame_pattern="", frame_step=0)
    write_manifest(tmp_path / "m.csv", [first], manifest.classes)
    size = DataSizes({}, 3).of_manifest(tmp_path / "m.csv")
    assert (size.width, size.height) == (20, 10)
