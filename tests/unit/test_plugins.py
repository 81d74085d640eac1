"""Registries that packages from outside add to."""

import pytest

from arseg.errors import ConfigError
from arseg.plugins import Registry


def test_a_name_is_taken_once():
    registry = Registry("colour", "arseg.test_colours")
    registry.register("red")("ff0000")
    with pytest.raises(ConfigError, match="colour red: the name is taken"):
        registry.register("red")("00ff00")
    assert registry.get("red") == "ff0000"


def test_installed_packages_add_to_a_registry(tmp_path, monkeypatch):
    package = tmp_path / "colours-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: colours\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[arseg.test_colours]\nblue = outside_colours:BLUE\n")
    (tmp_path / "outside_colours.py").write_text("BLUE = '0000ff'\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry("colour", "arseg.test_colours")
    registry.register("red")("ff0000")
    assert registry.names() == ("blue", "red")
    assert registry.get("blue") == "0000ff"
    with pytest.raises(ConfigError, match="colour green: expected one of blue, red"):
        registry.get("green")
