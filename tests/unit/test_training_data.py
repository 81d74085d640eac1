from dataclasses import replace

import numpy as np
import pytest
import torch

from arseg.config import TrainConfig
from arseg.data.clips import make_clip_stores
from arseg.data.manifest import read_manifest
from arseg.errors import ConfigError, DataError
from arseg.spec import Encoding
from arseg.split import open_stores, open_training_stores
from arseg.store import ClipStore
from arseg.train.data import Draw, PairDataset, SeededSampler, StillDataset, training_loader, validation_loader
from arseg.workers import FEW_SAMPLES

CONFIG = TrainConfig(crop="32x32", random_scales=(0.75, 1.0), batch_size=2)


@pytest.fixture(scope="module")
def manifest(tiny_dataset):
    return read_manifest(tiny_dataset.manifest)


def pairs(tiny_dataset, manifest, stores=None, *, augmented=True, **options):
    opened = open_stores(stores or tiny_dataset.train_stores, manifest)
    return PairDataset(opened, manifest.num_classes, CONFIG, augmented=augmented, **options)


def test_sampler_goes_through_all_samples_in_an_order_of_its_own_each_epoch():
    sampler = SeededSampler(20, seed=1, shuffle=True)
    first = [draw.sample for draw in sampler]
    sampler.begin_epoch(1, first_batch=0)
    second = [draw.sample for draw in sampler]
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
    assert first == [draw.sample for draw in SeededSampler(20, seed=1, shuffle=True)]
    assert first != [draw.sample for draw in SeededSampler(20, seed=2, shuffle=True)]
    assert len({draw.seed for draw in [*sampler, *SeededSampler(20, seed=1, shuffle=False)]}) == 40, (
        "augmentations, too"
    )


