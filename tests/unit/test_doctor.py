"""What `arseg doctor` finds, and what it says about what is missing."""

import json
import os
import shutil
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from arseg import compilation
from arseg.cli.main import main
from arseg.doctor import Check, Outcome, check_machine, places, programs

NAMES = ["arseg", "libraries", "ffmpeg", "codecs", "HEVC reader", "compiler", "processor", "GPU", "disk", "caches"]
NAMES += ["results", "shared memory", "open files", "scheduler", "conda", "apptainer", "variables"]


def found(name: str, folder: Path, ffmpeg: str | None = None) -> Check:
    return next(check for check in check_machine(folder, ffmpeg) if check.name == name)


def program(folder: Path, name: str, text: str) -> Path:
    """Write an executable shell script."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def doctor(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = 0
    try:
        main(["doctor", *words])
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    said = capsys.readouterr()
    return status, said.out, said.err


def test_this_machine_has_what_every_use_needs(capsys):
    status, shown, _ = doctor(capsys)
    assert status == 0
    assert "h264 (libx264; motion can be read), hevc (libx265; motion can be read)" in shown
    for name in NAMES:
        assert f" {name}  " in f"\n {shown}".replace("\n", "\n ")


def test_json_is_the_same_in_another_form(capsys):
    status, shown, _ = doctor(capsys, "--json")
    checks = json.loads(shown)
    assert status == 0
    assert list(dict.fromkeys(check["name"] for check in checks)) == NAMES
    assert {check["outcome"] for check in checks} <= {"ok", "note", "missing"}
    assert all(check["advice"] for check in checks if check["outcome"] != "ok")


def test_without_ffmpeg_nothing_works(capsys, tmp_path):
    status, shown, error = doctor(capsys, "--ffmpeg", str(tmp_path / "ffmpeg"))
    assert status == 2
    assert "MISSING: " in shown
    assert "It encodes clips. Install FFmpeg with libx264 and libx265, and name it with --ffmpeg" in shown
    assert error.count("error:") == 1
    assert "nothing works without ffmpeg" in error


def encoders(folder: Path, *names: str) -> str:
    listed = "; ".join(f"echo ' V..... {name} something'" for name in names) or "true"
    script = f'if [ "$1" = -version ]; then echo ffmpeg version 8.0; else {listed}; fi'
    return str(program(folder, "ffmpeg", script))


def test_an_ffmpeg_without_x265_is_enough_for_h264(capsys, tmp_path):
    status, shown, _ = doctor(capsys, "--ffmpeg", encoders(tmp_path, "libx264", "libx264rgb"))
    assert status == 0
    assert "MISSING: h264 (libx264; motion can be read); this FFmpeg lacks libx265" in shown
    assert "Only codecs: [h264] can be encoded with it" in shown


def test_an_ffmpeg_without_encoders_is_none(capsys, tmp_path):
    status, _, error = doctor(capsys, "--ffmpeg", encoders(tmp_path, "libx264rgb"))
    assert status == 2
    assert "nothing works without codecs: none; this FFmpeg lacks libx264, libx265" in error


def test_without_reader_and_compiler_there_is_no_hevc(monkeypatch, tmp_path):
    monkeypatch.setenv("ARSEG_CACHE", str(tmp_path))
    monkeypatch.delenv("ARSEG_HEVC_READER", raising=False)
    assert found("HEVC reader", tmp_path).outcome == Outcome.NOTE
    assert "arseg native build" in found("HEVC reader", tmp_path).advice
    monkeypatch.setattr(compilation, "COMPILERS", ())
    monkeypatch.delenv("CXX", raising=False)
    for name in ("HEVC reader", "compiler"):
        check = found(name, tmp_path)
        assert (check.outcome, check.fails) == (Outcome.MISSING, False)
    assert "apt-get install g++" in found("HEVC reader", tmp_path).found


@pytest.mark.parametrize(("capability", "words"), [((9, 0), "bf16-mixed works"), ((7, 5), "no bfloat16")])
def test_gpus_and_what_they_calculate_with(capability, words, monkeypatch):
    major, minor = capability
    properties = SimpleNamespace(name="Some GPU", total_memory=24 * 2**30, major=major, minor=minor)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    first, second = programs._gpus()
    assert first.found.startswith("cuda:0 Some GPU, 24 GiB")
    assert words in second.found


def test_a_gpu_that_pytorch_cannot_use(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "99.1")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    program(tmp_path, "nvidia-smi", "echo '| NVIDIA-SMI 550.54  Driver Version: 550.54.15  CUDA Version: 12.4 |'")
    (check,) = programs._gpus()
    assert check.outcome == Outcome.MISSING
    assert check.found == (
        "there is one (driver 550.54.15, up to CUDA 12.4), but PyTorch cannot use it; PyTorch is built for CUDA 99.1"
    )
    assert not check.fails


Usage = namedtuple("Usage", "total used free")


def test_a_full_disk_and_small_shared_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(64e6, 0, 1e6))
    assert found("disk", tmp_path).outcome == Outcome.MISSING
    assert found("caches", tmp_path).outcome == Outcome.MISSING
    shared = places._shared_memory(tmp_path)
    assert shared.outcome == Outcome.NOTE
    assert "--shm-size=4g" in shared.advice


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no folder that nobody can write to")
def test_a_folder_that_cannot_be_written_to(capsys, monkeypatch):
    monkeypatch.chdir("/proc")
    status, shown, error = doctor(capsys)
    assert status == 2
    assert "Everything is written there: run elsewhere, or mend its permissions" in shown
    assert "nothing works without results: /proc" in error


def test_the_results_folder_itself_counts(tmp_path):
    (tmp_path / "results").mkdir()
    check = found("results", tmp_path)
    assert check.outcome == Outcome.OK
    assert check.found.startswith(f"{tmp_path / 'results'}")
    assert not list((tmp_path / "results").iterdir())


def test_the_file_system_that_holds_a_path(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda / ext4 rw 0 0\n"
        "server:/home /home nfs4 rw 0 0\n"
        "tmpfs /home/me/fast tmpfs rw 0 0\n"
        "/dev/sdb /home/me/fast xfs rw 0 0\n"
        "lake /mnt/big\\040lake lustre rw 0 0\n"
    )
    kinds = {path: places.file_system(Path(path), mounts) for path in ("/opt", "/home/me", "/homework")}
    assert kinds == {"/opt": "ext4", "/home/me": "nfs4", "/homework": "ext4"}
    assert places.file_system(Path("/home/me/fast/x"), mounts) == "xfs"
    assert places.file_system(Path("/mnt/big lake/x"), mounts) == "lustre"
    assert places.file_system(Path("/opt"), tmp_path / "none") == ""


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "lustre", "beegfs", "fuse.sshfs", "cifs"])
def test_network_file_systems_are_noted(kind, monkeypatch, tmp_path):
    monkeypatch.setattr(places, "file_system", lambda path: kind)
    check = found("results", tmp_path)
    assert check.outcome == Outcome.NOTE
    assert "--latency-wait" in check.advice


def test_a_file_system_without_locks(monkeypatch, tmp_path):
    class NoLock:
        def __init__(self, path: Path) -> None:
            pass

        def acquire(self, timeout: float) -> None:
            raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(places, "FileLock", NoLock)
    check = found("results", tmp_path)
    assert (check.outcome, check.fails) == (Outcome.MISSING, False)
    assert "cannot be locked" in check.found


def test_a_scheduler_without_its_plugin(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "schedulers none" in programs.scheduler().found
    program(tmp_path, "bsub", "true")
    check = programs.scheduler()
    assert check.outcome == Outcome.NOTE
    assert "schedulers bsub" in check.found
    assert check.advice == "To submit jobs there: pip install snakemake-executor-plugin-lsf"


def test_what_software_can_be_deployed_with(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert {check.outcome for check in programs.deployment()} == {Outcome.NOTE}
    program(tmp_path, "mamba", "true")
    conda, _ = programs.deployment()
    assert (conda.outcome, conda.found) == (Outcome.OK, str(tmp_path / "mamba"))


def test_variables_are_shown_and_checked(monkeypatch, tmp_path):
    for name in programs.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert programs.variables().found == "none of those that matter is set"
    monkeypatch.setenv("CITYSCAPES_PASSWORD", "secret")
    monkeypatch.setenv("ARSEG_CAMVID", str(tmp_path))
    check = programs.variables()
    assert (check.outcome, check.found) == (Outcome.OK, f"ARSEG_CAMVID={tmp_path}, CITYSCAPES_PASSWORD=(set)")
    monkeypatch.setenv("ARSEG_HEVC_READER", str(tmp_path / "reader"))
    check = programs.variables()
    assert check.outcome == Outcome.MISSING
    assert check.advice.startswith("ARSEG_HEVC_READER: nothing is there")
