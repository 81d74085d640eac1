"""PIDNet in training: boundaries, class weights, its own augmentation and schedule, both phases, and going on."""

import random
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from command_line import phase1_words, refusal
from torch import distributed, multiprocessing
from training_examples import phase1, phase2

from arseg.config import TrainConfig
from arseg.data.edges import label_edges
from arseg.data.manifest import read_manifest
from arseg.data.pidnet_augmentation import augment_as_pidnet
from arseg.data.transforms import PairSample
from arseg.evaluate.protocol import evaluate
from arseg.models.checkpoint import load_checkpoint
from arseg.models.losses import pidnet_loss
from arseg.models.network import Prediction
from arseg.train.data import Draw, StillDataset
from arseg.train.optimizer import learning_rate, schedule_length
from arseg.train.phases import Phase1

CONFIG = TrainConfig(
    augmentation="pidnet",
    crop="64x48",
    random_scales=(0.5, 1.0),
    optimizer="sgd",
    schedule="poly",
    epochs=1,
    batch_size=4,
    unfused_epochs=0,
    initial_weights="none",
)


@pytest.fixture(scope="module")
def hr(tiny_dataset, tmp_path_factory):
    folder, classes = tmp_path_factory.mktemp("hr"), read_manifest(tiny_dataset.manifest).num_classes
    config = replace(CONFIG, class_weights=(1.5,) * classes, edge_margin=2)
    phase1(tiny_dataset.manifest, folder, config, backbone="pidnet-s")
    return folder, config


def test_a_stopped_training_goes_on_to_the_same_weights(tiny_dataset, hr, tmp_path, monkeypatch):
    reference, config = hr
    ordinary = Phase1.begin_batch

    def lose_power(phase, batch, process):
        if batch == 1:
            raise KeyError("power failure")
        ordinary(phase, batch, process)

    with monkeypatch.context() as patch:
        patch.setattr(Phase1, "begin_batch", lose_power)
        with pytest.raises(KeyError, match="power failure"):
            phase1(tiny_dataset.manifest, tmp_path, config, backbone="pidnet-s", save_minutes=0.0)
    phase1(tiny_dataset.manifest, tmp_path, config, backbone="pidnet-s")
    assert (tmp_path / "history.csv").read_text() == (reference / "history.csv").read_text()
    ours, expected = (load_checkpoint(path / "weights.pt").network.state_dict() for path in (tmp_path, reference))
    assert all(torch.equal(ours[name], tensor) for name, tensor in expected.items())


def test_phase_2_has_all_parts_of_the_loss_and_is_evaluated(tiny_dataset, hr, tmp_path):
    folder, config = hr
    stores = {"train_stores": tiny_dataset.train_stores, "val_stores": tiny_dataset.val_stores}
    config = replace(config, optimizer="adam")  # features of the hardly trained HR branch are in the hundreds
    phase2(tiny_dataset.manifest, folder / "weights.pt", tmp_path, config, **stores)
    header = (tmp_path / "history.csv").read_text().splitlines()[0]
    for part in ("auxiliary", "ohem", "ohem_boundary", "boundary", "feature_similarity"):
        assert f"train_{part}" in header.split(",")
    words = {"stores": tiny_dataset.test_stores, "manifest": tiny_dataset.manifest, "mode": "ar", "scale_percent": 50}
    words |= {"hr": folder / "weights.pt", "lr": tmp_path / "weights.pt", "seed": 3, "device": "cpu", "workers": 0}
    assert evaluate(**words).is_complete


@pytest.mark.parametrize(
    ("backbone", "message"),
    [("pidnet-s", "2 are given, .* takes one for each of"), ("tiny", "2 are given, .* takes none")],
)
def test_class_weights_that_do_not_fit_are_refused(tiny_dataset, tmp_path, capsys, backbone, message):
    words = phase1_words(tiny_dataset.manifest, tmp_path / "weights.pt", backbone=backbone)
    answer = " ".join(refusal(capsys, *words, "--class-weights", 1.5, 2).split())
    assert re.search(rf"training\.class_weights: {message}", answer)


