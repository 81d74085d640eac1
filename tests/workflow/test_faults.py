"""What may happen to a run: kills, full and read-only disks, damage, two at once, a clock that jumps.

Whatever it was, the run is started again as its message says, and its results are then those of an undisturbed one,
byte for byte. Commands are real processes; `warm_start` spares them importing PyTorch or Snakemake each time.
"""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from fault_runs import Faults, Runs, assert_same, damage, in_namespace, wait_until
from warm_start import lives

pytestmark = pytest.mark.workflow

ENCODING = "synthetic/h264-200k-gop3-medium"
CLIPS = f"results/tiny/clips/{ENCODING}"
TEST_STORE = f"{CLIPS}/all-distances/test/shard0/d01.h5"
TRAIN_STORE = f"{CLIPS}/last-distance/train/shard0/d02.h5"
HR = "results/tiny/phase1/synthetic/tiny/scale100/seed233/weights.pt"
LR = "results/tiny/phase1/synthetic/tiny/scale50/seed233/weights.pt"
EVALUATION = f"results/tiny/evaluation/{ENCODING}/tiny/hr/scale100/seed233.npz"
MANIFEST = "results/tiny/manifest/synthetic.csv"
FRAME = "results/tiny/frames/synthetic/images/test00_003.png"


@pytest.fixture
def undisturbed(tiny_run: Path, programs: Path) -> Runs:
    """A run that nothing happened to."""
    return Runs(tiny_run, programs)


@pytest.fixture
def fresh(tmp_path: Path, programs: Path) -> Runs:
    """A folder in which nothing has been made yet."""
    (tmp_path / "fresh").mkdir()
    return Runs(tmp_path / "fresh", programs)


@pytest.fixture
def copy(tmp_path: Path, undisturbed: Runs, programs: Path) -> Runs:
    """A copy of the undisturbed run, times of files included."""
    shutil.copytree(undisturbed.folder, tmp_path / "copy", symlinks=True)
    return Runs(tmp_path / "copy", programs)


def command_of(runs: Runs, log: str) -> list[str]:
    """Words of the command that a job ran, without ``arseg``, as its log begins with it."""
    first = (runs.folder / "logs/tiny" / log).read_text().splitlines()[0]
    return shlex.split(first.partition(": arseg ")[2])


def test_every_kind_of_job_may_be_killed_while_the_clock_jumps(fresh, undisturbed, tmp_path):
    faults = Faults(
        tmp_path / "faults",
        synthesize="kill 3 labels/",
        manifest_frames="kill 2 .synthetic.classes",  # written, but without its name
        clips="kill 1 .d02",
        train_phase1="kill 1 .history",  # after its first epoch
        train_phase2="kill 2 .weights.",  # with nothing to do any more
        evaluate="kill 1 .seed233",
        tabulate="kill 2 .miou",
        plot_curves="kill 1 .miou_by_cost",
        plot_panel="kill 1 .seed233",
    )
    output = fresh.complete("--retries", "2", FAULTS=str(faults.folder), CLOCK="jumps")
    assert faults.struck == faults.names, output
    assert output.count("Trying to restart job") == len(faults.names)
    assert_same(fresh, undisturbed)


def test_snakemake_may_be_killed_and_a_second_one_is_refused(fresh, undisturbed, tmp_path):
    # Killed twice. The jobs that it was waiting for outlive it.
    first, second = (
        Faults(tmp_path / "first", manifest_frames="wait 1 .synthetic"),
        Faults(tmp_path / "second", clips="wait 2 .d0"),
    )
    for faults in (first, second):
        fresh.kill_when(lambda faults=faults: faults.struck, "clips", FAULTS=str(faults.folder))
        code, output = fresh.finish("clips")
        assert code != 0
        assert "Directory cannot be locked" in output
        assert "--unlock" in output  # what one is told to do
        fresh.complete("clips", "--unlock")
    # Started once more, it makes again what was not finished. Meanwhile nobody else may start.
    third = Faults(tmp_path / "third", clips="wait 1 .d0")
    with fresh.start("clips", FAULTS=str(third.folder)) as run:
        wait_until(lambda: third.struck)
        code, output = fresh.finish("clips")
        assert code != 0
        assert "Directory cannot be locked" in output
        third.let_go("clips")
        output, _ = run.communicate()
        assert run.returncode == 0, output
    # What outlived the first two ends at last, and changes nothing.
    for faults in (first, second):
        (name,) = faults.names
        process = faults.process(name)
        assert lives(process)
        faults.let_go(name)
        wait_until(lambda process=process: not lives(process))
    assert_same(fresh, undisturbed, CLIPS)
    assert_same(fresh, undisturbed, "results/tiny/manifest")
    assert "Nothing to be done" in fresh.complete("clips", "--dry-run")


