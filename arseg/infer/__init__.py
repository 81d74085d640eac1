"""Segmentation of any video as it comes: ``segment`` gives frames with their labels."""

from arseg.infer.segment import FrameInfo, Segmentation, segment
from arseg.motion.live import Following

__all__ = ["Following", "FrameInfo", "Segmentation", "segment"]
