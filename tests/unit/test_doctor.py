"""What `arseg doctor` finds, and what it says about what is missing."""

import errno
import json
import shutil
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from command_line import exit_status

from arseg import compilation, doctor
from arseg.doctor import Outcome

NAMES = ["arseg", "libraries", "ffmpeg", "codecs", "HEVC reader", "compiler", "processor", "GPU", "attention", "disk"]
NAMES += ["results"]


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run the command; return its exit status and what it printed."""
    status = exit_status("doctor", *words)
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_this_machine_has_what_every_use_needs(capsys):
    status, shown, _ = said(capsys)
    assert status == 0
    assert "h264 (libx264), hevc (libx265)" in shown
    status, shown, _ = said(capsys, "--json")
    checks = json.loads(shown)
    assert status == 0
    assert list(dict.fromkeys(check["name"] for check in checks)) == NAMES
    assert all(check["advice"] for check in checks if check["outcome"] != "ok")


def test_without_ffmpeg_nothing_works(capsys, tmp_path):
    status, shown, error = said(capsys, "--ffmpeg", str(tmp_path / "ffmpeg"))
    assert status == 2
    assert "MISSING: " in shown
    assert "It encodes clips. Install FFmpeg with libx264 and libx265, and name it with --ffmpeg" in shown
    assert error.count("error:") == 1
    assert "required parts are missing: ffmpeg" in error


@pytest.mark.parametrize(
    ("encoders", "fails", "found", "advice"),
    [
        (
            "libx264 libx264rgb",
            False,
            "h264 (libx264); this FFmpeg lacks libx265",
            "codecs: [h264]",
        ),
        ("libx264rgb", True, "none; this FFmpeg lacks libx264, libx265", "Install FFmpeg with libx264 and libx265"),
    ],
)
def test_an_ffmpeg_without_encoders(encoders, fails, found, advice, tmp_path):
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!/bin/sh\n[ $1 = -version ] && echo ffmpeg version 8.0 || echo ' V..... {encoders} some'\n")
    program.chmod(0o755)
    _, codecs = doctor.check_ffmpeg(str(program))
    assert (codecs.outcome, codecs.fails, codecs.found) == (Outcome.MISSING, fails, found)
    assert advice in codecs.advice


def test_without_reader_and_compiler_there_is_no_hevc(monkeypatch, tmp_path):
    monkeypatch.setenv("ARSEG_CACHE", str(tmp_path))
    monkeypatch.delenv("ARSEG_HEVC_READER", raising=False)
    assert doctor.check_hevc_reader().outcome == Outcome.NOTE
    monkeypatch.setattr(compilation, "COMPILERS", ())
    monkeypatch.delenv("CXX", raising=False)
    for check in (doctor.check_hevc_reader(), doctor.check_compiler()):
        assert (check.outcome, check.fails) == (Outcome.MISSING, False)
    assert "apt-get install g++" in doctor.check_hevc_reader().found


@pytest.mark.parametrize(("capability", "words"), [((9, 0), "bf16-mixed works"), ((7, 5), "no bfloat16")])
def test_gpus_and_what_they_calculate_with(capability, words, monkeypatch):
    major, minor = capability
    properties = SimpleNamespace(name="Some GPU", total_memory=24 * 2**30, major=major, minor=minor)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    first, second = doctor.check_gpus()
    assert first.found.startswith("cuda:0 Some GPU, 24 GiB")
    assert words in second.found


def test_attention_in_plain_pytorch_is_noted(monkeypatch):
    monkeypatch.setattr(doctor, "implementations", lambda x: ["eager"])
    check = doctor.check_attention()
    assert check.outcome == Outcome.NOTE
    assert check.found.startswith("eager on cpu")


def test_a_full_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("Usage", "total used free")(64e6, 0, 1e6))
    assert doctor.check_disk(tmp_path).outcome == Outcome.MISSING


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no folder that nobody can write to")
def test_a_folder_that_cannot_be_written_to(capsys, monkeypatch):
    monkeypatch.chdir("/proc")
    status, shown, error = said(capsys)
    assert status == 2
    assert "Everything is written there: run elsewhere, or correct its permissions" in shown
    assert "required parts are missing: results: /proc" in error


@pytest.mark.parametrize("error", [NotImplementedError("no flock"), OSError(errno.ENOLCK, "No locks available")])
def test_a_file_system_without_locks(error, monkeypatch, tmp_path):
    def refuse(*args: object) -> None:
        raise error

    assert doctor.check_results(tmp_path).outcome == Outcome.OK
    monkeypatch.setattr("fcntl.flock", refuse)
    check = doctor.check_results(tmp_path)
    assert (check.outcome, check.fails) == (Outcome.MISSING, False)
    assert "files cannot be locked" in check.found
    assert not list(tmp_path.iterdir())
