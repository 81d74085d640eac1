"""What takes seconds to import is not imported where nobody uses it."""

import subprocess
import sys

from command_line import phase1_words
from infer_examples import described, frames_of, p_only_video, random_network

from arseg.data.manifest import read_manifest
from arseg.files import file_digest
from arseg.models.checkpoint import save_checkpoint

HEAVY = ("torchvision", "torch._dynamo", "torch.onnx", "pandas", "matplotlib", "onnx", "lightning", "snakemake")

PROGRAM = """
import sys
from arseg.cli.main import main

for words in " ".join(sys.argv[1:]).split(" , "):
    main(words.split())
    print("loaded:", *(name for name in {heavy} if name in sys.modules))
"""


def test_training_evaluation_and_segmentation_load_nothing_heavy(tiny_dataset, tmp_path):
    classes = read_manifest(tiny_dataset.manifest).classes
    hr, lr = tmp_path / "hr.pt", tmp_path / "lr.pt"
    save_checkpoint(hr, random_network(False, 1, len(classes)), *described(False, 100, classes=classes))
    save_checkpoint(
        lr, random_network(True, 2, len(classes)), *described(True, 50, classes=classes, hr_digest=file_digest(hr))
    )
    video = p_only_video(tmp_path / "own.mp4", frames_of(3))
    evaluate = ["evaluate", "--mode", "ar", "--scale-percent", 50, "--hr", hr, "--lr", lr, "--workers", 0]
    evaluate += ["--device", "cpu", "--manifest", tiny_dataset.manifest, "--stores", *tiny_dataset.test_stores]
    evaluate += ["--output", tmp_path / "evaluation.npz"]
    segment = ["segment", video, "--checkpoint", hr, lr, "--device", "cpu", "-o", tmp_path / "labels.h5"]
    train = phase1_words(tiny_dataset.manifest, tmp_path / "weights.pt", epochs=1)
    words = [str(word) for word in [*evaluate, ",", *segment, ",", *train]]
    program = PROGRAM.format(heavy=HEAVY)
    run = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert [line for line in run.stdout.splitlines() if line.startswith("loaded:")] == ["loaded:"] * 3
    assert all((tmp_path / name).exists() for name in ("evaluation.npz", "labels.h5", "weights.pt"))
