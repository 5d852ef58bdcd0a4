"""Procedural surfaces of the surroundings: colour from a place, with no pictures involved."""

import math

import numpy as np

from synthetic.compiled import compiled


@compiled
def texture(  # noqa: PLR0912, PLR0915 - one kernel
    material: int, x: float, y: float, z: float, nx: float, ny: float, nz: float,
    red: float, green: float, blue: float, scale: float, seed: float,
) -> tuple[float, float, float, float, float]:  # fmt: skip
    """Colour, own glow, and how much the surface tilts to the light. Indices follow
    `site.Material`.
    """
    flat = abs(nz) > 0.5
    along = y if abs(nx) > 0.5 else x
    if flat:
        along = x
    up = y if flat else z
    soft = 0.5 * cloud(0.35 * along + seed, 0.35 * up, 3.1) + 0.3 * cloud(
        1.7 * along, 1.7 * up + seed, 1.0
    )
    fine = cloud(23.0 * along, 23.0 * up, seed)
    tone, glow, bump = 0.85 + 0.25 * soft + 0.06 * (fine - 0.5), 0.0, 0.0
    if material == 0:  # plaster with a skirting board
        if not flat and z < 0.12:
            tone *= 0.55
    elif material == 1:  # bricks
        row = math.floor(up / 0.075)
        shift = 0.5 * (row % 2)
        column = math.floor(along / 0.24 + shift)
        joint = (up / 0.075) % 1.0 < 0.14 or (along / 0.24 + shift) % 1.0 < 0.05
        tone *= 0.7 + 0.5 * dice(int(column), int(row), int(seed))
        if joint:
            red, green, blue, tone = 0.45, 0.43, 0.4, 0.9
    elif material in (2, 9):  # tiles, paving
        size = scale
        row = math.floor(up / size)
        shift = 0.5 * (row % 2) if material == 9 else 0.0
        wide = size * 1.6 if material == 9 else size
        column = math.floor(along / wide + shift)
        joint = (up / size) % 1.0 < 0.022 or (along / wide + shift) % 1.0 < 0.018
        tone *= 0.88 + 0.2 * dice(int(column), int(row), int(seed))
        grain = cloud(60.0 * along, 60.0 * up, seed) - 0.5
        tone *= 1.0 + (0.16 if material == 9 else 0.05) * grain
        if joint:
            tone *= 0.62
    elif material == 3:  # concrete
        tone *= 0.86 + 0.3 * cloud(5.0 * along, 5.0 * up, seed) * cloud(
            0.8 * along, 0.8 * up, seed + 9
        )
        bump = 0.06 * (fine - 0.5)
    elif material == 4:  # boards
        board = math.floor(up / 0.12) if not flat else math.floor(along / 0.12)
        grain = (
            cloud(3.0 * along, 60.0 * up, seed + board)
            if not flat
            else cloud(60.0 * along, 3.0 * up, seed)
        )
        tone *= (0.75 + 0.3 * dice(int(board), 7, int(seed))) * (0.8 + 0.35 * grain)
        if (up / 0.12) % 1.0 < 0.08 and not flat:
            tone *= 0.4
    elif material == 5:
        return _shop(along, z, flat, red, green, blue, seed)
    elif material == 6:  # leaves
        leaf = cloud(16.0 * x, 16.0 * y, 16.0 * z + seed)
        clump = cloud(4.0 * x + seed, 4.0 * y, 4.0 * z)
        tone = 0.25 + 1.3 * leaf * clump + 0.25 * clump
        bump = 0.9 * (leaf - 0.5)
    elif material == 7:  # metal
        tone = 0.8 + 0.3 * cloud(1.2 * along, 9.0 * up, seed)
    elif material == 8:  # posters on a wall
        bay = math.floor(along / 2.4)
        h, v = (along / 2.4) % 1.0, (z - 0.9) / 1.3
        if 0.2 < h < 0.75 and 0.0 < v < 1.0 and not flat:
            red, green, blue = _print(int(bay), h, v, int(seed))
            tone, glow = 1.0, 0.25
    elif material == 10:  # glass with mullions
        pane = (along / 1.3) % 1.0 < 0.05 or (z / 1.5) % 1.0 < 0.035
        view = cloud(0.5 * along + seed, 0.8 * z, 0.4 * along)
        tone = 0.25 + 0.9 * view * min(1.0, 0.3 + z / 4.0)
        if pane:
            red, green, blue, tone = 0.25, 0.26, 0.27, 1.0
    return red * tone, green * tone, blue * tone, glow, bump


