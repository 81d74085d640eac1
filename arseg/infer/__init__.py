"""Segmentation of any video as it comes: ``segment`` gives frames with their labels."""

from arseg.infer.segment import FrameInfo, Segmentation, segment

__all__ = ["FrameInfo", "Segmentation", "segment"]
