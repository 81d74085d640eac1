"""Cityscapes in miniature: the true names, two snippets in each of two splits, textures that move."""

import numpy as np
from PIL import Image
from video_examples import moving_texture

ANNOTATED_POSITION = 19

SNIPPETS = {
    ("train", "aachen", "000000", 19): (2, 1),
    ("train", "aachen", "000001", 19): (-1, 2),
    ("val", "frankfurt", "000000", 294): (1, 0),
    ("val", "frankfurt", "000000", 576): (-2, -1),
}
"""Split, city, sequence and annotated frame of each snippet, and the step (x, y) in pixels that its texture moves."""

LABEL_IDS = np.array([7, 8, 11, 21, 23, 26, 0, 29], dtype=np.uint8)
"""Road, sidewalk, building, vegetation, sky, car; unlabelled and caravan, which are not evaluated."""

LICENCE_PLATE = 255  # its id is -1


def write_cityscapes(root, *, width=64, height=32, frames_per_snippet=30, video=True, stills=True):
    """Write gtFine, and leftImg8bit_sequence and leftImg8bit if they are wanted.

    A label is what the brightness of its pixel says, so that networks have something to learn. The first row of each
    map is a licence plate.
    """
    first = min(ANNOTATED_POSITION, frames_per_snippet - 1)
    for seed, ((split, city, sequence, annotated), step) in enumerate(SNIPPETS.items()):
        frames = moving_texture(frames_per_snippet, height, width, step, seed)
        for offset, frame in enumerate(frames, start=-first):
            name = f"{split}/{city}/{city}_{sequence}_{annotated + offset:06d}_leftImg8bit.png"
            if video:
                save(root / "leftImg8bit_sequence" / name, frame)
            if stills and offset == 0:
                save(root / "leftImg8bit" / name, frame)
            if offset == 0:
                label = LABEL_IDS[frame.mean(axis=2).astype(int) * len(LABEL_IDS) // 256]
                label[0] = LICENCE_PLATE
                save(root / f"gtFine/{split}/{city}/{city}_{sequence}_{annotated:06d}_gtFine_labelIds.png", label)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=1)