@pytest.mark.parametrize(("samples", "drop_last"), [(20, True), (22, True), (22, False)])
def test_processes_share_each_batch(samples, drop_last):
    def draws(process, processes):
        words = {"shuffle": True, "batch_size": 4, "drop_last": drop_last, "process": process, "processes": processes}
        sampler = SeededSampler(samples, 1, **words)
        found = list(sampler)
        assert len(found) == len(sampler)
        return found

    whole, first, second = draws(0, 1), draws(0, 2), draws(1, 2)
    for batch in range(samples // 4):
        assert whole[4 * batch : 4 * batch + 4] == [
            *first[2 * batch : 2 * batch + 2],
            *second[2 * batch : 2 * batch + 2],
        ]
    assert len(whole) == (20 if drop_last else samples)
    assert {*whole} == {*first, *second}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.usefixtures("loader_processes")
def test_a_loader_goes_on_behind_the_batches_that_were_trained(manifest, workers):
    config = replace(CONFIG, batch_size=2)
    dataset = StillDataset(manifest.split("train"), manifest.num_classes, config, augmented=True)

    def images(loader, epoch, first_batch=0):
        loader.sampler.begin_epoch(epoch, first_batch)
        return [batch["image"] for batch in loader]

    whole = images(training_loader(dataset, config, 1, workers), 3)
    resumed = training_loader(dataset, config, 1, workers)
    rest = images(resumed, 3, first_batch=2)
    assert len(rest) == len(whole) - 2
    assert all(torch.equal(one, other) for one, other in zip(rest, whole[2:], strict=True))
    assert len(images(resumed, 4)) == len(whole)


def test_training_items_are_crops_and_validation_items_whole_unchanged_frames(tiny_dataset, manifest):
    item = pairs(tiny_dataset, manifest)[Draw(0, "a")]
    assert item["image"].shape == item["keyframe"].shape == (32, 32, 3)
    assert item["image"].dtype == item["labels"].dtype == torch.uint8
    item = pairs(tiny_dataset, manifest, augmented=False)[Draw(2, "any")]
    assert item["image"].shape == item["keyframe"].shape == (48, 64, 3)
    with ClipStore(tiny_dataset.train_stores[0]) as store:
        np.testing.assert_array_equal(item["motion_qpel"].numpy(), store.read_motion(2))


def test_pairs_have_evidence_where_a_fusion_uses_it(tiny_dataset, manifest):
    item = pairs(tiny_dataset, manifest, with_evidence=True)[Draw(0, "a")]
    assert (item["evidence"].shape, item["evidence"].dtype) == ((32, 32, 3), torch.uint8)
    item = pairs(tiny_dataset, manifest, augmented=False, with_evidence=True)[Draw(2, "any")]
    with ClipStore(tiny_dataset.train_stores[0]) as store:
        np.testing.assert_array_equal(item["evidence"].numpy(), store.read_evidence(2))
    assert (item["evidence"][..., 0] == 3).all(), "as many steps as frames"
    assert "evidence" not in pairs(tiny_dataset, manifest)[Draw(0, "a")]


def test_a_crop_that_the_published_programs_cannot_cover_arrives_as_an_error(manifest):
    config = replace(CONFIG, crop="128x48", original_quirks=True)
    item = StillDataset(manifest.split("train"), manifest.num_classes, config, augmented=True)[Draw(0, "a")]
    assert isinstance(item, ConfigError)
    assert "training.crop 128x48" in str(item)


def test_pairs_take_the_uncompressed_frames(tiny_dataset, manifest):
    stills = StillDataset(manifest.split("train"), manifest.num_classes, CONFIG, augmented=False)
    pair = pairs(tiny_dataset, manifest, augmented=False)
    for sample in range(len(stills)):
        torch.testing.assert_close(pair[Draw(sample, "a")]["image"], stills[Draw(sample, "a")]["image"], rtol=0, atol=0)


@pytest.mark.usefixtures("loader_processes")
def test_batches_do_not_depend_on_the_number_of_loader_processes(tiny_dataset, manifest):
    dataset = pairs(tiny_dataset, manifest)
    for alone, helped in zip(
        training_loader(dataset, CONFIG, seed=5, workers=0),
        training_loader(dataset, CONFIG, seed=5, workers=2),
        strict=True,
    ):
        assert alone.keys() == helped.keys()
        assert all(torch.equal(alone[key], helped[key]) for key in alone)


def test_samples_do_not_depend_on_how_clips_were_sharded(tiny_dataset, manifest, tmp_path):
    encode = Encoding(codec="h264", rate="200k", gop=4)
    shards = [
        path
        for shard in range(3)
        for path in make_clip_stores(
            manifest, "train", encode, distances=[3], output=tmp_path / str(shard), shard=shard, num_shards=3
        )
    ]
    whole, parts = pairs(tiny_dataset, manifest), pairs(tiny_dataset, manifest, shards[::-1])
    assert len(whole) == len(parts) == 10
    for sample in range(len(whole)):
        first, second = whole[Draw(sample, f"{sample}")], parts[Draw(sample, f"{sample}")]
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_samples_draw_one_of_the_distances_but_the_keyframes_own(tiny_dataset, manifest):
    stores = open_training_stores(tiny_dataset.test_stores, manifest, every_distance=True)
    whole = PairDataset(stores, manifest.num_classes, CONFIG, augmented=False)
    assert len(whole) == len({stored.identity.image for stored in stores.samples if stored.distance > 0})
    draws = [whole[Draw(1, str(seed))]["keyframe"] for seed in range(20)]
    assert len({tuple(keyframe.flatten().tolist()) for keyframe in draws}) == 3
    assert torch.equal(whole[Draw(1, "7")]["keyframe"], draws[7])


def test_processes_are_started_for_many_samples_only(manifest):
    few = StillDataset(manifest.split("train"), manifest.num_classes, CONFIG, augmented=True)
    many = StillDataset(manifest.split("train") * FEW_SAMPLES, manifest.num_classes, CONFIG, augmented=True)
    once = replace(CONFIG, epochs=1)
    assert training_loader(few, once, seed=0, workers=2).num_workers == 0
    assert training_loader(many, once, seed=0, workers=2).num_workers == 2
    assert training_loader(few, replace(CONFIG, epochs=FEW_SAMPLES), seed=0, workers=2).num_workers == 2
    assert validation_loader(few, workers=2).num_workers == 0
    assert validation_loader(many, workers=2).num_workers == 2


def test_a_split_smaller_than_a_batch_is_refused(manifest):
    dataset = StillDataset(manifest.split("val")[:1], manifest.num_classes, CONFIG, augmented=True)
    with pytest.raises(DataError, match=r"1 samples, fewer than one batch of 2: set training\.batch_size"):
        training_loader(dataset, CONFIG, seed=0, workers=0)


@pytest.mark.usefixtures("loader_processes")
def test_an_unreadable_frame_arrives_as_its_own_error_and_not_as_a_traceback(manifest, tmp_path):
    rows = list(manifest.split("train"))
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    rows[1] = type(rows[1])(**(vars(rows[1]) | {"image": str(broken)}))
    dataset = StillDataset(rows, manifest.num_classes, CONFIG, augmented=False)
    items = list(validation_loader(dataset, workers=1))
    assert isinstance(items[1], DataError)
    assert "broken.png" in str(items[1])
    assert "Traceback" not in str(items[1])


def test_rows_without_labels_cannot_be_trained_on(manifest):
    row = manifest.split("train")[0]
    unlabelled = type(row)(**(vars(row) | {"label": ""}))
    with pytest.raises(DataError, match="needs labels for training"):
        StillDataset([unlabelled], manifest.num_classes, CONFIG, augmented=True)
