import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.exceptions import WorkflowError
from snakemake.resources import Resources

from arseg.workflow.gpus import has_gpu, profile_named, settle_gpus


def rule(profile, **own):
    """A rule of `own` resources after a profile (or the command line) has set others, as words."""
    resources = Resources.from_mapping(own)
    resources.update(Resources.parse([f"{name}={value}" for name, value in profile.items()], allow_expressions=True))
    return SimpleNamespace(name="train_phase1", resources=resources)


def settle(settled, device):
    settle_gpus(SimpleNamespace(rules=[settled], global_resources={}), device, "profiles/mine")


TRAINING = {"gpu": 1, "devices": 1}
NETWORK = {"gpu": 1}


@pytest.mark.parametrize(
    ("own", "profile", "problem"),
    [
        (TRAINING, {"gres": "gpu:1"}, 'gpu: 1 and gres: "gpu:1" ask for GPUs twice. Write gpu: 0 beside gres'),
        (NETWORK, {"gpu": 1, "gres": "gpu:a100:1"}, 'gpu: 1 and gres: "gpu:a100:1" ask for GPUs twice'),
        (TRAINING, {"gpu": 0, "gpu_model": "a100", "gres": "gpu:1"}, 'Name the model in gres: "gpu:MODEL:1"'),
        (TRAINING, {"gpu": 4}, "gpu asks for 4 GPU(s), but devices: 1. Set devices: 4, or ask for 1"),
        (TRAINING, {"gpu": 0, "gres": "gpu:a100:4"}, "gres asks for 4 GPU(s), but devices: 1"),
        (TRAINING, {"devices": 4}, "gpu asks for 1 GPU(s), but devices: 4. Set devices: 1, or ask for 4"),
        (NETWORK, {"gpu": 2}, "gpu asks for 2 GPU(s), but the rule uses one"),
    ],
)
def test_requests_that_contradict_themselves_are_refused(own, profile, problem):
    with pytest.raises(WorkflowError) as caught:
        settle(rule(profile, **own), "auto")
    assert str(caught.value).startswith("profiles/mine: set-resources: train_phase1: ")
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("own", "profile"),
    [
        (TRAINING, {}),
        (NETWORK, {"gpu_model": "a100"}),
        (TRAINING, {"gpu": 0, "gres": "gpu:1"}),
        (TRAINING, {"gpu": 4, "devices": 4}),
        (TRAINING, {"gpu": 0, "gres": "gpu:4", "devices": 4}),
        (NETWORK, {"gres": "lscratch:10"}),
        (TRAINING, {"gpu": "attempt * 2", "devices": "attempt * 2"}),
        ({}, {"mem_mb": 1000}),
    ],
)
def test_what_agrees_stays_as_it_is(own, profile):
    checked, untouched = rule(profile, **own), rule(profile, **own)
    settle(checked, "cuda")
    assert checked.resources.args == untouched.resources.args


@pytest.mark.parametrize(
    ("profile", "gres"),
    [
        ({}, None),
        ({"gpu": 4, "gpu_model": "a100"}, None),
        ({"gpu": 0, "gres": "gpu:1"}, ""),
        ({"gres": "ssd:1"}, "ssd:1"),
    ],
)
def test_networks_on_the_processor_ask_for_no_gpu(profile, gres):
    on_cpu = rule(profile, **TRAINING)
    settle(on_cpu, "cpu")
    found = {name: resource.raw for name, resource in on_cpu.resources.items()}
    assert (found["gpu"], found.get("gpu_model", ""), found.get("gres")) == (0, "", gres)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["snakemake", "--workflow-profile", "profiles/mine"], "profiles/mine"),
        (["snakemake", "--profile=site", "all"], "site"),
        (["snakemake", "--set-resources", "a:gpu=2"], "command line"),
    ],
)
def test_messages_name_the_profile(words, name):
    assert profile_named(words) == name


@pytest.mark.parametrize(
    ("found", "visible", "usable"), [("nvidia0", "0", True), ("null", "0", False), ("nvidia0", "", False)]
)
def test_a_gpu_is_known_by_its_device(found, visible, usable, tmp_path, monkeypatch):
    (tmp_path / found).touch()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert has_gpu(tmp_path) is usable


@pytest.mark.parametrize(("device", "at_a_time"), [("auto", 2), ("cuda", 1)])
def test_networks_do_not_queue_for_a_gpu_that_is_not_there(device, at_a_time, tmp_path):
    (tmp_path / "Snakefile").write_text(
        "from arseg.workflow.gpus import settle_gpus\n"
        "rule train:\n    output: 'weights'\n    resources: gpu=1\n    shell: 'touch {output}'\n"
        f"settle_gpus(workflow, {device!r}, 'x')\n"
    )
    run = subprocess.run(
        [Path(sys.executable).with_name("snakemake"), "--cores", "2", "--resources", "gpu=1"],
        cwd=tmp_path,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f'Provided resources: gpu=Resource("gpu", {at_a_time})' in run.stderr
