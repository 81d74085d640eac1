"""The environments that Snakemake deploys, and the container, say the same as pyproject.toml and the checkout."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from arseg.codec.native_build import READER_VARIABLE
from arseg.compilation import CACHE_VARIABLE, COMPILERS

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
PYTHONS = [Version(f"3.{minor}") for minor in range(8, 20)]
SUPPORTED = SpecifierSet(PROJECT["project"]["requires-python"])
REQUIREMENTS = {requirement.name: requirement for requirement in map(Requirement, PROJECT["project"]["dependencies"])}

CONDA_FILES = sorted((REPOSITORY / "envs").glob("*.yaml"))
FAKE_CONDA = """#!/bin/sh
echo "$@" | tr -d '"' >> '{calls}'
case "$1" in
    --version) echo conda 25.1.0 ;;
    info) echo '{{"conda_version": "25.1.0", "conda_prefix": "/opt/conda", "platform": "linux-64"}}' ;;
    config) echo '{{"get": {{"channel_priority": "strict"}}}}' ;;
    env) mkdir -p .snakemake/conda ;;
esac
"""

CONTAINERFILE = REPOSITORY / "envs/Containerfile"


def conda_packages(path: Path) -> dict[str, SpecifierSet]:
    """Packages that conda itself installs, and their versions."""
    packages = {}
    for entry in yaml.safe_load(path.read_text())["dependencies"]:
        if isinstance(entry, str):
            name, _, versions = entry.partition(" ")
            packages[name] = SpecifierSet(versions)
    return packages


def pip_packages(path: Path) -> list[str]:
    dependencies = yaml.safe_load(path.read_text())["dependencies"]
    return [line for entry in dependencies if isinstance(entry, dict) for line in entry["pip"]]


def test_there_are_environments():
    assert CONDA_FILES


@pytest.mark.parametrize("path", CONDA_FILES, ids=lambda path: path.name)
class TestConda:
    def test_its_oldest_python_is_the_oldest_that_is_supported(self, path):
        offered = conda_packages(path)["python"]
        allowed = [python for python in PYTHONS if python in offered]
        assert allowed[0] == next(python for python in PYTHONS if python in SUPPORTED)
        assert all(python in SUPPORTED for python in allowed)

    def test_its_newest_python_is_named(self, path):
        # Wheels of PyTorch appear months after a Python; conda would take the newest one at once.
        assert PYTHONS[-1] not in conda_packages(path)["python"]

    def test_arseg_comes_from_the_checkout_with_all_that_it_needs(self, path):
        """Snakemake copies the file to .snakemake/conda in the checkout, where pip is run."""
        (line,) = pip_packages(path)
        option, place = line.split()
        assert option == "-e"
        folder = (REPOSITORY / ".snakemake/conda" / place).resolve()
        assert folder == REPOSITORY
        assert (folder / "pyproject.toml").is_file()

    def test_pip_and_a_compiler_are_there(self, path):
        packages = conda_packages(path)
        assert "pip" in packages
        assert "cxx-compiler" in packages

    def test_no_package_contradicts_the_project(self, path):
        for name, versions in conda_packages(path).items():
            if name in REQUIREMENTS and str(versions):
                lowest = [spec.version for spec in versions if spec.operator == ">="]
                assert lowest, f"{name} {versions}: no lower end"
                assert all(Version(version) in REQUIREMENTS[name].specifier for version in lowest), name

    def test_only_known_channels(self, path):
        assert yaml.safe_load(path.read_text())["channels"] == ["conda-forge", "nodefaults"]


@pytest.mark.workflow
def test_snakemake_gives_conda_a_copy_two_folders_below_its_working_folder(tmp_path):
    """With a conda that only writes down what it is asked for."""
    shutil.copy(CONDA_FILES[0], tmp_path)
    (tmp_path / "Snakefile").write_text(
        f"rule all:\n    output: 'done'\n    conda: '{CONDA_FILES[0].name}'\n    shell: 'touch {{output}}'\n"
    )
    conda = tmp_path / "bin/conda"
    conda.parent.mkdir()
    conda.write_text(FAKE_CONDA.format(calls=tmp_path / "calls"))
    conda.chmod(0o755)
    snakemake = Path(sys.executable).with_name("snakemake")
    command = [snakemake, "--sdm", "conda", "--conda-create-envs-only", "--cores", "1"]
    environment = os.environ | {"PATH": f"{conda.parent}{os.pathsep}{os.environ['PATH']}"}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    calls = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]
    created = [words for words in calls if words[:2] == ["env", "create"]]
    assert created, run.stdout + run.stderr
    copy = Path(tmp_path, created[0][created[0].index("--file") + 1])
    assert yaml.safe_load(copy.read_text()) == yaml.safe_load(CONDA_FILES[0].read_text())
    assert (copy.parent / "../..").resolve() == tmp_path.resolve()


@pytest.mark.parametrize("rules", sorted((REPOSITORY / "workflow/rules").glob("*.smk")), ids=lambda path: path.name)
def test_rules_name_an_environment_that_is_there(rules):
    for name in re.findall(r'conda:\s+"([^"]+)"', rules.read_text()):
        assert (rules.parent / name).resolve() in CONDA_FILES


def test_the_installer_looks_for_supported_pythons():
    script = (REPOSITORY / "envs/install.sh").read_text()
    (candidates,) = re.findall(r"for candidate in ([^;]+);", script)
    versions = [Version(name.removeprefix("python")) for name in candidates.split() if "." in name]
    assert versions == sorted(versions, reverse=True)
    assert all(version in SUPPORTED for version in versions)
    oldest = min(versions)
    assert oldest == next(python for python in PYTHONS if python in SUPPORTED)
    assert f"sys.version_info < ({oldest.major}, {oldest.minor})" in script
    run = subprocess.run(["bash", "-n", REPOSITORY / "envs/install.sh"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@dataclass(frozen=True)
class Instruction:
    """A line of a Containerfile."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)


