"""The protocol on tiny stores: two videos, three annotated frames in a row in one of them, L = 3."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from arseg.ar import ClipPredictor
from arseg.cli.main import main
from arseg.data.manifest import ManifestRow, read_manifest, write_manifest
from arseg.errors import CheckpointError, ConfigError, DataError, StoreError
from arseg.evaluate.complexity import gmacs_per_frame
from arseg.evaluate.protocol import evaluate
from arseg.evaluate.result import load_evaluation, merge_evaluations
from arseg.models.branch import load_branch
from arseg.models.checkpoint import load_checkpoint, save_checkpoint
from arseg.models.inference import warp_keyframe
from arseg.models.pixels import normalize
from arseg.models.registry import build_network
from arseg.models.resize import resize
from arseg.models.tiny import FEATURE_CHANNELS
from arseg.plots.panel import qualitative_panel
from arseg.spec import NORMALIZATIONS, Encoding, NetworkSpec, SegmentationClass, TrainedOn
from arseg.split import SplitFrames, open_split
from arseg.store import ClipIdentity, ClipStore, StoreAttributes
from arseg.store_writer import create_stores

K, L = 3, 3
HEIGHT, WIDTH = 40, 56
FRAMES = (("a", 10), ("a", 11), ("a", 12), ("b", 20))
CLASSES = [
    SegmentationClass(index, name, (60 * index, 100, 200), name == "void")
    for index, name in enumerate(("sky", "road", "void"))
]


def picture(sequence, index):
    rng = np.random.default_rng([ord(sequence), index])
    blocks = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return np.repeat(np.repeat(blocks, 8, axis=0), 8, axis=1)


LOW = (HEIGHT // 2, WIDTH // 2)

ENCODING = Encoding(rate="375k", references=4, parameters="aq-mode=1", subpixel=True)


def write_stores(folder, digest, num_shards=1, gop=L, height=HEIGHT, still=False):
    contents = {}
    for shard in range(num_shards):
        for distance in range(gop):
            attributes = StoreAttributes(
                dataset="tiny",
                split="test",
                manifest_digest=digest,
                encoding=replace(ENCODING, gop=gop),
                distance=distance,
                shard=shard,
                num_shards=num_shards,
            )
            identities = [
                ClipIdentity(seq, t, t - distance, "", "", str(folder.parent / f"{seq}{t}.png"))
                for seq, t in FRAMES[shard::num_shards]
            ]
            contents[folder / f"s{shard}d{distance}.h5"] = (attributes, identities)
    with create_stores(contents) as writers:
        for path, (attributes, identities) in contents.items():
            for index, identity in enumerate(identities):
                rng = np.random.default_rng([identity.frame_index, attributes.distance])
                motion = rng.integers(-24, 24, (height, WIDTH, 2), dtype=np.int16)
                if still or not attributes.distance:
                    motion[:] = 0
                writers[path].write(
                    index,
                    keyframe=picture(identity.sequence, identity.frame_index if still else identity.keyframe_index)[
                        :height
                    ],
                    frame=picture(identity.sequence, identity.frame_index)[:height],
                    motion_qpel=motion,
                    intra=np.zeros((-(-height // 4), WIDTH // 4), dtype=bool),
                )
            if identities:
                writers[path].record_encoder("x265 4.1", "")
    return list(contents)


def save_network(
    path,
    *,
    scale_percent,
    fusion=False,
    classes=CLASSES,
    normalization="camvid",
    warp_alignment="published",
    **trained_on,
):
    torch.manual_seed(sum(path.stem.encode()))
    network = build_network("tiny", K, fusion)
    last = network.last_convolution
    with torch.no_grad():  # untrained, it would predict one class everywhere
        last.weight -= last.weight.mean(dim=1, keepdim=True)
        torch.nn.init.zeros_(last.bias)
    spec = NetworkSpec("tiny", K, fusion, scale_percent, normalization, warp_alignment, tuple(classes))
    save_checkpoint(path, network, spec, TrainedOn(seed=7, **trained_on))
    return path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Files of a tiny experiment, by name."""
    folder = tmp_path_factory.mktemp("tiny")
    rows = [
        ManifestRow("tiny", "test", seq, t, f"{seq}{t}.jpg", str(folder / f"{seq}{t}.png"), "", 0) for seq, t in FRAMES
    ]
    for row in rows:
        rng = np.random.default_rng(row.frame_index)
        label = rng.choice([0, 1, 2, 255], (HEIGHT, WIDTH)).astype(np.uint8)
        Image.fromarray(label).save(row.label)
    manifest = folder / "manifest.csv"
    write_manifest(manifest, rows, CLASSES)
    return {
        "folder": folder,
        "manifest": manifest,
        "stores": write_stores(folder / "whole", read_manifest(manifest).digest),
        "hr": save_network(folder / "hr.pt", scale_percent=100),
        "lr": save_network(folder / "lr.pt", scale_percent=50),
        "ar": save_network(folder / "ar.pt", fusion=True, scale_percent=50, warp_alignment="consistent"),
    }


