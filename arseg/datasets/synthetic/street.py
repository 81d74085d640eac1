"""Painting what does not move: sky, ground, buildings, and the bonnet of the camera's own car."""

import numpy as np
from numpy.typing import NDArray

from arseg.datasets.synthetic.canvas import Canvas, Layer
from arseg.datasets.synthetic.scene import (
    BUILDING_LINE,
    NEAR,
    ROAD_HALF_WIDTH,
    VIEW_DISTANCE,
    Camera,
    Color,
    Label,
    Values,
    WorldPoint,
)
from arseg.datasets.synthetic.textures import SKY_DENSITY, TILE

STOREY = 3.0


def paint_sky(canvas: Canvas) -> None:
    """Paint sky and distant trees over the whole canvas."""
    camera, look, textures, color = canvas.camera, canvas.look, canvas.textures, canvas.color.values
    # Far things move with the camera's heading alone: the sky is one wide image that slides behind.
    left = round((canvas.width - camera.center_column) * SKY_DENSITY)
    bottom = min(round(camera.horizon_row * SKY_DENSITY), len(color))
    columns = slice(left, left + color.shape[1])
    color[:bottom] = textures.sky[len(textures.sky) - bottom :, columns]
    color[bottom:] = look.horizon

    skyline = camera.horizon_row - textures.skyline[columns]
    top = int(skyline.min() * SKY_DENSITY)
    shade = 1 + 0.08 * textures.noise[np.arange(top - bottom, 0)[:, None], np.arange(left, columns.stop) % TILE]
    leaves = np.asarray(look.flat((84, 110, 64), VIEW_DISTANCE), dtype=np.float32) * shade[..., None]
    np.copyto(color[top:bottom], leaves, where=(canvas.color.rows[top:bottom] > skyline)[..., None])
    canvas.label.values[canvas.label.rows > skyline[::SKY_DENSITY]] = Label.VEGETATION


def paint_ground(canvas: Canvas, crossings: tuple[float, ...]) -> None:
    """Paint road, markings, sidewalks and lawns below the horizon; `crossings` are z of the zebra crossings."""
    look = canvas.look
    top, x, _ = _ground_positions(canvas.label, canvas.camera)
    canvas.label.values[top:] = _ground_kind(np.abs(x))

    top, x, depth = _ground_positions(canvas.color, canvas.camera)
    z, across = canvas.camera.z + depth, np.abs(x)
    kind = _ground_kind(across)
    road = kind == Label.ROAD
    fade = np.clip(14 / depth, 0.25, 1)
    base = np.zeros((len(Label), 4), dtype=np.float32)  # red, green, blue, contrast of the noise
    base[Label.VEGETATION] = (*look.lawn, 0.11)
    base[Label.SIDEWALK] = (*look.paving, 0.035)
    base[Label.ROAD] = (*look.asphalt, 0.075)
    surface = base[kind]
    brightness = 1 + surface[..., 3] * fade * canvas.textures.noise_at(z, x, 14)
    # Slabs and kerbstones of the sidewalk, and the darker gutter of the road.
    brightness -= 0.16 * fade * (((x % 0.9 < 0.06) | (z % 0.9 < 0.06)) & (kind == Label.SIDEWALK))
    brightness[(across >= ROAD_HALF_WIDTH) & (across < ROAD_HALF_WIDTH + 0.22)] = 1.16
    brightness[road & (across > ROAD_HALF_WIDTH - 0.3)] *= 0.86
    color = surface[..., :3] * brightness[..., None]

    # Lanes, parking strips, zebra crossings and their stop lines.
    marked = (across < 0.09) & (z % 6.0 < 3.0)
    marked |= (np.abs(across - (ROAD_HALF_WIDTH - 2.15)) < 0.06) & (z % 1.6 < 1.1)
    for crossing in crossings:
        marked |= (x % 1.0 < 0.5) & (z > crossing) & (z < crossing + 3.0)
        marked |= (x > 0) & (x < ROAD_HALF_WIDTH - 2.2) & (z > crossing - 1.4) & (z < crossing - 1.0)
    color[road & marked] = 218
    canvas.color.values[top:] = look.shaded(color, depth)


def _ground_positions(layer: Layer, camera: Camera) -> tuple[int, Values, Values]:
    """Return the first row of the ground, and x (h, w) and distance ahead (h, 1) of its samples in metres."""
    top = int(np.searchsorted(layer.rows[:, 0], camera.horizon_row + 0.6))
    depth = camera.focal * camera.y / (layer.rows[top:] - camera.horizon_row)
    return top, camera.x + (layer.columns - camera.center_column) * (depth / camera.focal), depth


def _ground_kind(across: Values) -> NDArray[np.uint8]:
    """Return the class of the ground at a distance from the road's middle."""
    kind = np.full(across.shape, Label.VEGETATION, dtype=np.uint8)
    kind[across < BUILDING_LINE] = Label.SIDEWALK
    kind[across < ROAD_HALF_WIDTH] = Label.ROAD
    return kind


