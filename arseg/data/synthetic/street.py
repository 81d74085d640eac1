"""Painting what does not move: sky, ground and buildings."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arseg.data.synthetic.canvas import (
    NEAR,
    Camera,
    Canvas,
    Pixels,
    Positions,
    SampleGrid,
    Shader,
    WorldPoint,
)
from arseg.data.synthetic.scene import (
    ROAD_HALF_WIDTH,
    SIDEWALK_WIDTH,
    VIEW_DISTANCE,
    Building,
    Label,
    Look,
    Scene,
)

TILE = 256
CROWN = 128
SKY_DENSITY = 2
"""Sky samples per pixel: those of the canvas, so that the sky is cut out and not resampled."""


@dataclass(frozen=True)
class Textures:
    """Random patterns of a sequence, made once."""

    noise: NDArray[np.float32]
    """Repeating noise of mean 0 and standard deviation 1, shape (TILE, TILE)."""
    sky: Pixels
    """Sky above the horizon (last row), SKY_DENSITY samples per pixel, twice as wide as the picture."""
    skyline: NDArray[np.float32]
    """Height of the distant trees in pixels, for each column of `sky`."""
    crowns: NDArray[np.float32]
    """Tree crowns: brightness inside, 0 outside; shape (4, CROWN, CROWN)."""


def make_textures(scene: Scene, width: int, height: int) -> Textures:
    """Draw a sequence's random patterns for pictures of the given size."""
    rng = np.random.default_rng(scene.texture_seed)
    noise = _octaves(rng, (8, 32, 64, 128, 256), -0.3, *[np.arange(TILE) / TILE] * 2)
    columns = np.arange(2 * SKY_DENSITY * width)
    ridge = _octaves(rng, (8, 32, 128), -0.6, np.zeros(1), columns / 1024)[0]
    return Textures(
        noise=(noise - noise.mean()) / noise.std(),
        sky=_sky(rng, scene.look, len(columns), SKY_DENSITY * height),
        skyline=height * (0.035 + 0.05 * np.clip(ridge + 0.35, 0, None)),
        crowns=np.stack([_crown(rng) for _ in range(4)]),
    )


def paint_sky(canvas: Canvas, scene: Scene, textures: Textures) -> None:
    """Paint sky and distant trees over the whole canvas."""
    camera = canvas.camera
    # Far things move with the camera's heading alone: the sky is one wide picture that slides behind.
    left = round((canvas.width - camera.center_column) * SKY_DENSITY)
    bottom = min(round(camera.horizon_row * SKY_DENSITY), len(canvas.color))
    columns = slice(left, left + canvas.color.shape[1])
    canvas.color[:bottom] = textures.sky[len(textures.sky) - bottom :, columns]
    canvas.color[bottom:] = scene.look.horizon
    canvas.label[:] = Label.SKY

    skyline = camera.horizon_row - textures.skyline[columns]
    top = int(skyline.min() * canvas.fine.density)
    trees = canvas.fine.rows[top:bottom] > skyline
    lookup = np.arange(top - bottom, 0)[:, None], np.arange(columns.start, columns.stop) % TILE
    shade = 1 + 0.08 * textures.noise[lookup]
    leaf = np.asarray(scene.look.flat((84, 110, 64), VIEW_DISTANCE), dtype=np.float32)
    np.copyto(canvas.color[top:bottom], leaf * shade[..., None], where=trees[..., None])
    canvas.label[canvas.centers.rows > skyline[:: canvas.fine.density]] = Label.VEGETATION


def paint_ground(canvas: Canvas, scene: Scene, textures: Textures) -> None:
    """Paint road, markings, sidewalks and lawns below the horizon."""
    top, x, _ = _ground_positions(canvas.centers, canvas.camera)
    canvas.label[top:] = _ground_kind(np.abs(x))

    top, x, depth = _ground_positions(canvas.fine, canvas.camera)
    z = canvas.camera.z + depth
    across = np.abs(x)
    kind = _ground_kind(across)
    fade = np.clip(14 / depth, 0.25, 1)
    base = np.zeros((len(Label), 4), dtype=np.float32)  # red, green, blue, contrast of the noise
    base[Label.VEGETATION] = (*scene.look.lawn, 0.11)
    base[Label.SIDEWALK] = (*scene.look.paving, 0.035)
    base[Label.ROAD] = (*scene.look.asphalt, 0.075)
    surface = base[kind]
    brightness = 1 + surface[..., 3] * fade * textures.noise[_texel(z, 14), _texel(x, 14)]
    road = kind == Label.ROAD
    # Slabs and kerbstones of the sidewalk, and the darker gutter of the road.
    joint = ((x % 0.9 < 0.06) | (z % 0.9 < 0.06)) & (kind == Label.SIDEWALK)
    brightness -= 0.16 * fade * joint
    brightness[(across >= ROAD_HALF_WIDTH) & (across < ROAD_HALF_WIDTH + 0.22)] = 1.16
    brightness[road & (across > ROAD_HALF_WIDTH - 0.3)] *= 0.86
    color = surface[..., :3] * brightness[..., None]
    color[road & _markings(x, z, scene.crossings)] = 218
    canvas.color[top:] = scene.look.shaded(color, depth)


