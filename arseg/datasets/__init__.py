"""Data sets: one package for each kind, and the registry of the kinds, which other packages add to.

A kind is one class, see `arseg.datasets.kind`. Everything after a data set's manifest is the same for all.
"""

from arseg.datasets.camvid.kind import CamVid
from arseg.datasets.cityscapes.kind import Cityscapes
from arseg.datasets.frames.kind import Frames
from arseg.datasets.kind import DATASETS, DatasetKind, Place, Splits
from arseg.datasets.synthetic.kind import Synthetic
from arseg.datasets.videos.kind import Videos

__all__ = ["DATASETS", "CamVid", "Cityscapes", "DatasetKind", "Frames", "Place", "Splits", "Synthetic", "Videos"]