def paint_building(
    canvas: Canvas,
    z: float,
    *,
    side: int,
    far: float,
    front: float,
    depth: float,
    height: float,
    roof_height: float,
    wall: Color,
    glass: Color,
    window_pitch: float,
    shop: bool,
) -> None:
    """Paint the walls and the roof that can be seen from the road.

    A building is a box from z to `far`, left (`side` -1) or right (1) of the road, whose street-side wall stands
    `front` metres from the road's middle; with a flat roof if `roof_height` is 0, with a ground floor of glass if it
    is a `shop`.
    """
    camera, look, textures = canvas.camera, canvas.look, canvas.textures
    near = max(z, camera.z + NEAR)
    inner, outer = side * front, side * (front + depth)
    top, ridge = height + roof_height, (inner + outer) / 2
    wall_color, glass_color = np.array((wall, glass), dtype=np.float32)
    pitch = (far - z) / round((far - z) / window_pitch)

    def shade_roof(rows: Values, columns: Values) -> Values:
        tiles = np.array((142, 78, 58) if wall[0] > 165 else (98, 92, 94), dtype=np.float32)
        distance = np.array(max((z + far) / 2 - camera.z, 4.0), dtype=np.float32)
        down, right = rows - camera.horizon_row, columns - camera.center_column
        courses = 1 + 0.07 * np.sin(down * (distance * 0.35))
        return look.shaded(tiles * (courses + 0.05 * textures.noise_at(down, right, 2))[..., None], distance)

    def shade_wall(rows: Values, columns: Values) -> Values:
        # In a wall along the road every column of the frame is at one depth.
        offset = columns - camera.center_column
        offset[np.abs(offset) < 1e-3] = 1e-3
        ahead = camera.focal * (inner - camera.x) / offset
        ahead = np.clip(ahead, NEAR, 1.5 * VIEW_DISTANCE).astype(np.float32)
        along = camera.z + ahead - z
        up = camera.y - (rows - camera.horizon_row) * (ahead / camera.focal)  # (h, w)
        pane, floor = along / pitch, up / STOREY
        window = (np.abs(pane % 1 - 0.5) < 0.24) & (np.abs(floor % 1 - 0.52) < 0.27) & (up < height - 0.45)
        if shop:
            window = np.where(floor < 1, (np.abs(pane % 2 - 1) < 0.88) & (up > 0.4) & (up < 2.5), window)
        plaster = 1 + 0.06 * np.clip(22 / ahead, 0.15, 1) * textures.noise_at(up, along, 9)
        plaster[up > height - 0.35] = 1.15
        plaster[up < 0.35] = 0.78
        # Each pane mirrors another piece of sky.
        row, column = (floor.astype(np.int32) * 37 + 11) % TILE, (pane / (1 + shop)).astype(np.int32) * 53 % TILE
        mirror = glass_color * (1 + 0.22 * textures.noise[row, column])[..., None]
        color = np.where(window[..., None], mirror, wall_color * plaster[..., None])
        return look.shaded(color, ahead, look.lights[side > 0])

    def upright(x0: float, x1: float, z1: float) -> list[WorldPoint]:
        return [(x0, 0.0, near), (x0, height, near), (x1, height, z1), (x1, 0.0, z1)]

    if roof_height:
        slope = [(inner, height, near), (inner, height, far), (ridge, top, far), (ridge, top, near)]
        canvas.face(slope, Label.BUILDING, shade_roof)
    canvas.face(upright(inner, inner, far), Label.BUILDING, shade_wall)
    if z > camera.z + NEAR:  # the end wall lies in half shade whatever the sun does
        canvas.face(upright(inner, outer, near), Label.BUILDING, wall, 0.82)
        if roof_height:
            canvas.face([(inner, height, near), (ridge, top, near), (outer, height, near)], Label.BUILDING, wall, 0.82)


def paint_bonnet(canvas: Canvas) -> None:
    """Paint the bonnet of the camera's own car along the lower edge."""
    highest = 0.945 * canvas.height
    for layer in (canvas.color, canvas.label):
        rise = 0.16 * canvas.height * ((layer.columns - canvas.width / 2) / (0.62 * canvas.width)) ** 2
        first = int(highest * layer.density)
        depth = layer.rows[first:] - (highest + rise)
        if layer is canvas.label:
            layer.values[first:][depth > 0] = Label.VOID
        else:
            shine = 46 + 34 * np.clip(1 - depth / (0.02 * canvas.height), 0, 1)
            colors = shine[..., None] * np.array((0.9, 0.95, 1.1), dtype=np.float32)
            np.copyto(layer.values[first:], colors, where=(depth > 0)[..., None])
