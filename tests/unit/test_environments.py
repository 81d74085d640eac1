"""The environments in `envs/` say the same as pyproject.toml and the checkout."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
SUPPORTED = SpecifierSet(PROJECT["project"]["requires-python"])
PYTHONS = [f"3.{minor}" for minor in range(8, 20)]
OLDEST = next(python for python in PYTHONS if python in SUPPORTED)
CONDA = REPOSITORY / "envs/arseg.yaml"


def test_conda_installs_what_the_project_asks_for():
    *packages, with_pip = yaml.safe_load(CONDA.read_text())["dependencies"]
    pins = {name: SpecifierSet(pin) for name, _, pin in (package.partition(" ") for package in packages)}
    offered = [python for python in PYTHONS if python in pins["python"]]
    assert offered[0] == OLDEST
    assert PYTHONS[-1] not in offered  # wheels of PyTorch appear months after a Python; conda takes the newest at once
    assert {"pip", "cxx-compiler"} <= set(pins)
    for requirement in map(Requirement, PROJECT["project"]["dependencies"]):
        lowest = [Version(spec.version) for spec in pins.get(requirement.name, ()) if spec.operator == ">="]
        assert all(version in requirement.specifier for version in lowest), requirement
    # Snakemake copies the file to .snakemake/conda in the checkout, where pip is run.
    (line,) = with_pip["pip"]
    assert (REPOSITORY / ".snakemake/conda" / line.removeprefix("-e ")).resolve() == REPOSITORY


@pytest.mark.parametrize("rules", sorted((REPOSITORY / "workflow/rules").glob("*.smk")), ids=lambda path: path.name)
def test_rules_name_an_environment_that_is_there(rules):
    for name in re.findall(r'conda:\s+"([^"]+)"', rules.read_text()):
        assert (rules.parent / name).resolve() == CONDA


def test_the_installed_package_has_all_of_its_files():
    """A container and a wheel hold what setuptools is told of; an editable checkout would hide what is missing."""
    data = PROJECT["tool"]["setuptools"]["package-data"]
    folders = {REPOSITORY / package.replace(".", "/"): patterns for package, patterns in data.items()}
    listed = {path for folder, patterns in folders.items() for pattern in patterns for path in folder.glob(pattern)}
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "arseg"]
    tracked = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("no git checkout")
    files = {REPOSITORY / name for name in tracked.stdout.splitlines()}
    assert {path for path in files if path.suffix != ".py" and path.exists()} == listed
