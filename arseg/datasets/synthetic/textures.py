"""Random patterns of a sequence, made once: noise, sky, distant trees and crowns."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from arseg.datasets.synthetic.scene import Look, Values

TILE, CROWN = 256, 128
"""Sides of the noise and of a crown, in samples."""
SKY_DENSITY = 2
"""Sky samples per pixel: those of the canvas, so that the sky is cut out and not resampled."""


class Textures:
    """Random patterns of a sequence, for frames of the given size.

    `noise` (TILE, TILE) repeats and has mean 0 and standard deviation 1. `sky` (SKY_DENSITY * height, columns, 3) ends
    at the horizon and is twice as wide as the frame; `skyline` (columns,) is the height of the distant trees before it
    in pixels. `crowns` (4, CROWN, CROWN) are the brightness inside of a tree's crown, 0 outside.
    """

    def __init__(self, seed: int, look: Look, width: int, height: int) -> None:
        rng = np.random.default_rng(seed)
        noise = _octaves(rng, (8, 32, 64, 128, 256), -0.3, *[np.arange(TILE) / TILE] * 2)
        self.noise = (noise - noise.mean()) / noise.std()
        columns = np.arange(2 * SKY_DENSITY * width)
        ridge = _octaves(rng, (8, 32, 128), -0.6, np.zeros(1), columns / 1024)[0]
        self.skyline = height * (0.035 + 0.05 * np.clip(ridge + 0.35, 0, None))
        self.sky = _sky(rng, look, len(columns), SKY_DENSITY * height)
        self.crowns = np.stack([_crown(rng) for _ in range(4)])

    def noise_at(self, rows: Values, columns: Values, per_metre: float) -> Values:
        """Return the noise at positions in metres."""
        scaled = (np.floor(metres * np.float32(per_metre)).astype(np.int32) & (TILE - 1) for metres in (rows, columns))
        return self.noise[tuple(scaled)]


def _octaves(rng: Generator, cells: tuple[int, ...], exponent: float, rows: Values, columns: Values) -> Values:
    """Sum smooth noises of as many cells as given, the finer the weaker; rows and columns as `_smooth_noise`."""
    noises = (_smooth_noise(rng, number, rows, columns) * np.float32(number**exponent) for number in cells)
    return sum(noises, start=np.zeros((len(rows), len(columns)), dtype=np.float32))


def _smooth_noise(rng: Generator, cells: int, rows: Values, columns: Values) -> Values:
    """Return samples (h, w) of noise that repeats at 1 and has `cells` waves up to there, values about -1 ... 1."""
    lattice = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)

    def neighbours(positions: Values) -> tuple[NDArray[np.int32], NDArray[np.int32], Values]:
        scaled = positions * cells
        low = np.floor(scaled).astype(np.int32)
        share = (scaled - low).astype(np.float32)
        return low % cells, (low + 1) % cells, share * share * (3 - 2 * share)

    above, below, down = neighbours(rows)
    left, right, along = neighbours(columns)
    # Columns first: there are fewer rows in the lattice than in the frame, and each is needed many times.
    lines = lattice[:, left] + along * (lattice[:, right] - lattice[:, left])
    return lines[above] + down[:, None] * (lines[below] - lines[above])


def _crown(rng: Generator) -> Values:
    """Return the brightness of a tree crown: overlapping balls of leaves, lit from above; 0 outside."""
    grid = (np.arange(CROWN, dtype=np.float32) + 0.5) / CROWN * 2 - 1
    y, x = grid[:, None], grid[None]
    places = np.arange(CROWN) / CROWN
    leaves = _smooth_noise(rng, 16, places, places) * 0.6 + _smooth_noise(rng, 32, places, places) * 0.5
    brightness = np.zeros((CROWN, CROWN), dtype=np.float32)
    for _ in range(9):
        angle, distance, radius = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.5), rng.uniform(0.34, 0.5)
        dx, dy = x - distance * np.cos(angle), y - distance * np.sin(angle)
        ball = dx**2 + dy**2 < (radius * (1 + 0.3 * leaves)) ** 2
        lit = 0.95 - 0.35 * (dy / radius) - 0.25 * y + 0.28 * leaves
        brightness[ball] = np.maximum(lit, 0.3)[ball]
    return brightness


def _sky(rng: Generator, look: Look, width: int, height: int) -> Values:
    """Return a sky with clouds, from the zenith to the horizon."""
    rise = np.linspace(1, 0, height, dtype=np.float32)[:, None, None]
    zenith, horizon, cloud = np.array((look.zenith, look.horizon, look.cloud), dtype=np.float32)
    gradient = horizon + (zenith - horizon) * np.clip(rise * 2.2, 0, 1) ** 0.8
    # Clouds are a flat sheet far above: farther ones look lower and flatter.
    distance = 1 / (0.12 + np.arange(height, 0, -1) / height)
    puffs = _octaves(rng, (8, 16, 32, 64, 128), -0.75, distance * 0.254, np.arange(width) / 512)
    puffs = (puffs - puffs.mean()) / puffs.std()
    cover = np.clip((puffs + look.cloud_cover * 2.2 - 1) * 0.8, 0, 1)[..., None] * np.clip(rise * 8, 0, 1)
    return (gradient + (cloud - gradient) * cover).astype(np.float32)
