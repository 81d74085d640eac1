"""Scores by reference distance, and what they cost."""