@pytest.fixture(scope="module")
def container() -> list[Instruction]:
    """The Containerfile's instructions, comments left out and continued lines joined."""
    lines = [line for line in CONTAINERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [
        Instruction(name.upper(), text.strip())
        for name, _, text in (line.strip().partition(" ") for line in joined.splitlines() if line.strip())
    ]


def instructions(container: list[Instruction], name: str) -> list[Instruction]:
    return [instruction for instruction in container if instruction.name == name]


def variables(container: list[Instruction]) -> dict[str, str]:
    """Environment of the finished image."""
    pairs = (word.partition("=") for line in instructions(container, "ENV") for word in line.words)
    return {name: value for name, _, value in pairs}


class TestContainer:
    def test_python_is_an_argument_within_the_supported_range(self, container):
        assert [line.name for line in container[:2]] == ["ARG", "FROM"]
        name, _, default = container[0].text.partition("=")
        assert name == "PYTHON_VERSION"
        assert Version(default) in SUPPORTED
        assert re.fullmatch(r"docker\.io/library/python:\$\{PYTHON_VERSION\}-slim-\w+", container[1].text)

    def test_what_is_copied_is_in_the_checkout_and_let_through(self, container):
        patterns = CONTAINERFILE.with_name(f"{CONTAINERFILE.name}.dockerignore").read_text().splitlines()
        assert "*" in patterns
        copies = instructions(container, "COPY")
        assert copies
        for line in copies:
            for source in line.words[:-1]:
                assert (REPOSITORY / source).exists(), source
                assert f"!{source}" in patterns

    def test_the_project_is_installed_from_what_is_copied(self, container):
        (install,) = [line for line in instructions(container, "RUN") if "pip install" in line.text]
        assert install.text.split()[-1] == "."
        copied = {word for line in instructions(container, "COPY") for word in line.words[:-1]}
        needed = {"pyproject.toml", PROJECT["project"]["readme"], "arseg"}
        assert needed <= copied
        before = container[: container.index(install)]
        assert any(line.name == "COPY" and "arseg" in line.words for line in before)

    def test_a_compiler_is_installed_before_the_reader_is_built(self, container):
        runs = [line.text for line in instructions(container, "RUN")]
        (compiler,) = [index for index, text in enumerate(runs) if "apt-get install" in text]
        (reader,) = [index for index, text in enumerate(runs) if "arseg native build" in text]
        assert compiler < reader
        assert set(COMPILERS) & set(runs[compiler].split())

    def test_the_reader_is_where_the_variable_says(self, container):
        (build,) = [line.text for line in instructions(container, "RUN") if "arseg native build" in line.text]
        assert build.split("&&")[1].split()[-1] == variables(container)[READER_VARIABLE]

    def test_any_user_can_run_it(self, container):
        users = [line.text for line in instructions(container, "USER")]
        assert users
        assert users[-1] not in ("root", "0")
        assert container.index(instructions(container, "USER")[-1]) > container.index(
            instructions(container, "RUN")[-1]
        )
        places = variables(container)
        assert all(places[name].startswith("/tmp") for name in (CACHE_VARIABLE, "HOME", "MPLCONFIGDIR"))

    def test_it_starts_with_the_projects_command(self, container):
        (start,) = instructions(container, "CMD")
        assert yaml.safe_load(start.text)[0] in PROJECT["project"]["scripts"]
        assert not instructions(container, "ENTRYPOINT")  # Snakemake runs shells in it


def test_the_installed_package_has_all_of_its_files(tmp_path):
    """A container and a wheel hold what setuptools is told of; an editable checkout would hide what is missing."""
    data = PROJECT["tool"]["setuptools"]["package-data"]
    listed = {
        path
        for package, patterns in data.items()
        for pattern in patterns
        for path in (REPOSITORY / package.replace(".", "/")).glob(pattern)
    }
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "arseg"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if tracked.returncode:
        pytest.skip("no git checkout")
    files = {REPOSITORY / name for name in tracked.stdout.splitlines()}
    assert {path for path in files if path.suffix != ".py" and path.exists()} == listed
