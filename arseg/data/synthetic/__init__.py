"""A procedural street data set: exact labels, real motion, nothing to download."""

from arseg.data.synthetic.dataset import synthesize

__all__ = ["synthesize"]
