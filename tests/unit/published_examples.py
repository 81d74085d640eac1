"""Networks as the published programs write them, and miniature trees of theirs, under the published names.

Pictures are noise of a few pixels' grain: nothing here is compressed, so nothing has to be compressible.
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from arseg.compat.checkpoints import export_network
from arseg.models.registry import build_network
from arseg.models.state_dict import without_prefix
from arseg.spec import SegmentationClass

CLASSES = tuple(SegmentationClass(i, f"class{i}", (i, 2 * i, 3 * i), i == 4) for i in range(5))
HEIGHT, WIDTH = 48, 64
CAMVID_NAMES = ("0001TP_006690", "0016E5_00420", "Seq05VD_f00000", "Seq05VD_f00060")
CITYSCAPES_NAMES = ("frankfurt_000000_000294", "munster_000001_000019")
LABEL_IDS = (0, 3, 7, 8, 11, 21, 23, 26, 33)
"""Of the official table: the first two are no train ids."""

DECODED = {
    "0001TP_006690": ("0001TP", 31),
    "0016E5_00420": ("0016E5", 422),
    "Seq05VD_f00000": ("Seq05VD", 2),
    "Seq05VD_f00060": ("Seq05VD", 62),
}
"""Video and decoded number, by docs/method.md, 'CamVid'."""


@cache
def example(backbone, fusion):
    """A network of 5 classes whose tensors all differ from those of a fresh one."""
    torch.manual_seed(len(backbone) + fusion)
    network = build_network(backbone, 5, fusion)
    network(torch.randn(2, 3, 32, 32))  # moves the batch-norm statistics
    return network.eval()


def published(backbone, fusion):
    """Its tensors as the published programs list them, without the prefix."""
    return without_prefix(export_network(example(backbone, fusion), backbone, fusion=fusion))


def assert_same_network(found, expected):
    assert found.state_dict().keys() == expected.state_dict().keys()
    assert all(torch.equal(tensor, expected.state_dict()[name]) for name, tensor in found.state_dict().items())
    image = torch.randn(1, 3, 40, 56, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        one, other = found(image), expected(image)
        assert torch.equal(one.scores, other.scores)
        if expected.fuse_attention is not None:
            assert torch.equal(found.fuse(one.feature, one.feature), expected.fuse(other.feature, other.feature))


def picture(*seed: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """RGB noise in blocks of 4 pixels, shape (H, W, 3)."""
    blocks = np.random.default_rng(seed).integers(0, 256, (-(-height // 4), -(-width // 4), 3), dtype=np.uint8)
    return blocks.repeat(4, axis=0).repeat(4, axis=1)[:height, :width]


def save_picture(path: Path, array: NDArray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def save_motion(path: Path, motion_qpel: NDArray[np.int16]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    motion_qpel.astype("<i2").tofile(path)


def motion(*seed: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.int16]:
    """Motion of a few pixels, int16 quarter pixels, shape (H, W, 2)."""
    return np.random.default_rng(seed).integers(-24, 25, (height, width, 2), dtype=np.int16)


def write_camvid_sample(
    tree: Path,
    name: str,
    distance: int,
    *,
    located: tuple[str, int],
    frame: NDArray[np.uint8],
    label: NDArray[np.uint8],
    keyframe: NDArray[np.uint8] | None = None,
    motion_qpel: NDArray[np.int16] | None = None,
    split: str = "test",
    label_suffix: str = "",
) -> None:
    """Write the files of one annotated frame at one distance; `located` is its video and decoded number."""
    gop = tree.name.partition("-")[2]
    sequence, index = located
    decoded = tree / f"decoded_{gop}_dist_{distance}"
    save_picture(decoded / split / f"{name}.png", frame)
    save_picture(decoded / f"{split}_labels_with_ignored" / f"{name}{label_suffix}.png", label)
    if keyframe is not None and motion_qpel is not None:
        save_picture(tree / "frames" / sequence / f"{sequence}_{index - distance:06d}.png", keyframe)
        save_motion(tree / f"MVmap_{gop}_dist_{distance}" / sequence / f"{name}.bin", motion_qpel)


def write_camvid_tree(data_root: Path, *, gop: int = 3, split: str = "test", label_suffix: str = "") -> Path:
    """Write `CAMVID_NAMES` at all distances, Seq05VD_f00000 at d = 0 only; give the tree's folder."""
    tree = data_root / "camvid-sequence" / f"3M-GOP{gop}"
    for number, name in enumerate(CAMVID_NAMES):
        label = np.random.default_rng(number).choice([*range(12), 255], (HEIGHT, WIDTH)).astype(np.uint8)
        for distance in range(gop):
            if name == "Seq05VD_f00000" and distance:
                continue
            write_camvid_sample(
                tree,
                name,
                distance,
                located=DECODED[name],
                frame=picture(number, distance),
                label=label,
                keyframe=picture(number, distance, 1) if distance else None,
                motion_qpel=motion(number, distance) if distance else None,
                split=split,
                label_suffix=label_suffix,
            )
    return tree


def write_cityscapes_tree(
    data_root: Path, *, gop: int = 2, collection: str = "leftImg8bit_sequence", stem: str = "_leftImg8bit"
) -> Path:
    """Write `CITYSCAPES_NAMES` in split val at all distances; give the tree's folder.

    `stem` is what follows a frame's name in the names of decoded annotated frames: published trees have
    ``_leftImg8bit`` or ``_gtFine_leftImg8bit``.
    """
    tree = data_root / collection / f"5M-GOP{gop}"
    for number, name in enumerate(CITYSCAPES_NAMES):
        sequence, _, index = name.rpartition("_")
        city = name.partition("_")[0]
        label = np.random.default_rng(number).choice(LABEL_IDS, (HEIGHT, WIDTH)).astype(np.uint8)
        for distance in range(gop):
            decoded = tree / f"decoded_GOP{gop}_dist_{distance}"
            save_picture(decoded / "leftImg8bit/val" / city / f"{name}{stem}.png", picture(number, distance))
            save_picture(decoded / "gtFine/val" / city / f"{name}_gtFine_labelIds.png", label)
            if distance:
                keyframe = tree / "frames/val" / city / f"{sequence}_{int(index) - distance:06d}_leftImg8bit.png"
                save_picture(keyframe, picture(number, distance, 1))
                save_motion(
                    tree / f"MVmap_GOP{gop}_dist_{distance}/val" / city / f"{name}_gtFine_leftImg8bit.bin",
                    motion(number, distance),
                )
    return tree