def test_full_disk_while_clips_are_written(undisturbed, copy):
    folder = Path(TRAIN_STORE).parent
    log = f"make_training_clips/{ENCODING}/train/shard0-d02.log"
    arseg = shlex.join(["arseg", *command_of(undisturbed, log)])
    expected = (undisturbed.folder / TRAIN_STORE).read_bytes()
    in_namespace(
        copy.folder,
        f"mount -t tmpfs -o size={len(expected) // 2} none {folder}\n"
        f"{{ {arseg} && echo 0 || echo $?; }} > full 2>&1\n"
        f"ls -A {folder} > left\n"
        f"mount -o remount,size=64m {folder}\n"
        f"{arseg}\n"
        f"cp {TRAIN_STORE} made\n",
    )
    message, code = (copy.folder / "full").read_text().splitlines()[-2:]
    assert message == (
        f"arseg: error: {TRAIN_STORE}: cannot be written (No space left on device). Make room in {folder} "
        "(df -h shows what is free), and run again."
    )
    assert code == "2"
    assert (copy.folder / "left").read_text() == ""
    assert (copy.folder / "made").read_bytes() == expected


def test_read_only_results(undisturbed, copy):
    for made in copy.folder.glob(f"{TRAIN_STORE}*"):  # with the record of its provenance
        made.unlink()
    log = f"make_training_clips/{ENCODING}/train/shard0-d02.log"
    arseg = shlex.join(["arseg", *command_of(undisturbed, log)])
    snakemake = shlex.join(["snakemake", *copy.words("clips")])
    in_namespace(
        copy.folder,
        "mount --bind results results\n"
        "mount -o remount,bind,ro results\n"
        f"{{ {arseg} && echo 0 || echo $?; }} > job 2>&1\n"
        f"{{ {snakemake} && echo 0 || echo $?; }} > workflow 2>&1\n",
    )
    message, code = (copy.folder / "job").read_text().splitlines()[-2:]
    assert f"{TRAIN_STORE}: cannot be written (Read-only file system). Make the folder results/" in message
    assert code == "2"
    # Snakemake looks into the folder before any job, and has words of its own.
    output = (copy.folder / "workflow").read_text()
    assert f"Read-only file system: '{TRAIN_STORE}'" in output
    assert output.splitlines()[-1] == "1"
    copy.complete("clips")
    assert_same(copy, undisturbed)


DAMAGES = [
    (TEST_STORE, {}, "hr/scale100", "is damaged .* Delete the file and run again"),
    (TEST_STORE, {"cut": True}, "hr/scale100", "truncated .* Delete the file and run again"),
    (LR, {}, "lr/scale50", "not a readable checkpoint.* delete it, and copy or train it again"),
    (HR, {"cut": True}, "hr/scale100", "not a readable checkpoint.* delete it, and copy or train it again"),
    (MANIFEST, {}, "hr/scale100", "Make the manifest again: arseg manifest"),
    (MANIFEST, {"cut": True}, "hr/scale100", "cells, expected 9 as in the header"),
    (EVALUATION, {}, "tabulate.log", "not an evaluation, or a damaged one.* Delete it. Make it again"),
    (FRAME, {}, f"make_test_clips/{ENCODING}/test/shard0.log", "cannot be read .* by an intact copy"),
]


def test_damage_between_stages_is_refused_and_mended(undisturbed, copy):
    for name, how, reader, message in DAMAGES:
        log = reader if reader.endswith(".log") else f"evaluate/{ENCODING}/tiny/{reader}/seed233.log"
        damage(copy.folder / name, **how)
        if log == "tabulate.log":
            shutil.rmtree(copy.folder / "results/tiny/published")  # as Snakemake does before the job
        command = [copy.programs / "arseg", *command_of(undisturbed, log)]
        run = subprocess.run(command, cwd=copy.folder, capture_output=True, text=True, check=False)
        assert run.returncode == 2, (name, run.stderr)
        assert re.search(rf"arseg: error: .*{name}.* {message}", run.stderr), run.stderr[-2000:]
        shutil.copy2(undisturbed.folder / name, copy.folder / name)
    # What is damaged is deleted. What a job would have made of it is not there, had it been the first to read it.
    for name in (TEST_STORE, LR, EVALUATION, EVALUATION.replace("hr/scale100", "lr/scale50"), "results/tiny/miou.csv"):
        (copy.folder / name).unlink()
    # A job made all distances of a shard, in one folder: that is what it makes again.
    folder = Path(TEST_STORE).parent
    code, output = copy.finish()
    assert code != 0
    assert f"{TEST_STORE}: is missing from a finished folder" in output
    assert f"rm -r {folder}" in output
    shutil.rmtree(copy.folder / folder)
    copy.complete()
    assert_same(copy, undisturbed)


def test_files_from_the_future(undisturbed, copy):
    # The clock was a day ahead while a network was trained, and is right again. Of files as large as the networks that
    # people train, Snakemake looks at the times alone.
    by_time = ("--max-checksum-file-size", "0")
    weights = copy.folder / LR
    times = weights.stat()
    os.utime(weights, (times.st_atime + 86400, times.st_mtime + 86400))
    code, output = copy.finish(*by_time)
    assert code != 0
    assert "has older modification time" in output
    os.utime(weights)  # as the message wants it: now
    output = copy.complete(*by_time)
    assert "Updated input files" in output
    assert not re.search("^(local)?rule (synthesize|make_|train_)", output, flags=re.MULTILINE)
    assert_same(copy, undisturbed)
