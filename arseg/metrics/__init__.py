"""Measures of segmentations against labels."""
