"""Compress clips and read frames and motion vectors back; FFmpeg and PyAV are used only here."""