def run(tiny, mode, **changes):
    request = {
        "stores": tiny["stores"],
        "manifest": tiny["manifest"],
        "mode": mode,
        "scale_percent": 50 if mode in ("lr", "ar") else 100,
        "hr": None if mode == "lr" else tiny["hr"],
        "lr": tiny[mode] if mode in ("lr", "ar") else None,
        "seed": 7,
        "device": "cpu",
        "workers": 0,
    }
    return evaluate(**{**request, **changes})


@pytest.fixture(scope="module")
def evaluations(tiny):
    return {mode: run(tiny, mode) for mode in ("hr", "lr", "warp", "ar")}


def reference_confusions(tiny, mode):
    """The protocol written down once more: store by store, sample by sample, nothing shared."""
    networks = {name: load_checkpoint(tiny[name])[0] for name in ("hr", "lr", "ar")}
    confusions = np.zeros((L, K, K), dtype=np.int64)
    for path in tiny["stores"]:
        with ClipStore(path) as store, torch.no_grad():
            distance = store.attributes.distance
            for index in range(len(store)):
                clip = store.read(index)
                frame, keyframe = (
                    normalize(torch.from_numpy(pixels)[None], NORMALIZATIONS["camvid"])
                    for pixels in (clip.frame, clip.keyframe)
                )
                if mode == "hr" or (mode in ("warp", "ar") and distance == 0):
                    scores = resize(networks["hr"](frame).scores, frame.shape[2:])
                elif mode == "lr":
                    scores = resize(networks["lr"](resize(frame, LOW)).scores, frame.shape[2:])
                else:
                    feature = networks["hr"].encode(keyframe).feature
                    warped = warp_keyframe(feature, torch.from_numpy(clip.motion_qpel)[None], "consistent")
                if mode == "warp" and distance:
                    scores = resize(networks["hr"].classify(warped, frame.shape[2:]), frame.shape[2:])
                elif mode == "ar" and distance:
                    low = networks["ar"].encode(resize(frame, LOW)).feature
                    scores = resize(networks["ar"].classify(networks["ar"].fuse(warped, low)), frame.shape[2:])
                label = np.array(Image.open(clip.identity.label))
                counted = label != 255
                np.add.at(confusions[distance], (label[counted], scores[0].argmax(0).numpy()[counted]), 1)
    return confusions


@pytest.mark.parametrize("mode", ["hr", "lr", "warp", "ar"])
def test_counts_are_those_of_the_plain_protocol(tiny, evaluations, mode):
    confusions = evaluations[mode].confusions
    np.testing.assert_array_equal(confusions, reference_confusions(tiny, mode))
    assert (confusions.sum(axis=(0, 1)) > 0).sum() >= 2, "a network that predicts one class tests nothing"


def test_the_protocols_differ_but_those_with_keyframes_begin_with_hr(evaluations):
    hr, lr, warp, ar = (evaluations[mode].confusions for mode in ("hr", "lr", "warp", "ar"))
    for method in (warp, ar):
        np.testing.assert_array_equal(method[0], hr[0])
        assert (method[1:] != hr[1:]).any()
    assert (ar[1:] != lr[1:]).any()
    assert (ar[1:] != warp[1:]).any()
    assert (hr != lr).any()


def test_where_nothing_moves_the_warp_alone_is_the_hr_branch(tiny, evaluations):
    digest = read_manifest(tiny["manifest"]).digest
    stores = write_stores(tiny["folder"] / "still", digest, still=True)
    warp = run(tiny, "warp", stores=stores)
    np.testing.assert_array_equal(warp.confusions, run(tiny, "hr", stores=stores).confusions)


