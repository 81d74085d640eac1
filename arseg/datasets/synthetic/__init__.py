"""A procedural street data set: exact labels, real motion, nothing to download."""
