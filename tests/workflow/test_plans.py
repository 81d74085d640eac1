"""What each shipped configuration plans, and what it refuses to plan."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from snakemake_runs import REPOSITORY, planned_jobs, snakemake

pytestmark = pytest.mark.workflow

PLANS = {
    # CamVid: 2 networks x (HR + 7 LR) in phase 1, 7 in phase 2, 15 evaluations; 8 shards of 1 test and 2 other splits.
    # Cityscapes likewise with 32 shards, but its val split serves phase 2 and the test.
    "config/config.yaml": {
        "download_camvid": 6,  # the Kaggle package, three videos, the fourth's zip in two parts
        "decode_camvid": 4,
        "index_camvid_labels": 1,
        "verify_camvid": 1,
        "download_cityscapes": 3,
        "unpack_cityscapes": 1,
        "label_cityscapes": 1,
        "verify_cityscapes": 1,
        "write_manifest": 2,
        "fetch_imagenet_weights": 1,
        "build_native_reader": 1,
        "make_test_clips": 8 + 32,
        "make_training_clips": 2 * 8 + 32,
        "train_phase1": 2 * 2 * 8,
        "train_phase2": 2 * 2 * 7,
        "evaluate": 2 * 2 * 15,
        "tabulate": 1,
        "compare_with_published": 1,
        "plot_curves": 1,
        "plot_panel": 4,
    },
    "config/demo.yaml": {  # evaluations of HR, LR, propagation alone, AR
        **{"synthesize": 1, "write_manifest": 1, "make_test_clips": 1, "make_training_clips": 2},
        **{"train_phase1": 2, "train_phase2": 1, "evaluate": 4, "tabulate": 1, "plot_curves": 1, "plot_panel": 1},
    },
    "config/camvid-sequence.yaml": {  # two codecs, which share phase 1, and three seeds
        **{"write_manifest": 1, "fetch_encoder_weights": 1, "build_native_reader": 1},
        **{"make_test_clips": 2 * 2, "make_training_clips": 2 * 1},  # phase 2 learns from all distances, too
        **{"train_phase1": 3 * 4, "train_phase2": 2 * 3 * 3, "evaluate": 2 * 3 * (2 + 2 * 3)},
        **{"tabulate": 1, "plot_curves": 1, "plot_panel": 2 * 3},
    },
    "config/synthetic-motion.yaml": {  # two speeds, two GOPs, three seeds
        **{"synthesize": 2, "write_manifest": 2, "make_test_clips": 2 * 2 * 2, "make_training_clips": 2 * 2},
        **{"train_phase1": 2 * 3 * 2, "train_phase2": 2 * 2 * 3, "evaluate": 2 * 2 * 3 * 4},
        **{"tabulate": 1, "plot_curves": 1, "plot_panel": 2 * 2 * 3},
    },
    "tests/workflow/configs/videos.yaml": {"segment_video": 2, "tabulate_videos": 1, "check_videos": 1},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory in which the relative paths of the shipped configurations hold."""
    (tmp_path / "config").symlink_to(REPOSITORY / "config")
    (tmp_path / "drives").mkdir()
    for name in ("drives/one.mp4", "drives/two.mkv", "hr.pt"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize("config", PLANS)
def test_a_configuration_plans_these_jobs(config, folder):
    plain = config == "config/config.yaml"  # without a name, the paper is meant
    assert planned_jobs(folder, None if plain else REPOSITORY / config) == PLANS[config]


def test_small_networks_train_side_by_side_and_load_for_themselves(folder):
    run = snakemake(folder, "--dry-run", "--configfile", str(REPOSITORY / "config/demo.yaml"))
    jobs = re.split(r"^(?:local)?rule (\w+):$", run.stdout + run.stderr, flags=re.MULTILINE)
    trainings = [text for rule, text in zip(jobs[1::2], jobs[2::2], strict=True) if rule.startswith("train_")]
    assert len(trainings) == 3
    for text in trainings:
        assert "threads:" not in text  # Snakemake prints more than one
        assert "workers=0" in text


def test_a_bad_configuration_is_one_message_before_anything_runs(folder):
    config = yaml.safe_load((REPOSITORY / "config/demo.yaml").read_text()) | {"scale": [0.5]}
    (folder / "bad.yaml").write_text(yaml.safe_dump(config))
    run = snakemake(folder, "--configfile", str(folder / "bad.yaml"))
    assert run.returncode != 0
    assert "bad.yaml: scale: unknown key; did you mean 'scales'?" in run.stdout + run.stderr
    assert not (folder / "results").exists()


def rules_with_commands():
    for path in sorted((REPOSITORY / "workflow/rules").glob("*.smk")):
        for text in re.split(r"(?m)^rule ", path.read_text())[1:]:
            if "\n    shell:" in text:
                yield pytest.param(path.read_text(), text, id=text.partition(":")[0])


@pytest.mark.parametrize(("file", "rule"), [*rules_with_commands()])
def test_each_rule_logs_measures_and_says_what_it_needs(file, rule):
    name = rule.partition(":")[0]
    for directive in ("log", "benchmark", "conda"):
        assert f"\n    {directive}:\n" in rule
    if (
        "localrule: True" not in rule
        and f"    {name},\n" not in file.partition("localrules:")[2].partition("\nrule")[0]
    ):
        assert {"mem_mb", "runtime"} <= set(re.findall(r"^        (\w+)=", rule, flags=re.MULTILINE))


def test_lint_finds_nothing():
    command = [Path(sys.executable).with_name("snakemake"), "--lint"]
    run = subprocess.run(list(map(str, command)), cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert "Congratulations, your workflow is in a good condition!" in run.stdout + run.stderr