def test_the_warp_alone_costs_its_keyframes_and_a_last_convolution(evaluations):
    hr, warp = evaluations["hr"].gmacs_per_frame, evaluations["warp"].gmacs_per_frame
    last = FEATURE_CHANNELS * K * (HEIGHT // 4) * (WIDTH // 4)
    assert warp == pytest.approx((hr + (L - 1) * last / 1e9) / L, rel=1e-12)


def test_evaluation_says_what_it_depends_on(tiny, evaluations):
    evaluation = evaluations["ar"]
    settings = evaluation.settings
    assert (settings.dataset, settings.split, settings.backbone) == ("tiny", "test", "tiny")
    assert settings.encoding == replace(ENCODING, gop=L)
    assert (settings.mode, settings.scale_percent, settings.seed) == ("ar", 50, 7)
    assert settings.class_names == ("sky", "road", "void")
    assert settings.void == (False, False, True)
    assert settings.manifest_digest == read_manifest(tiny["manifest"]).digest
    assert sorted(settings.checkpoints) == ["hr", "lr"]
    assert settings.checkpoints["hr"] != settings.checkpoints["lr"]
    assert (evaluation.shards, evaluation.encoders) == ((0,), ("x265 4.1",))
    np.testing.assert_array_equal(evaluation.num_frames, [4, 4, 4])
    assert evaluation.gmacs_per_frame == gmacs_per_frame("tiny", K, HEIGHT, WIDTH, "ar", 50, L)
    assert evaluations["hr"].settings.checkpoints == {"hr": settings.checkpoints["hr"]}


@pytest.mark.usefixtures("loader_processes")
def test_order_and_workers_do_not_matter(tiny, evaluations):
    again = run(tiny, "ar", stores=tiny["stores"][::-1], workers=1)
    np.testing.assert_array_equal(again.confusions, evaluations["ar"].confusions)
    assert again.settings == evaluations["ar"].settings


def test_shards_add_up_to_the_split(tiny, evaluations, tmp_path):
    digest = read_manifest(tiny["manifest"]).digest
    stores = write_stores(tiny["folder"] / "sharded", digest, num_shards=5)  # the last shard is empty
    parts = [run(tiny, "ar", stores=stores[L * shard : L * (shard + 1)]) for shard in range(5)]
    assert np.isnan(parts[4].gmacs_per_frame)
    assert parts[4].confusions.sum() == 0
    merged = merge_evaluations(parts)
    np.testing.assert_array_equal(merged.confusions, evaluations["ar"].confusions)
    np.testing.assert_array_equal(run(tiny, "ar", stores=stores).confusions, merged.confusions)
    assert merged.is_complete
    assert merged.gmacs_per_frame == evaluations["ar"].gmacs_per_frame


def test_a_keyframe_is_encoded_once_for_all_its_frames(tiny):
    manifest = read_manifest(tiny["manifest"])
    cpu = torch.device("cpu")
    hr = load_branch(tiny["hr"], role="hr", scale_percent=100, class_names=manifest.class_names, device=cpu)
    ar = load_branch(tiny["ar"], role="ar", scale_percent=50, class_names=manifest.class_names, device=cpu, beside=hr)
    encoded = []
    hr.network.encode = lambda image, encode=hr.network.encode: encoded.append(1) or encode(image)
    predictor = ClipPredictor(hr, ar)
    frames = SplitFrames(open_split(tiny["stores"], manifest), K, with_keyframes=True)
    fused = 0
    with torch.inference_mode():
        for index in range(len(frames)):
            frame = frames[index]
            if frame.keyframe is not None:
                predictor(frame.image[None], frame.keyframe[None], frame.motion_qpel[None])
                fused += 1
    # Keyframes of a: 8, 9 (twice), 10 (twice), 11; of b: 18, 19.
    assert fused == 8
    assert len(encoded) == 6


def test_frames_unlike_those_of_the_training_are_noted(tiny, tmp_path, caplog):
    hr = save_network(tmp_path / "hr.pt", scale_percent=100, frame_size=(960, 720))
    with caplog.at_level("INFO"):
        run(tiny, "hr", hr=hr)
    assert any("tiny test: 12 frames in" in message and "frames/s on cpu" in message for message in caplog.messages)
    (told,) = [message for message in caplog.messages if "trained on" in message]
    assert told.startswith("tiny test: the network was trained on frames of 960x720 pixels, these have ")


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        (None, ["subpixel True instead of False, gop 3 instead of 12, max_ref_back 4 instead of 3"]),
        (replace(ENCODING, gop=3, subpixel=False), ["subpixel True instead of False"]),
        (replace(ENCODING, gop=3), []),
    ],
)
def test_stores_of_other_motion_than_the_training_are_noted(tiny, tmp_path, caplog, encoding, told):
    ar = save_network(tmp_path / "ar.pt", fusion=True, scale_percent=50, encoding=encoding)
    run(tiny, "ar", lr=ar)
    expected = [
        f"{replace(ENCODING, gop=L).name} holds other motion than the LR branch was trained on: {one}" for one in told
    ]
    assert [message for message in caplog.messages if "trained on" in message] == expected