def paint_building(canvas: Canvas, building: Building, scene: Scene, textures: Textures) -> None:
    """Paint the walls and the roof that can be seen from the road."""
    camera, look, side = canvas.camera, scene.look, building.side
    near = max(building.near, camera.z + NEAR)
    far, eaves, top = building.far, building.height, building.height + building.roof_height
    if far <= near:
        return
    inner, outer = side * building.front, side * (building.front + building.depth)
    ridge = (inner + outer) / 2
    light = look.right_light if side > 0 else look.left_light
    if building.roof_height:
        slope = [(inner, eaves, near), (inner, eaves, far), (ridge, top, far), (ridge, top, near)]
        canvas.face(slope, Label.BUILDING, _roof_shader(camera, building, scene, textures))
    street_wall = _wall(inner, near, inner, far, eaves)
    canvas.face(street_wall, Label.BUILDING, _wall_shader(camera, building, scene, textures, light))
    if building.near > camera.z + NEAR:
        # The end wall lies in half shade whatever the sun does.
        shade = look.flat(building.wall, near - camera.z, 0.82)
        canvas.face(_wall(inner, near, outer, near, eaves), Label.BUILDING, shade)
        if building.roof_height:
            gable = [(inner, eaves, near), (ridge, top, near), (outer, eaves, near)]
            canvas.face(gable, Label.BUILDING, shade)


def _ground_positions(grid: SampleGrid, camera: Camera) -> tuple[int, Positions, Positions]:
    """Find the first row of the ground, and x (h, w) and distance ahead (h, 1) of its samples in metres."""
    top = int(np.searchsorted(grid.rows[:, 0], camera.horizon_row + 0.6))
    depth = camera.focal * camera.y / (grid.rows[top:] - camera.horizon_row)
    x = camera.x + (grid.columns - camera.center_column) * (depth / camera.focal)
    return top, x, depth


def _ground_kind(across: Positions) -> NDArray[np.uint8]:
    """Class of the ground at a distance from the road's middle."""
    kind = np.full(across.shape, Label.VEGETATION, dtype=np.uint8)
    kind[across < ROAD_HALF_WIDTH + SIDEWALK_WIDTH] = Label.SIDEWALK
    kind[across < ROAD_HALF_WIDTH] = Label.ROAD
    return kind


def _markings(x: Positions, z: Positions, crossings: tuple[float, ...]) -> NDArray[np.bool_]:
    """Tell where the road is painted white: lanes, parking strips, zebra crossings and their stop lines."""
    marked = (np.abs(x) < 0.09) & (z % 6.0 < 3.0)
    marked |= (np.abs(np.abs(x) - (ROAD_HALF_WIDTH - 2.15)) < 0.06) & (z % 1.6 < 1.1)
    for crossing in crossings:
        marked |= (x % 1.0 < 0.5) & (z > crossing) & (z < crossing + 3.0)
        marked |= (x > 0) & (x < ROAD_HALF_WIDTH - 2.2) & (z > crossing - 1.4) & (z < crossing - 1.0)
    return marked


def _wall(x0: float, z0: float, x1: float, z1: float, height: float) -> list[WorldPoint]:
    return [(x0, 0.0, z0), (x0, height, z0), (x1, height, z1), (x1, 0.0, z1)]


def _wall_shader(camera: Camera, building: Building, scene: Scene, textures: Textures, light: float) -> Shader:
    """Shade a street-side wall: plaster, windows, shop front, cornice and base."""
    storey = 3.0
    length = building.far - building.near
    pitch = length / round(length / building.window_pitch)
    wall, glass = (np.asarray(color, dtype=np.float32) for color in (building.wall, building.window))

    def shade(rows: Positions, columns: Positions) -> Pixels:
        # In a wall along the road every picture column is at one depth.
        offset = columns - camera.center_column
        offset[np.abs(offset) < 1e-3] = 1e-3
        depth = camera.focal * (building.side * building.front - camera.x) / offset
        depth = np.clip(depth, NEAR, 1.5 * VIEW_DISTANCE).astype(np.float32)
        along = camera.z + depth - building.near
        up = camera.y - (rows - camera.horizon_row) * (depth / camera.focal)  # (h, w)
        pane, floor = along / pitch, up / storey
        window = (np.abs(pane % 1 - 0.5) < 0.24) & (np.abs(floor % 1 - 0.52) < 0.27)
        window &= up < building.height - 0.45
        if building.shop:
            window = np.where(floor < 1, (np.abs(pane % 2 - 1) < 0.88) & (up > 0.4) & (up < 2.5), window)
        noise = textures.noise[_texel(up, 9), _texel(along, 9)]
        plaster = 1 + 0.06 * np.clip(22 / depth, 0.15, 1) * noise
        plaster[up > building.height - 0.35] = 1.15
        plaster[up < 0.35] = 0.78
        # Each pane mirrors another piece of sky.
        mirrored = textures.noise[
            (floor.astype(np.int32) * 37 + 11) % TILE,
            (pane / (1 + building.shop)).astype(np.int32) * 53 % TILE,
        ]
        color = np.where(window[..., None], glass * (1 + 0.22 * mirrored)[..., None], wall * plaster[..., None])
        return scene.look.shaded(color, depth, light)

    return shade


