"""What the pages promise exists: linked files and headings, commands, make targets, names and constants in the code."""

import pkgutil
import re
import subprocess
from pathlib import Path

import pytest
import yaml

import arseg
from arseg.cli.main import app
from arseg.spec import Encoding
from arseg.workflow.reading import check_config
from arseg.workflow.schema import config_schema

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [
    "CONTRIBUTING.md",
    "README.md",
    "config/README.md",
    *(f"docs/{p.relative_to(REPOSITORY / 'docs')}" for p in (REPOSITORY / "docs").rglob("*.md")),
]


def headings(path):
    """Return the headings of a page, outside of its code blocks."""
    prose = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)


def rows(path):
    """Return the rows of all tables of a page, each as a dictionary by column."""
    found, header = [], None
    for line in path.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            header = None
        elif header is None:
            header = cells
        elif set(line) - set("|-: "):
            found.append(dict(zip(header, cells, strict=True)))
    return found


def value(cell):
    """Read the value that a cell begins with, in YAML between backticks; None if it begins with words."""
    match = re.match("`(.+?)`", cell)
    return match and yaml.safe_load(match[1])


METHOD = REPOSITORY / "docs/method.md"
CONSTANTS = [row for row in rows(METHOD) if "code" in row and {"value", "CamVid"} & set(row)]


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_exists(page):
    path = REPOSITORY / page
    text = path.read_text()
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?", text):
        if not target.startswith("http"):
            linked = path.parent / target if target else path
            assert linked.exists(), f"{page} links to {target}"
            if anchor:
                anchors = {re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-") for words in headings(linked)}
                assert anchor in anchors, f"{page} links to {target}#{anchor}"
    for words in {tuple(match.split()) for match in re.findall(r"`arseg ((?:train |plot )?[a-z0-9]+)", text)}:
        command = app
        for word in words:
            assert word in command, f"{page} names arseg {' '.join(words)}"
            command = command[word]
    for target in re.findall(r"^make ([a-z-]+)", text, flags=re.MULTILINE):
        run = subprocess.run(["make", "--dry-run", target], cwd=REPOSITORY, capture_output=True, check=False)
        assert run.returncode == 0, f"{page} names make {target}"
    for name in re.findall(r"`(arseg(?:\.\w+)+)", text):
        pkgutil.resolve_name(name)


def test_cited_sections_of_the_method_exist():
    folders = [REPOSITORY / name for name in ("arseg", "tests", "workflow")]
    cited = {
        " ".join(section.split())
        for folder in folders
        for path in folder.rglob("*.py")
        for section in re.findall(r"docs/method\.md,\s+'([^'\\]+)'", path.read_text())
    }
    assert cited
    assert not cited - set(headings(METHOD))


@pytest.mark.parametrize("row", CONSTANTS, ids=lambda row: next(iter(row.values())))
def test_constants_of_the_method_are_those_of_the_code(row):
    expression = row["code"].strip("`")
    stated = value(row.get("value") or row.get("CamVid"))
    if stated is not None:
        pkgutil.resolve_name(re.match(r"[\w.]+", expression)[0])  # imports the module that it names
        in_code = eval(expression, {"arseg": arseg})
        assert stated == (list(in_code) if isinstance(in_code, tuple) else in_code)
    if "Cityscapes" in row:
        training = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())["datasets"]["cityscapes"]["training"]
        assert value(row["Cityscapes"]) == training.get(row["key"].strip("`").removeprefix("training."), stated)


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
    schema = config_schema()
    encoder = check_config(demo | yaml.safe_load(example), schema)["encoder"]
    assert encoder["references"] == 4
    assert Encoding(references=encoder["references"], parameters=encoder["parameters"]["hevc"])