# What does not fit together


@pytest.mark.parametrize(
    ("mode", "changes", "error", "message"),
    [
        ("hr", {"hr": None}, ConfigError, r"mode hr: expected the checkpoint\(s\) hr, found none"),
        ("ar", {"lr": None}, ConfigError, r"mode ar: expected the checkpoint\(s\) hr, lr, found hr"),
        ("lr", {"hr": "hr.pt"}, ConfigError, r"mode lr: expected the checkpoint\(s\) lr, found hr, lr"),
        ("warp", {"lr": "ar"}, ConfigError, r"mode warp: expected the checkpoint\(s\) hr, found hr, lr"),
        ("warp", {"scale_percent": 50}, ConfigError, r"scale_percent 50: mode warp is full resolution"),
        ("lr", {"scale_percent": 0}, ConfigError, r"scale_percent 0: expected 1 to 100"),
        ("hr", {"device": "tpu"}, ConfigError, r"--device tpu: expected"),
        ("lr", {"lr": "ar"}, CheckpointError, r"ar.pt: fusion is True, expected False in the role 'lr'"),
        ("ar", {"lr": "lr"}, CheckpointError, r"lr.pt: fusion is False, expected True in the role 'ar'"),
        ("hr", {"hr": "lr"}, CheckpointError, r"lr.pt: scale_percent is 50, expected 100 in the role 'hr'"),
        ("lr", {"scale_percent": 70}, CheckpointError, r"lr.pt: scale_percent is 50, expected 70"),
        ("hr", {"stores": [0, 2]}, StoreError, r"no store\(s\) of shard 0 at distance 1, .* from 0 to 2 \(gop 3\)"),
        ("hr", {"stores": [0, 1, 2, 2]}, StoreError, r"2 store\(s\) of shard 0 at distance 2"),
        ("hr", {"stores": []}, StoreError, "no clip store given"),
    ],
)
def test_requests_that_cannot_work(tiny, mode, changes, error, message):
    changes = {
        name: [tiny["stores"][index] for index in value] if name == "stores" else tiny.get(value, value)
        for name, value in changes.items()
    }
    with pytest.raises(error, match=message):
        run(tiny, mode, **changes)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"classes": CLASSES[::-1]}, r"class_names is \('void', 'road', 'sky'\), expected \('sky'"),
        ({"normalization": "bisenet"}, r"was trained with bisenet normalisation, its HR branch with another"),
        ({"normalization": "other"}, r"normalization 'other': expected one of camvid, imagenet, bisenet"),
    ],
)
def test_checkpoints_of_other_data(tiny, tmp_path, metadata, message):
    path = save_network(tmp_path / "other.pt", fusion=True, scale_percent=50, **metadata)
    with pytest.raises(CheckpointError, match=message):
        run(tiny, "ar", lr=path)


def test_checkpoint_of_another_number_of_classes(tiny, tmp_path):
    rows, manifest = read_manifest(tiny["manifest"]).rows, tmp_path / "manifest.csv"
    write_manifest(manifest, rows, [*CLASSES, SegmentationClass(3, "car", (1, 2, 3), False)])
    stores = write_stores(tmp_path / "stores", read_manifest(manifest).digest)
    with pytest.raises(CheckpointError, match=r"num_classes is 3, expected 4"):
        run(tiny, "hr", manifest=manifest, stores=stores)


def test_stores_of_another_manifest(tiny, tmp_path):
    stores = write_stores(tmp_path / "stores", "f" * 64)
    with pytest.raises(StoreError, match=r"s0d0.h5: made from a manifest with digest ffffffffffff…"):
        run(tiny, "hr", stores=stores)


def test_stores_of_two_encodings(tiny, tmp_path):
    digest = read_manifest(tiny["manifest"]).digest
    longer = write_stores(tmp_path / "longer", digest, gop=4)
    with pytest.raises(StoreError, match=r"s0d3.h5: differs in its encoding from .*s0d0.h5: gop 4 and 3\."):
        run(tiny, "hr", stores=[*tiny["stores"], longer[3]])