def _roof_shader(camera: Camera, building: Building, scene: Scene, textures: Textures) -> Shader:
    """Shade a roof of red or grey tiles."""
    tiles = np.array((142, 78, 58) if building.wall[0] > 165 else (98, 92, 94), dtype=np.float32)
    distance = np.array(max((building.near + building.far) / 2 - camera.z, 4.0), dtype=np.float32)

    def shade(rows: Positions, columns: Positions) -> Pixels:
        down, right = rows - camera.horizon_row, columns - camera.center_column
        courses = 1 + 0.07 * np.sin(down * (distance * 0.35))
        noise = textures.noise[_texel(down, 2), _texel(right, 2)]
        return scene.look.shaded(tiles * (courses + 0.05 * noise)[..., None], distance)

    return shade


def _texel(position: Positions, per_metre: float) -> NDArray[np.int32]:
    return np.floor(position * np.float32(per_metre)).astype(np.int32) & (TILE - 1)


def _octaves(
    rng: np.random.Generator, cells: tuple[int, ...], exponent: float, rows: Positions, columns: Positions
) -> NDArray[np.float32]:
    """Sum smooth noises of as many cells as given, the finer the weaker; rows and columns as `_smooth_noise`."""
    return sum(
        (_smooth_noise(rng, number, rows, columns) * np.float32(number**exponent) for number in cells),
        start=np.zeros((len(rows), len(columns)), dtype=np.float32),
    )


def _smooth_noise(rng: np.random.Generator, cells: int, rows: Positions, columns: Positions) -> NDArray[np.float32]:
    """Take samples (h, w) of noise that repeats at 1 and has `cells` waves up to there, values about -1 ... 1."""
    lattice = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)

    def neighbours(positions: Positions) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
        scaled = positions * cells
        low = np.floor(scaled).astype(np.int32)
        share = (scaled - low).astype(np.float32)
        return low % cells, (low + 1) % cells, share * share * (3 - 2 * share)

    above, below, down = neighbours(rows)
    left, right, along = neighbours(columns)
    # Columns first: there are fewer rows in the lattice than in the picture, and each is needed many times.
    lines = lattice[:, left] + along * (lattice[:, right] - lattice[:, left])
    return lines[above] + down[:, None] * (lines[below] - lines[above])


def _crown(rng: np.random.Generator) -> NDArray[np.float32]:
    """Brightness of a tree crown: overlapping balls of leaves, lit from above; 0 outside."""
    grid = (np.arange(CROWN, dtype=np.float32) + 0.5) / CROWN * 2 - 1
    y, x = grid[:, None], grid[None]
    places = np.arange(CROWN) / CROWN
    leaves = _smooth_noise(rng, 16, places, places) * 0.6 + _smooth_noise(rng, 32, places, places) * 0.5
    brightness = np.zeros((CROWN, CROWN), dtype=np.float32)
    for _ in range(9):
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.5)
        radius = rng.uniform(0.34, 0.5)
        dx, dy = x - distance * np.cos(angle), y - distance * np.sin(angle)
        ball = dx**2 + dy**2 < (radius * (1 + 0.3 * leaves)) ** 2
        lit = 0.95 - 0.35 * (dy / radius) - 0.25 * y + 0.28 * leaves
        brightness[ball] = np.maximum(lit, 0.3)[ball]
    return brightness


def _sky(rng: np.random.Generator, look: Look, width: int, height: int) -> Pixels:
    """Sky with clouds, from the zenith to the horizon."""
    rise = np.linspace(1, 0, height, dtype=np.float32)[:, None, None]
    zenith, horizon = np.array(look.zenith, dtype=np.float32), np.array(look.horizon, dtype=np.float32)
    gradient = horizon + (zenith - horizon) * np.clip(rise * 2.2, 0, 1) ** 0.8
    # Clouds are a flat sheet far above: farther ones look lower and flatter.
    distance = 1 / (0.12 + np.arange(height, 0, -1) / height)
    puffs = _octaves(rng, (8, 16, 32, 64, 128), -0.75, distance * 0.254, np.arange(width) / 512)
    puffs = (puffs - puffs.mean()) / puffs.std()
    cover = np.clip((puffs + look.cloud_cover * 2.2 - 1) * 0.8, 0, 1)[..., None] * np.clip(rise * 8, 0, 1)
    return (gradient + (np.array(look.cloud, dtype=np.float32) - gradient) * cover).astype(np.float32)
