"""Damaged files are refused, or give what was written; never anything else, and never the end of the process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import damage_survey
import numpy as np
import pytest
import torch
from evaluation_examples import make_evaluation
from PIL import Image
from test_store import ATTRIBUTES, IDENTITIES, arrays
from video_examples import encode_with_x264, moving_texture

from arseg.motion.extract import extract_motion
from arseg.store_writer import create_stores

DAMAGES = 350
"""Places in a file where a bit is flipped; at a tenth of them it is also cut off."""


def make_store(path):
    with create_stores({path: (ATTRIBUTES, IDENTITIES)}) as writers:
        writers[path].record_encoder("x264 - core 0", "ref=1")
        for index in range(len(IDENTITIES)):
            writers[path].write(index, **arrays(index, height=6, width=8))


def make_motion(path):
    video = path.with_suffix(".264")
    video.write_bytes(encode_with_x264(moving_texture(5, 48, 64, (3, 2)), "keyint=3:min-keyint=1:bframes=0:ref=1"))
    extract_motion(str(video), path, composed=True)


def make_checkpoint(path):
    generator = torch.Generator().manual_seed(0)
    weights = {"weight": torch.randn(8, 9, generator=generator), "bias": torch.arange(8)}
    torch.save({"state_dict": weights, "metadata": {"score": 0.5, "class_names": ["road", "sky"]}}, path)


def make_frame(path):
    pixels = np.random.default_rng(0).integers(0, 3, (36, 48, 3)).cumsum(axis=0)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def make_label(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 5, (36, 48)).astype(np.uint8)).save(path)


def make_palette(path):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 5, (36, 48)).astype(np.uint8))
    image.putpalette([3 * level for level in range(15)])
    image.save(path)  # Pillow reads it, where arseg.data.png does the others


MAKERS = {
    "store": ("d03.h5", make_store),
    "motion": ("motion.h5", make_motion),
    "checkpoint": ("weights.pt", make_checkpoint),
    "evaluation": ("shard0.npz", lambda path: make_evaluation().save(path)),
    "frame": ("frame.png", make_frame),
    "label": ("label.png", make_label),
    "palette": ("palette.png", make_palette),
}


def run_survey(kind, path, places):
    """Try damage in a process of its own, and return what came of it."""
    result = path.with_name("survey.json")
    numbers = f"{places.start}:{places.stop}:{places.step}"
    command = [sys.executable, damage_survey.__file__, kind, path, result, numbers]
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=300)
    last = run.stdout.strip().rpartition("\n")[2]
    assert run.returncode == 0, f"reading a damaged {kind} ended with {run.returncode} at: {last}\n{run.stderr[-2000:]}"
    return json.loads(result.read_text())


@pytest.mark.parametrize("kind", MAKERS)
def test_flipped_bits_and_lost_ends_are_noticed(kind, tmp_path):
    name, make = MAKERS[kind]
    make(tmp_path / name)
    size = (tmp_path / name).stat().st_size
    step = max(1, size // DAMAGES) | 1  # odd, so that all bits of a byte have their turn
    found = run_survey(kind, tmp_path / name, range(0, size, step))
    assert found["bad"] == []
    assert found["counts"]["refused"] > 0.7 * size / step, found


def test_a_frame_with_wrong_pixels_that_pillow_decodes(tmp_path):
    path = tmp_path / "frame.png"
    make_frame(path)
    content = path.read_bytes()
    unnoticed = 0
    for place in range(len(content) - 40, len(content) - 12):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with Image.open(path) as image:
            try:
                image.load()
                unnoticed += 1
            except (OSError, SyntaxError):
                pass
        assert damage_survey.outcome(damage_survey.read_frame, path, None) == "refused"
    assert unnoticed, "Pillow compares all checksums by itself now: images.py need not do it"


WRITERS = {
    "store": (
        "from test_store import ATTRIBUTES, IDENTITIES, arrays, create_stores\n"
        "with create_stores({path: (ATTRIBUTES, IDENTITIES)}) as writers:\n"
        "    for index in range(3):\n"
        "        writers[path].write(index, **arrays(index, 100, 100))\n"
    ),
    "motion": (
        "from video_examples import *\n"
        "from arseg.motion.extract import extract_motion\n"
        "frames = moving_texture(30, 96, 128, (3, 2))\n"
        "path.with_name('v.264').write_bytes(encode_with_x264(frames, 'bframes=0:ref=1'))\n"
        "limit()\n"
        "extract_motion(str(path.with_name('v.264')), path)\n"
    ),
    "checkpoint": (
        "from arseg.models.checkpoint import save_checkpoint\n"
        "from arseg.spec import NetworkSpec\n"
        "from arseg.models.registry import build_network\n"
        "save_checkpoint(path, build_network('tiny', 3, fusion=False), NetworkSpec('tiny', 3))\n"
    ),
    "evaluation": (
        "from evaluation_examples import *\n"
        "make_evaluation(np.random.default_rng(0).integers(0, 1 << 40, (90, 3, 3))).save(path)\n"
    ),
}


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits")
@pytest.mark.parametrize("kind", WRITERS)
def test_a_disk_that_takes_no_more_gives_a_message_and_no_file(kind, tmp_path):
    # A limit on the size of files stands for a full disk: it, too, lets a write come back short, and refuses the next.
    path = tmp_path / "results" / MAKERS[kind][0]
    path.parent.mkdir()
    program = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from arseg.errors import FileAccessError\n"
        f"path = Path({str(path)!r})\n"
        "limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))\n"
        f"{'' if kind == 'motion' else 'limit()'}\n"
        "try:\n"
        + "".join(f"    {line}\n" for line in WRITERS[kind].splitlines())
        + "except FileAccessError as error:\n"
        "    print(error)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment, timeout=300
    )
    assert run.returncode == 0, run.stderr  # HDF5 would crash when the process ends
    assert f"{path}: cannot be written (File too large). See what is wrong in {path.parent}" in run.stdout
    assert {left.name for left in path.parent.iterdir()} <= {"v.264"}
