"""A branch trained on other motion than the paper's, from its clips to the labels of a video."""

import numpy as np
import pytest
import torch
from training_examples import phase1, phase2

from arseg.ar import ClipPredictor
from arseg.codec.decode import read_clip
from arseg.codec.encode import encode_clip
from arseg.config import TrainConfig
from arseg.data.clips import make_clip_stores
from arseg.data.images import read_image
from arseg.data.manifest import read_manifest
from arseg.infer import segment
from arseg.models.inference import labels_of
from arseg.motion.compose import compose_motion
from arseg.spec import Encoding, MotionRules

ENCODE = Encoding(codec="hevc", rate="qp30", gop=3, references=5, subpixel=True)
CONFIG = TrainConfig(
    crop="64x48", random_scales=(1.0,), jitter=0, epochs=1, batch_size=4, unfused_epochs=0, initial_weights="none"
)


@pytest.fixture(scope="module")
def trained(hevc_reader, tiny_dataset, tmp_path_factory):
    """Folder of an HR branch and of an LR branch that learnt from subpixel motion in groups of three pictures."""
    folder = tmp_path_factory.mktemp("trained")
    manifest = read_manifest(tiny_dataset.manifest)
    stores = {
        split: make_clip_stores(manifest, split, ENCODE, distances=[2], output=folder / split)
        for split in ("train", "val")
    }

    phase1(tiny_dataset.manifest, folder / "hr", CONFIG)
    words = {"train_stores": stores["train"], "val_stores": stores["val"]}
    phase2(tiny_dataset.manifest, folder / "hr/weights.pt", folder / "lr", CONFIG, **words)
    return folder


def test_a_video_is_segmented_with_the_motion_of_the_training(trained, tiny_dataset, tmp_path):
    last = max(read_manifest(tiny_dataset.manifest).split("train"), key=lambda row: row.frame_index)
    frames = np.stack([read_image(last.frame_path(offset)) for offset in range(-6, 1)])
    bitstream = encode_clip(frames, Encoding(codec="hevc", rate="qp30", gop=7, references=5)).bitstream
    (tmp_path / "own.hevc").write_bytes(bitstream)
    segmentation = segment(tmp_path / "own.hevc", [trained / "hr/weights.pt", trained / "lr/weights.pt"], device="cpu")
    found = list(segmentation)
    assert segmentation.motion == MotionRules(subpixel=True, gop=3, max_ref_back=5)
    assert [info.distance for *_, info in found] == [0, 1, 2, 0, 1, 2, 0]
    assert segmentation.keyframes == {"coded": 1, "distance": 2}

    clip = read_clip(bitstream, "hevc")
    blocks = clip.block_motion_qpel, clip.block_ref_back, clip.height, clip.width
    motion = compose_motion(*blocks, subpixel=True, max_ref_back=5)
    assert (motion[:3] != compose_motion(*blocks)[:3]).any()
    predict = ClipPredictor(segmentation.hr, segmentation.lr)
    images = [torch.from_numpy(frame)[None] for frame in clip.frames[:3]]
    with torch.inference_mode():
        scores = [predict(images[0], None, None)]
        scores += [predict(images[d], images[0], torch.from_numpy(motion[d])[None]) for d in (1, 2)]
    expected = [labels_of(one)[0].numpy() for one in scores]
    np.testing.assert_array_equal([labels for _, labels, _ in found[:3]], expected)
