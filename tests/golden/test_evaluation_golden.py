"""The evaluation step against the published programs (golden section E), through the public command line.

The golden data are written as published files: a tree of processed data, and state dicts with ``module.``
before every name. One step is replaced: golden images are normal noise with values that no 8-bit picture has after
normalisation, so the tree holds pictures that stand for them, and normalising gives the golden image that a picture
stands for. Normalisation itself is pinned by ``test_transforms_golden.py``.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_weights import hr_network, load_arrays, lr_network
from published_examples import write_camvid_sample

import arseg.ar
from arseg.cli.main import main
from arseg.compat.results import read_published
from arseg.evaluate.result import load_evaluation
from arseg.spec import NORMALIZATIONS

GOP = 2
"""The shortest: golden frames are evaluated at d = 1, and at d = 0 as their own keyframes."""

FIRST = ("0001TP_006690", ("0001TP", 6690 - 6690 + 31))
SECOND = ("0001TP_006720", ("0001TP", 6720 - 6690 + 31))

CASES = {
    "ar05": ("AR", 0.5, "AR-0.5x"),
    "ar03": ("AR", 0.3, "AR-0.3x"),
    "arodd": ("AR", 0.5, "AR-0.5x"),
    "hr10": ("HR", 0.5, "1.0x"),
    "hr05": ("LR", 0.5, "0.5x"),
    "lr05": ("LR", 0.5, "0.5x"),
}
"""By case: mode, scale that is asked for, and what the result's name says."""


def publish(network: torch.nn.Module, path: Path) -> None:
    path.parent.mkdir(parents=True)
    torch.save({f"module.{name}": tensor for name, tensor in network.state_dict().items()}, path)


@pytest.fixture(scope="module")
def golden():
    return load_arrays("E_camvid-psp18")


@pytest.fixture(scope="module")
def checkpoint_roots(tmp_path_factory) -> dict[str, Path]:
    """Published checkpoints with the rule's weights; the LR baseline in both forms that it comes in.

    Case hr05 is a network without fusion at 0.5, case lr05 one with fusion that is not used: published LR baselines
    carry ``fuse_attention.*``.
    """
    folder, hr, lr = tmp_path_factory.mktemp("checkpoints"), hr_network("psp18"), lr_network("psp18")
    roots = {"plain": folder / "plain", "fusion": folder / "fusion"}
    for form, baseline in (("plain", hr), ("fusion", lr)):
        publish(hr, roots[form] / "camvid-psp18/HR/PSPNet_resnet18_1.0_0_.pth")
        publish(baseline, roots[form] / "camvid-psp18/LR/PSPNet_resnet18_0.5_0_.pth")
    for scale in (0.3, 0.5):
        target = roots["plain"] / f"camvid-psp18/AR/PSPNet_resnet18_{scale}_0_.pth"
        target.parent.mkdir(exist_ok=True)
        torch.save({f"module.{name}": tensor for name, tensor in lr.state_dict().items()}, target)
    return roots


class Pictures:
    """Pictures that stand for golden images."""

    def __init__(self) -> None:
        self.images: dict[bytes, np.ndarray] = {}

    def stand_for(self, image: np.ndarray) -> np.ndarray:
        """Give the picture, uint8 (H, W, 3), that stands for an image, float32 (3, H, W)."""
        scaled = 255 * (image - image.min()) / (image.max() - image.min())
        picture = scaled.round().astype(np.uint8).transpose(1, 2, 0).copy()
        self.images[picture.tobytes()] = image
        return picture

    def normalize(self, pixels: torch.Tensor, normalization: object) -> torch.Tensor:
        assert normalization == NORMALIZATIONS["camvid"]
        return torch.from_numpy(np.stack([self.images[picture.numpy().tobytes()] for picture in pixels]))


def write_tree(data_root: Path, golden: dict[str, np.ndarray], case: str, pictures: Pictures) -> None:
    inputs, labels = str(golden[f"{case}_inputs"]), golden[f"{case}_label"]
    images = golden[f"{inputs}__img"]
    for number, ((name, located), image, label) in enumerate(zip((FIRST, SECOND), images, labels, strict=False)):
        frame = pictures.stand_for(image)
        height, width = label.shape
        keyframe, motion_qpel = frame, np.zeros((height, width, 2), np.int16)
        if f"{inputs}__ref_img" in golden:
            keyframe = pictures.stand_for(golden[f"{inputs}__ref_img"][number])
            motion_qpel = golden[f"{inputs}__flow_quarterpel"][number]
        for distance in range(GOP):
            write_camvid_sample(
                data_root / f"camvid-sequence/3M-GOP{GOP}",
                name,
                distance,
                located=located,
                frame=frame,
                label=label,
                keyframe=keyframe if distance else None,
                motion_qpel=motion_qpel if distance else None,
            )


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """Converted checkpoints, which the cases share; clips are imported anew, because their manifests differ."""
    return tmp_path_factory.mktemp("work")


@pytest.mark.parametrize("case", CASES)
def test_confusion_matrix_is_the_published_one(case, golden, checkpoint_roots, work, tmp_path, monkeypatch):
    mode, scale, name = CASES[case]
    assert float(golden[f"{case}_scale"]) == (1.0 if mode == "HR" else scale)
    pictures = Pictures()
    write_tree(tmp_path / "data", golden, case, pictures)
    monkeypatch.setattr(arseg.ar, "normalize", pictures.normalize)
    root = checkpoint_roots["fusion" if case == "lr05" else "plain"]
    words = ["evaluate-published", "--checkpoint-root", root, "--data-root", tmp_path / "data"]
    words += ["--mode", mode, "--scale", scale]
    words += ["--gop", GOP, "--device", "cpu", "--workers", 0, "--output", tmp_path / "results"]
    words += ["--work", work]
    main([str(word) for word in words])

    published = tmp_path / f"results/camvid-psp18-{name}-resolution-exp-GOP{GOP}-3M-evaluation.txt"
    evaluation = load_evaluation(published.with_suffix(".npz"))
    np.testing.assert_array_equal(evaluation.num_frames, len(golden[f"{case}_label"]))
    # A pixel whose two best classes are close may go to either, and then changes two entries by one each.
    label, margin = golden[f"{case}_label"], golden[f"{case}_margin_f16"]
    undecided = int(((margin <= 5e-3) & (label != 255)).sum())
    assert undecided < 0.01 * label.size
    moved = np.abs(evaluation.confusions[1] - golden[f"{case}_hist"])
    assert moved.sum() <= 2 * undecided
    rows = np.bincount(label[(margin <= 5e-3) & (label != 255)], minlength=12)
    assert (moved.sum(axis=1) <= 2 * rows).all()
    assert read_published(published).miou[1] == pytest.approx(float(golden[f"{case}_miou"]), abs=1e-3)
