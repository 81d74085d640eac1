import logging
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import training_examples
from command_line import phase1_words, run

from arseg.config import TrainConfig
from arseg.data.manifest import TEACHER, read_manifest, write_manifest
from arseg.errors import ArsegError, CheckpointError, ConfigError, DataError, StoreError
from arseg.evaluate.protocol import evaluate
from arseg.models.checkpoint import load_checkpoint, read_checkpoint, save_checkpoint
from arseg.models.describe import describe_checkpoint
from arseg.spec import Encoding
from arseg.train.data import StillDataset
from arseg.train.phases import Phase1
from arseg.train.state import StateFolder

CONFIG = TrainConfig(
    crop="64x48", random_scales=(1.0,), epochs=2, batch_size=4, unfused_epochs=1, initial_weights="none", jitter=0.2
)


def phase1(tiny_dataset, folder, config=CONFIG, **changes):
    return training_examples.phase1(tiny_dataset.manifest, folder, config, **changes)


def phase2(tiny_dataset, hr, folder, config=CONFIG, **changes):
    stores = {"train_stores": tiny_dataset.train_stores, "val_stores": tiny_dataset.val_stores}
    return training_examples.phase2(tiny_dataset.manifest, hr, folder, config, **(stores | changes))


def interrupted(tiny_dataset, folder, monkeypatch, **changes):
    """Train until three of four batches are done, with a state after each."""
    ordinary = Phase1.begin_batch

    def lose_power(phase, batch, process):
        if (phase.epoch, batch) == (1, 1):
            raise KeyError("power failure")
        ordinary(phase, batch, process)

    with monkeypatch.context() as patch:
        patch.setattr(Phase1, "begin_batch", lose_power)
        with pytest.raises(KeyError, match="power failure"):
            phase1(tiny_dataset, folder, save_minutes=0, **changes)


