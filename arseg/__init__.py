"""Semantic segmentation of compressed video by altering resolutions (AR-Seg)."""

from importlib.metadata import version

__version__ = version("arseg")