@compiled
def _shop(  # noqa: PLR0911 - one case per part
    along: float, z: float, flat: bool, red: float, green: float, blue: float, seed: float
) -> tuple[float, float, float, float, float]:
    """A shop front: frame, sign, and a lit window with shelves of goods."""
    if flat:
        return red, green, blue, 0.0, 0.0
    bay = math.floor(along / 4.0)
    h = (along / 4.0) % 1.0
    pick = dice(int(bay), 3, int(seed))
    if h < 0.04 or h > 0.96 or z > 3.3:
        return red, green, blue, 0.0, 0.0
    if z > 2.65:
        r, g, b = _print(int(bay), 0.3, 0.3, int(seed) + 5)
        letters = (
            0.3 < (z - 2.65) / 0.65 < 0.75
            and 0.25 < h < 0.75
            and dice(int(h * 60), int(bay), 1) > 0.35
        )
        return (0.9, 0.9, 0.88, 0.6, 0.0) if letters else (r, g, b, 0.35, 0.0)
    if 0.62 < h < 0.9 and pick > 0.3:  # a doorway
        shade = 0.10 + 0.08 * cloud(2.0 * along, 2.0 * z, seed)
        return shade, shade * 0.95, shade * 0.85, 0.25, 0.0
    if z < 0.35:
        return 0.7 * red, 0.7 * green, 0.7 * blue, 0.0, 0.0
    shelf, slot = math.floor((z - 0.35) / 0.55), math.floor(h * 22.0)
    fill = (z - 0.35) / 0.55 - shelf
    item = dice(int(slot), int(shelf) + 11 * int(bay), int(seed))
    if fill < 0.08:
        return 0.5, 0.48, 0.45, 0.3, 0.0
    if fill < 0.25 + 0.6 * item and item > 0.25:
        r, g, b = _print(int(slot) + 50 * int(bay), 0.5, 0.3, int(shelf))
        return 0.7 * r, 0.7 * g, 0.7 * b, 0.35, 0.0
    back = 0.35 + 0.25 * pick
    return back, back * 0.96, back * 0.88, 0.35, 0.0


@compiled
def _print(number: int, h: float, v: float, seed: int) -> tuple[float, float, float]:
    """A flat colour of advertising, changing with the place within a poster."""
    part = 3 * number + (1 if v > 0.3 + 0.4 * dice(number, 1, seed) else 0) + (1 if h > 0.5 else 0)
    grey, vivid = 0.05 + 0.7 * dice(part, 14, seed) ** 1.5, 0.15 + 0.5 * dice(part, 15, seed)
    return (
        grey * (1.0 - vivid) + vivid * dice(part, 11, seed) ** 2,
        grey * (1.0 - vivid) + vivid * dice(part, 12, seed) ** 2,
        grey * (1.0 - vivid) + vivid * dice(part, 13, seed) ** 2,
    )


@compiled
def sky(dx: float, dy: float, dz: float, seed: float) -> tuple[float, float, float]:
    """Sky seen in a direction, or the far ground below the horizon."""
    if dz <= 0.0:
        return 0.35, 0.36, 0.37
    puff = cloud(2.5 * dx / (dz + 0.25) + seed, 2.5 * dy / (dz + 0.25), 0.0)
    puff = 0.6 * puff + 0.4 * cloud(7.0 * dx / (dz + 0.25), 7.0 * dy / (dz + 0.25) + seed, 1.0)
    white = min(1.0, max(0.0, (puff - 0.42) * 3.0))
    haze = math.exp(-4.0 * dz)
    return (
        (0.30 + 0.35 * haze) * (1 - white) + 0.95 * white,
        (0.50 + 0.25 * haze) * (1 - white) + 0.95 * white,
        (0.86 + 0.05 * haze) * (1 - white) + 0.97 * white,
    )


@compiled
def cloud(x: float, y: float, z: float) -> float:
    """Smooth value noise in 0…1."""
    ix, iy, iz = math.floor(x), math.floor(y), math.floor(z)
    fx, fy, fz = x - ix, y - iy, z - iz
    fx, fy, fz = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy), fz * fz * (3 - 2 * fz)
    total = 0.0
    for dz in range(2):
        wz = fz if dz else 1.0 - fz
        for dy in range(2):
            wy = fy if dy else 1.0 - fy
            for dx in range(2):
                wx = fx if dx else 1.0 - fx
                total += wx * wy * wz * dice(int(ix) + dx, int(iy) + dy, int(iz) + dz)
    return total


@compiled
def dice(x: int, y: int, z: int) -> float:
    """A fixed number in 0…1 for three integers."""
    h = np.uint32(x * 374761393 + y * 668265263 + z * 2147483647)
    h = np.uint32((h ^ (h >> np.uint32(13))) * np.uint32(1274126177))
    h = np.uint32(h ^ (h >> np.uint32(16)))
    return np.float64(h & np.uint32(0xFFFF)) / 65535.0
