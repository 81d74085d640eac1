"""What the pages promise exists: linked files, commands, make targets."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from arseg.cli.main import app
from arseg.schema import check_config, read_schema
from arseg.spec import Encoding

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [
    "README.md",
    "config/README.md",
    *(f"docs/{p.relative_to(REPOSITORY / 'docs')}" for p in (REPOSITORY / "docs").rglob("*.md")),
]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page):
    path = REPOSITORY / page
    for target in re.findall(r"\]\(([^)#\s]+)", path.read_text()):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), f"{page} links to {target}"


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist(page):
    text = (REPOSITORY / page).read_text()
    named = {tuple(match.split()) for match in re.findall(r"`arseg ((?:train |plot )?[a-z0-9]+)", text)}
    for words in named:
        command = app
        for word in words:
            assert word in command, f"{page} names arseg {' '.join(words)}"
            command = command[word]


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page):
    for target in re.findall(r"^make ([a-z-]+)", (REPOSITORY / page).read_text(), flags=re.MULTILINE):
        run = subprocess.run(["make", "--dry-run", target], cwd=REPOSITORY, capture_output=True, check=False)
        assert run.returncode == 0, f"{page} names make {target}"


def test_promises_are_tested():
    named = set(re.findall(r"`(test_\w+)`", (REPOSITORY / "docs/promises.md").read_text()))
    defined = {
        name for path in (REPOSITORY / "tests").rglob("*.py") for name in re.findall(r"def (\w+)", path.read_text())
    }
    assert named
    assert not named - defined


def test_the_example_of_encoder_parameters_is_a_configuration():
    (example,) = re.findall(r"```yaml\n(.*?)```", (REPOSITORY / "docs/encoding.md").read_text(), flags=re.DOTALL)
    demo = yaml.safe_load((REPOSITORY / "config/demo.yaml").read_text())
    schema = read_schema(REPOSITORY / "workflow/schemas/config.schema.yaml")
    encoder = check_config(demo | yaml.safe_load(example), schema)["encoder"]
    assert encoder["references"] == 4
    assert Encoding(references=encoder["references"], parameters=encoder["parameters"]["hevc"])