@pytest.mark.usefixtures("loader_processes")
@pytest.mark.parametrize("workers", [0, 1])
def test_label_of_another_size_is_named_without_a_traceback(tiny, tmp_path, workers):
    digest = read_manifest(tiny["manifest"]).digest
    stores = write_stores(tiny["folder"] / f"cut{workers}", digest, height=HEIGHT - 8)
    with pytest.raises(DataError) as caught:
        run(tiny, "hr", stores=stores, workers=workers)
    assert str(caught.value).startswith(f"{tiny['folder'] / 'a10.png'}: the label map has 56x40 pixels, the decoded")
    assert "Traceback" not in str(caught.value)


def test_frames_without_labels_are_refused(tiny, tmp_path):
    with ClipStore(tiny["stores"][0]) as store:
        attributes, clip = store.attributes, store.read(0)
    path = tmp_path / "store.h5"
    with create_stores({path: (attributes, [ClipIdentity("a", 10, 10, "a10.jpg", "", "")])}) as writers:
        arrays = {name: getattr(clip, name) for name in ("keyframe", "frame", "motion_qpel", "intra")}
        writers[path].write(0, **arrays)
    with pytest.raises(DataError, match=r"store.h5: a10.jpg has no label map"):
        run(tiny, "hr", stores=[path])


# The panel reads the same files


def relabelled(tiny, folder, num_labelled):
    """Return a manifest whose first rows HR has labelled, and stores made from it."""
    rows = read_manifest(tiny["manifest"]).rows
    rows = [replace(row, labelled_by="HR" if i < num_labelled else "") for i, row in enumerate(rows)]
    write_manifest(folder / "manifest.csv", rows, CLASSES)
    return {
        "manifest": folder / "manifest.csv",
        "stores": write_stores(tiny["folder"] / folder.name, read_manifest(folder / "manifest.csv").digest),
    }


def test_the_labels_of_a_network_are_told_by_its_evaluation(tiny, evaluations, tmp_path, capsys):
    made = relabelled(tiny, tmp_path, len(FRAMES))
    words = ["--manifest", made["manifest"], "--stores", *made["stores"], "--hr", tiny["hr"], "--device", "cpu"]
    main([*map(str, ["evaluate", "--mode", "hr", *words, "--workers", 0, "--output", tmp_path / "hr.npz"])])
    found = load_evaluation(tmp_path / "hr.npz")
    assert found.settings.labelled_by == "HR"
    np.testing.assert_array_equal(found.confusions, evaluations["hr"].confusions)
    np.testing.assert_array_equal(found.columns["agreement"], evaluations["hr"].miou)
    assert f"(mean agreement with HR {100 * evaluations['hr'].miou.mean():.2f})" in capsys.readouterr().out


def test_a_split_with_labels_of_both_kinds_is_refused(tiny, tmp_path):
    made = relabelled(tiny, tmp_path, 1)
    with pytest.raises(DataError, match=r"data set tiny: some labels of the split 'test' are HR's, others are true"):
        run(tiny, "hr", **made)


def test_panel_from_stores_and_checkpoints(tiny, tmp_path):
    request = {"manifest": tiny["manifest"], "hr_path": tiny["hr"], "lr_path": tiny["lr"], "ar_path": tiny["ar"]}
    output = tmp_path / "panel.png"
    qualitative_panel(stores=tiny["stores"][2:], output=output, device="cpu", num_rows=2, **request)
    with Image.open(output) as image:
        assert image.size[0] == int(4 * 2.9 * 160)
    with pytest.raises(StoreError, match=r"stores at distances 0, 1, 2; a panel shows one distance above 0"):
        qualitative_panel(stores=tiny["stores"], output=output, device="cpu", **request)
    with pytest.raises(DataError, match=r"no sample 4; the stores have 0 to 3"):
        qualitative_panel(stores=tiny["stores"][2:], output=output, device="cpu", indices=[0, 4], **request)


def test_a_fusion_that_uses_evidence_refuses_stores_without(tiny, tmp_path):
    path = save_network(tmp_path / "ar.pt", fusion="gated-codec", scale_percent=50, warp_alignment="consistent")
    with pytest.raises(StoreError, match=r"s0d0.h5: holds no evidence of the codec.* Delete the file and run again"):
        run(tiny, "ar", lr=path)
