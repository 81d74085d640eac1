"""Motion of whole clips at once, where the package composes it frame by frame."""

import numpy as np

from arseg.motion.compose import MotionComposer


def compose_motion(block_vectors_qpel, block_ref_back, height, width, **options):
    """Motion (T, H, W, 2) of a clip to its first frame, from vectors (T, Hb, Wb, 2) and references (T, Hb, Wb)."""
    composer = MotionComposer(height, width, **options)
    composed = []
    for vectors_qpel, ref_back in zip(block_vectors_qpel, block_ref_back, strict=True):
        composer.push(vectors_qpel, ref_back)
        composed.append(composer.compose())
    return np.stack(composed)


def compose_evidence(block_vectors_qpel, block_ref_back, height, width, **options):
    """How far that motion can be trusted, (T, Hb, Wb, 3)."""
    composer = MotionComposer(height, width, with_evidence=True, **options)
    counts = []
    for vectors_qpel, ref_back in zip(block_vectors_qpel, block_ref_back, strict=True):
        composer.push(vectors_qpel, ref_back)
        counts.append(composer.evidence())
    return np.stack(counts)


def compose_clip(clip, **options):
    blocks = clip.block_vectors_qpel, clip.block_ref_back
    return compose_motion(*blocks, clip.height, clip.width, **options)


def rgb_of(clip):
    """Frames of a decoded clip in RGB, shape (T, H, W, 3)."""
    return np.stack([frame.to_rgb() for frame in clip.frames])
