"""Which versions of PyAV are known to work, and what differs between them."""

import re
import tomllib
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import pytest
from packaging.requirements import Requirement
from video_examples import encode_with_x264, moving_texture

from arseg import doctor
from arseg.codec.bitstream import START_CODE, nal_units
from arseg.codec.decode import read_frames
from arseg.codec.pyav import TESTED, fraction_of
from arseg.codec.stream import split_bitstream
from arseg.doctor import Outcome
from arseg.errors import MotionError

REPOSITORY = Path(__file__).resolve().parents[2]


def test_versions_that_are_known_to_work_are_those_that_are_asked_for():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    (pin,) = (pin for pin in map(Requirement, project["dependencies"]) if pin.name == "av")
    first, last = (int(version.partition(".")[0]) for version in (TESTED[0], TESTED[-1]))
    assert str(pin.specifier) == f"<{last + 1},>={first}"
    assert f"PyAV {first} or {last}" in re.sub(r"\s+", " ", (REPOSITORY / "README.md").read_text())
    assert av.__version__.rpartition(".")[0] in TESTED


@pytest.mark.parametrize(("version", "outcome"), [("18.1.0", Outcome.OK), ("19.0.0", Outcome.NOTE)])
def test_the_doctor_knows_them(version, outcome, monkeypatch):
    monkeypatch.setattr(doctor, "version", lambda name: version if name == "av" else "1.0.0")
    assert doctor.check_libraries().outcome == outcome


def test_time_bases_are_fractions_or_none():
    assert fraction_of(None) is None
    assert fraction_of(Fraction(0, 1)) is None  # as PyAV 19 says it
    assert fraction_of(SimpleNamespace(numerator=1, denominator=25)) == Fraction(1, 25)


def test_frames_with_data_that_pyav_does_not_know_have_no_motion():
    """An enhancement layer, of which PyAV 18 has not heard, is announced by a message beside the frames."""
    message = bytes([0xB4, 0, 0x50, 0, 1, 2, 3, 4])
    units = nal_units(encode_with_x264(moving_texture(3, 32, 48, (2, 0)), "bframes=0:ref=1"))
    bitstream = b""
    for unit in units:
        if unit[0] & 0x1F in (1, 5):
            bitstream += START_CODE + bytes([6, 4, len(message)]) + message + b"\x80"
        bitstream += START_CODE + unit
    if int(av.__version__.partition(".")[0]) > 18:
        assert len(list(read_frames(split_bitstream(bitstream, "h264")))) == 3
        return
    with pytest.raises(MotionError, match=r"PyAV 1[78]\..* cannot read the motion vectors.* Install a later one"):
        list(read_frames(split_bitstream(bitstream, "h264")))