@pytest.fixture(scope="module")
def hr(tiny_dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hr")
    phase1(tiny_dataset, folder)
    return folder / "weights.pt"


def weights_of(path):
    return load_checkpoint(path)[0].state_dict()


def assert_equal_weights(first, second):
    first, second = weights_of(first), weights_of(second)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_checkpoint_says_what_it_is(hr):
    _, spec, trained_on = load_checkpoint(hr)
    assert (spec.backbone, spec.role, trained_on.seed) == ("tiny", "hr", 3)
    assert (trained_on.constants["crop"], trained_on.frame_size) == ("64x48", (64, 48))
    assert trained_on.epoch in (0, 1)
    history = pd.read_csv(hr.parent / "history.csv")
    assert trained_on.score == pytest.approx(history["val_miou"].max(), rel=1e-4)


@pytest.mark.usefixtures("loader_processes")
def test_same_seed_same_weights_other_seed_other_weights(tiny_dataset, hr, tmp_path):
    phase1(tiny_dataset, tmp_path / "again", workers=1)
    assert_equal_weights(hr, tmp_path / "again/weights.pt")
    phase1(tiny_dataset, tmp_path / "other", seed=4)
    first, second = weights_of(hr), weights_of(tmp_path / "other/weights.pt")
    assert not torch.equal(first["final_conv.weight"], second["final_conv.weight"])


@pytest.mark.parametrize("phase", [1, 2])
@pytest.mark.parametrize("changes", [{"precision": "bf16-mixed"}, {"channels_last": True}], ids=str)
def test_faster_arithmetic_trains_nearly_the_same(tiny_dataset, hr, tmp_path, phase, changes):
    for name, config in (("exact", CONFIG), ("fast", replace(CONFIG, **changes))):
        phase1(tiny_dataset, tmp_path / name, config) if phase == 1 else phase2(
            tiny_dataset, hr, tmp_path / name, config
        )
    ours, expected = (pd.read_csv(tmp_path / name / "history.csv")["train_loss"] for name in ("fast", "exact"))
    assert ours.to_numpy() == pytest.approx(expected.to_numpy(), rel=0.03)
    assert all(tensor.dtype != torch.bfloat16 for tensor in weights_of(tmp_path / "fast/weights.pt").values())


def test_a_finished_training_keeps_weights_and_history(tiny_dataset, tmp_path, monkeypatch):
    interrupted(tiny_dataset, tmp_path, monkeypatch)
    assert sorted(path.name for path in (tmp_path / "resume").glob("*.ckpt")) == ["last.ckpt", "previous.ckpt"]
    phase1(tiny_dataset, tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["history.csv", "weights.pt"]


def test_a_training_of_seconds_writes_no_state(tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(StateFolder, "write", lambda *_: 1 / 0)
    phase1(tiny_dataset, tmp_path)


def test_what_is_finished_is_not_trained_again(tiny_dataset, hr, tmp_path, monkeypatch, caplog):
    for name in ("weights.pt", "history.csv"):
        (tmp_path / name).write_bytes((hr.parent / name).read_bytes())
    with monkeypatch.context() as patch, caplog.at_level(logging.INFO):
        patch.setattr(Phase1, "begin_batch", lambda *_: 1 / 0)
        assert phase1(tiny_dataset, tmp_path) == load_checkpoint(hr).trained_on
        assert "is there already, trained with these settings. Delete it to train again" in caplog.text
        with pytest.raises(ZeroDivisionError):
            phase1(tiny_dataset, tmp_path, seed=4)
        (tmp_path / "history.csv").unlink()
        with pytest.raises(ZeroDivisionError):
            phase1(tiny_dataset, tmp_path)


def test_the_state_of_another_run_is_set_aside(tiny_dataset, tmp_path, monkeypatch, caplog):
    interrupted(tiny_dataset, tmp_path, monkeypatch)
    state = (tmp_path / "resume/last.ckpt").read_bytes()
    with caplog.at_level(logging.INFO):
        phase1(tiny_dataset, tmp_path, replace(CONFIG, epochs=3), seed=9)
    assert "last.ckpt: belongs to a run with other settings (trained_on.seed 3 there, 9 now; " in caplog.text
    assert "trained_on.constants.epochs 2 there, 3 now); kept as settings-1.ckpt, starting anew" in caplog.text
    assert (tmp_path / "resume/settings-1.ckpt").read_bytes() == state
    assert sorted(path.name for path in (tmp_path / "resume").iterdir()) == ["settings-1.ckpt", "settings-2.ckpt"]
    (tmp_path / "resume/settings-1.ckpt").rename(tmp_path / "resume/last.ckpt")
    (tmp_path / "weights.pt").unlink()
    with caplog.at_level(logging.INFO):
        phase1(tiny_dataset, tmp_path)
    assert "resuming in epoch 1, after step 3" in caplog.text


def test_a_folder_of_something_else_is_not_taken_for_state(tiny_dataset, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(CheckpointError, match=r"is not the state of a training\. Name an empty or a new folder"):
        phase1(tiny_dataset, tmp_path, resume=tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def test_an_unreadable_state_is_named(tiny_dataset, tmp_path, monkeypatch):
    interrupted(tiny_dataset, tmp_path, monkeypatch)
    for name in ("last", "previous"):
        state = tmp_path / f"resume/{name}.ckpt"
        state.write_bytes(state.read_bytes()[:1000])
    message = r"last\.ckpt: not a readable checkpoint.* Delete .*resume and train again"
    with pytest.raises(CheckpointError, match=message):
        phase1(tiny_dataset, tmp_path)


def test_phase2_keeps_the_hr_classifier_and_leaves_the_hr_branch_alone(tiny_dataset, hr, tmp_path):
    before = weights_of(hr)
    phase2(tiny_dataset, hr, tmp_path)
    network, spec, trained_on = load_checkpoint(tmp_path / "weights.pt")
    assert spec.role == "ar"
    assert trained_on.encoding == Encoding("h264", "200k", gop=4)
    assert trained_on.frame_size == (64, 48)
    assert torch.equal(network.state_dict()["final_conv.weight"], before["final_conv.weight"])
    assert not torch.equal(network.state_dict()["stem.0.0.weight"], before["stem.0.0.weight"])
    assert trained_on.epoch == 1, "only the fused epoch may be chosen"
    history = pd.read_csv(tmp_path / "history.csv")
    assert history["selection_score"].to_list() == pytest.approx(history["val_miou"] - [1, 0], abs=1e-5)


def test_phase2_can_start_from_the_hr_branch(tiny_dataset, hr, tmp_path):
    config = replace(CONFIG, start_from="hr", learning_rate=1e-9, unfused_epochs=0)
    phase2(tiny_dataset, hr, tmp_path, config)
    trained, start = weights_of(tmp_path / "weights.pt"), weights_of(hr)
    for name in ("stem.0.0.weight", "lateral.weight", "aux.bias"):
        torch.testing.assert_close(trained[name], start[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"unfused_epochs": 2}, r"training\.unfused_epochs is 2 of .* no epoch with fusion would be validated"),
        ({"epochs": 3, "unfused_epochs": 2, "validate_every": 2}, r"no epoch with fusion would be validated"),
        (
            {"normalization": "imagenet"},
            r"training\.normalization is imagenet, and .*weights\.pt was .*another",
        ),
    ],
)
def test_phase2_refuses_constants(tiny_dataset, hr, tmp_path, constants, message):
    with pytest.raises(ConfigError, match=message):
        phase2(tiny_dataset, hr, tmp_path, replace(CONFIG, **constants))


def test_phase2_wants_all_shards_at_the_largest_distance(tiny_dataset, hr, tmp_path):
    with pytest.raises(StoreError, match=r"phase 2 needs \[\(0, 3\)\]: each shard once, at distance 3"):
        phase2(tiny_dataset, hr, tmp_path, train_stores=tiny_dataset.test_stores[:1])


def test_phase2_learns_from_all_distances_where_it_is_told_to(tiny_dataset, hr, tmp_path):
    config = replace(CONFIG, fusion="gated", distances="all", batch_size=2)
    with pytest.raises(StoreError, match=r"each shard once, at every distance. .* arseg clips --all-distances"):
        phase2(tiny_dataset, hr, tmp_path, config)
    phase2(tiny_dataset, hr, tmp_path, config, train_stores=tiny_dataset.test_stores)
    spec, trained_on = read_checkpoint(tmp_path / "weights.pt")[1:3]
    assert (spec.fusion, trained_on.constants["distances"]) == ("gated", "all")
    assert "fuse_attention.gate.weight" in weights_of(tmp_path / "weights.pt")


def test_an_unknown_fusion_is_refused():
    with pytest.raises(ConfigError, match=r"fusion 'gates': expected one of creff, gated.* Did you mean 'gated'"):
        replace(CONFIG, fusion="gates")


def test_the_lr_branch_is_not_evaluated_beside_another_hr_branch(tiny_dataset, hr, tmp_path):
    phase2(tiny_dataset, hr, tmp_path)
    network, spec, trained_on = load_checkpoint(hr)
    save_checkpoint(tmp_path / "other.pt", network, spec, replace(trained_on, seed=99))
    words = {"stores": tiny_dataset.test_stores, "manifest": tiny_dataset.manifest, "mode": "ar", "scale_percent": 50}
    words |= {"lr": tmp_path / "weights.pt", "seed": 3, "device": "cpu", "workers": 0}
    assert evaluate(hr=hr, **words).is_complete
    with pytest.raises(CheckpointError, match="was trained beside another HR branch than the one given"):
        evaluate(hr=tmp_path / "other.pt", **words)


def test_phase2_refuses_a_baseline_as_hr_branch(tiny_dataset, hr, tmp_path):
    network, spec, trained_on = load_checkpoint(hr)
    save_checkpoint(tmp_path / "baseline.pt", network, replace(spec, scale_percent=50), trained_on)
    with pytest.raises(CheckpointError, match=r"baseline\.pt: scale_percent is 50, expected 100"):
        phase2(tiny_dataset, tmp_path / "baseline.pt", tmp_path)


def test_a_loss_that_is_no_number_stops_the_training(tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(
        Phase1, "batch_loss", lambda self, batch: {"nll": self.network(batch["image"]).scores.sum() * torch.nan}
    )
    with pytest.raises(ArsegError, match=r"training loss is nan in epoch 0\. Lower training\.learning_rate"):
        phase1(tiny_dataset, tmp_path)


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_without_labelled_pixels_stops_the_training(tiny_dataset, tmp_path, monkeypatch, split):
    ordinary = StillDataset.__getitem__

    def ignored(dataset, draw):
        item = ordinary(dataset, draw)
        return item | {"labels": torch.full_like(item["labels"], 255)} if dataset.split == split else item

    monkeypatch.setattr(StillDataset, "__getitem__", ignored)
    with pytest.raises(DataError, match=rf"split '{split}': no pixel has a label; all are 255 .* Name another split"):
        phase1(tiny_dataset, tmp_path)
    assert not (tmp_path / "weights.pt").exists()


@pytest.mark.parametrize("original_quirks", [False, True])
def test_an_absent_class_counts_in_validation_as_in_evaluation(tiny_dataset, tmp_path, monkeypatch, original_quirks):
    """Everything is predicted right, and one class occurs nowhere."""
    ordinary = StillDataset.__getitem__

    def without_class_1(dataset, draw):
        item = ordinary(dataset, draw)
        return item | {"labels": item["labels"].masked_fill(item["labels"] == 1, 255)}

    def right(phase, batch):
        classes = batch["labels"].long() % 255
        return torch.nn.functional.one_hot(classes, phase.spec.num_classes).permute(0, 3, 1, 2)

    monkeypatch.setattr(StillDataset, "__getitem__", without_class_1)
    monkeypatch.setattr(Phase1, "predict_frame", right)
    phase1(tiny_dataset, tmp_path, replace(CONFIG, original_quirks=original_quirks))
    expected = torch.nan if original_quirks else 1
    np.testing.assert_equal(pd.read_csv(tmp_path / "history.csv")["val_miou"].to_numpy(), [expected] * 2)
    trained_on = load_checkpoint(tmp_path / "weights.pt").trained_on
    np.testing.assert_equal((trained_on.score, trained_on.epoch), (torch.nan, 1) if original_quirks else (1, 0))


def test_a_validation_with_labels_of_a_network_gives_agreement(tiny_dataset, tmp_path, caplog, capsys):
    caplog.set_level(logging.INFO)
    manifest = read_manifest(tiny_dataset.manifest)
    labelled = [replace(row, labelled_by=TEACHER) for row in manifest.rows]
    write_manifest(tmp_path / "taught.csv", labelled, manifest.classes)
    run(*phase1_words(tmp_path / "taught.csv", tmp_path / "weights.pt", epochs=1))
    history = pd.read_csv(tmp_path / "history.csv")
    trained_on = load_checkpoint(tmp_path / "weights.pt").trained_on
    assert trained_on.score == pytest.approx(history["val_agreement"][0], rel=1e-4)
    told = f"agreement with HR {100 * trained_on.score:.2f} in validation"
    assert told in capsys.readouterr().out
    assert describe_checkpoint(tmp_path / "weights.pt")["score"] == told
    assert not [name for name in (*history, *caplog.messages) if "miou" in name.lower()]


def test_epochs_without_validation_have_no_score_in_the_history(tiny_dataset, tmp_path):
    phase1(tiny_dataset, tmp_path, replace(CONFIG, validate_every=2))
    assert pd.read_csv(tmp_path / "history.csv")["val_miou"].notna().tolist() == [False, True]


def test_learning_rate_follows_the_cosine_of_every_step(tiny_dataset, tmp_path, monkeypatch):
    rates, ordinary = [], torch.optim.Adam.step

    def step(optimizer, *words):
        rates.append(optimizer.param_groups[0]["lr"])
        return ordinary(optimizer, *words)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    phase1(tiny_dataset, tmp_path)
    # Ten samples make two batches of four; the schedule's length counts a third.
    expected = [0.5e-3 * (1 + torch.cos(torch.tensor(torch.pi * step / 6)).item()) for step in range(4)]
    assert rates == pytest.approx(expected, rel=1e-5)