@pytest.mark.parametrize("augmentation", ["paper", "pidnet"])
def test_edges_are_made_before_labels_are_scaled(tiny_dataset, augmentation):
    manifest = read_manifest(tiny_dataset.manifest)
    config = replace(CONFIG, augmentation=augmentation, random_scales=(0.5,), crop="32x24")
    dataset = StillDataset(manifest.split("train"), manifest.num_classes, config, augmented=True, edges=True)
    sample = dataset[Draw(0, "seed")]
    assert sample["edges"].shape == sample["labels"].shape == (24, 32)
    assert set(sample["edges"].unique().tolist()) == {0, 1}
    # A map drawn at half the size would have edges of twice the width.
    assert sample["edges"].sum() < label_edges(sample["labels"].numpy()).sum()


def test_small_frames_are_padded_and_motion_follows_scale_and_mirror():
    image = np.full((4, 6, 3), 200, np.uint8)
    motion = np.broadcast_to(np.int16((8, -4)), (4, 6, 2))
    ones, evidence = np.ones((4, 6), np.uint8), np.full((1, 2, 3), 7, np.uint8)
    sample = PairSample(image, image, ones, motion, ones, evidence)
    config = replace(CONFIG, random_scales=(0.5,), crop="5x4")
    seen = set()
    for seed in range(8):
        augmented = augment_as_pidnet(sample, random.Random(seed), config)
        mirrored = augmented.labels[0, 0] == 255
        seen.add(mirrored)
        inside = np.s_[:2, 2:] if mirrored else np.s_[:2, :3]
        outside = np.ones((4, 5), bool)
        outside[inside] = False
        for array, within, around in (
            (augmented.image, 200, 0),
            (augmented.keyframe, 200, 0),
            (augmented.labels, 1, 255),
            (augmented.edges, 1, 0),
            (augmented.evidence, 7, 0),
        ):
            assert (array[inside] == within).all()
            assert (array[outside] == around).all()
        assert (augmented.motion_qpel[inside] == (-4 if mirrored else 4, -2)).all()
        assert not augmented.motion_qpel[outside].any()
    assert seen == {False, True}


def loss_and_gradients(share):
    """Compute PIDNet's loss for a share of four images, the first of which has no label."""
    generator = torch.Generator().manual_seed(0)
    outputs = [3 * torch.randn(4, channels, 6, 8, generator=generator) for channels in (5, 5, 1)]
    labels = torch.randint(0, 5, (4, 12, 16), generator=generator)
    labels[0] = 255
    edges = torch.rand(4, 12, 16, generator=generator) > 0.7
    scores, detail, boundary = (output[share].clone().requires_grad_() for output in outputs)
    parts = pidnet_loss(
        Prediction(scores, scores, (detail, boundary)),
        labels[share],
        edges=edges[share],
        class_weights=torch.linspace(0.5, 1.5, 5),
        min_kept=300,
    )
    sum(parts.values()).backward()
    return {name: part.detach() for name, part in parts.items()}, [t.grad for t in (scores, detail, boundary)]


def train_share(rank, folder):
    distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.save(loss_and_gradients(slice(2 * rank, 2 * rank + 2)), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_have_the_loss_of_one(tmp_path):
    multiprocessing.spawn(train_share, (tmp_path,), nprocs=2)
    parts, gradients = loss_and_gradients(slice(4))
    shares = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for name, part in parts.items():
        torch.testing.assert_close((shares[0][0][name] + shares[1][0][name]) / 2, part)
    for whole, *halves in zip(gradients, shares[0][1], shares[1][1], strict=True):
        torch.testing.assert_close(torch.cat(halves) / 2, whole)  # gradients are averaged over the processes


def test_poly_schedule():
    assert schedule_length(484, 2975, 12, "poly") == 119548
    assert [learning_rate(step, 1.0, 4, "poly") for step in (0, 1, 3)] == pytest.approx([1, 1, 0.5**0.9])
