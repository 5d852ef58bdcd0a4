"""The kernels that put one person on the picture: skin, draw, colour.

Everything a pixel's colour depends on is found from the place on the resting body that the pixel
shows, so cloth
patterns, prints and faces stick to the body however it moves. Indices follow `material.Slot` and
`material.Mark`.
"""

import math

import numpy as np
from numpy.typing import NDArray

from synthetic.compiled import compiled
from synthetic.texture import cloud

Floats32 = NDArray[np.float32]
Ints32 = NDArray[np.int32]


@compiled
def skin(
    vertices: Floats32, normals: Floats32, bones: Ints32, weights: Floats32,
    maps: NDArray[np.float64],
    out_points: Floats32, out_normals: Floats32,
) -> None:  # fmt: skip
    """Pose a mesh: rest coordinates and normals (V, 3) to world ones."""
    for v in range(vertices.shape[0]):
        w1 = weights[v]
        w0 = 1.0 - w1
        first, second = maps[bones[v, 0]], maps[bones[v, 1]]
        x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        nx, ny, nz = normals[v, 0], normals[v, 1], normals[v, 2]
        for k in range(3):
            a = w0 * first[k, 0] + w1 * second[k, 0]
            b = w0 * first[k, 1] + w1 * second[k, 1]
            c = w0 * first[k, 2] + w1 * second[k, 2]
            out_points[v, k] = a * x + b * y + c * z + w0 * first[k, 3] + w1 * second[k, 3]
            out_normals[v, k] = a * nx + b * ny + c * nz
        out_points[v, 2] = max(out_points[v, 2], 0.0)  # toes bend where the floor stops them


@compiled
def project(
    points: Floats32, view: NDArray[np.float64], dx: float, dy: float, out: Floats32
) -> tuple[float, float, float, float, float]:
    """World points to (x, y, 1/depth) per row, moved by (dx, dy); returns the least and greatest x
    and y, and 1/depth.

    `view`: (3, 4) pose, then focal, centre x and y, k1.
    """
    x0, y0, x1, y1, nearest = 1e9, 1e9, -1e9, -1e9, 0.0
    for v in range(points.shape[0]):
        x, y, z = points[v, 0], points[v, 1], points[v, 2]
        cx = view[0, 0] * x + view[0, 1] * y + view[0, 2] * z + view[0, 3]
        cy = view[1, 0] * x + view[1, 1] * y + view[1, 2] * z + view[1, 3]
        cz = view[2, 0] * x + view[2, 1] * y + view[2, 2] * z + view[2, 3]
        inverse = 1.0 / max(cz, 1e-3)
        px, py = cx * inverse, cy * inverse
        squared = px * px + py * py
        if view[3, 3] < 0.0:  # beyond this radius the polynomial would turn back
            squared = min(squared, -1.0 / (3.0 * view[3, 3]))
        bend = 1.0 + view[3, 3] * squared
        u, w = px * bend * view[3, 0] + view[3, 1] + dx, py * bend * view[3, 0] + view[3, 2] + dy
        x0, x1, y0, y1 = min(x0, u), max(x1, u), min(y0, w), max(y1, w)
        nearest = max(nearest, inverse)
        out[v, 0], out[v, 1], out[v, 2] = u, w, inverse
    return x0, y0, x1, y1, nearest


@compiled
def draw(
    screen: Floats32, triangles: Ints32, left: int, top: int,
    near: Floats32, face: Ints32, first: Floats32, second: Floats32,
) -> None:  # fmt: skip
    """Fill `near` (1/depth), `face` (triangle or −1) and two barycentric weights over a window of
    the frame.
    """
    height, width = near.shape
    near[:] = 0.0
    face[:] = -1
    for t in range(triangles.shape[0]):
        i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0 = screen[i, 0] - left - 0.5, screen[i, 1] - top - 0.5
        x1, y1 = screen[j, 0] - left - 0.5, screen[j, 1] - top - 0.5
        x2, y2 = screen[k, 0] - left - 0.5, screen[k, 1] - top - 0.5
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-9:
            continue
        low_x = max(0, math.ceil(min(x0, x1, x2)))
        high_x = min(width - 1, math.floor(max(x0, x1, x2)))
        low_y = max(0, math.ceil(min(y0, y1, y2)))
        high_y = min(height - 1, math.floor(max(y0, y1, y2)))
        if low_x > high_x or low_y > high_y:
            continue
        scale = 1.0 / area
        step_a, step_b = (y1 - y2) * scale, (y2 - y0) * scale
        z0, z1, z2 = screen[i, 2], screen[j, 2], screen[k, 2]
        for y in range(low_y, high_y + 1):
            a = ((x1 - low_x) * (y2 - y) - (x2 - low_x) * (y1 - y)) * scale
            b = ((x2 - low_x) * (y0 - y) - (x0 - low_x) * (y2 - y)) * scale
            for x in range(low_x, high_x + 1):
                if a >= 0.0 and b >= 0.0 and a + b <= 1.0:
                    z = z2 + a * (z0 - z2) + b * (z1 - z2)
                    if z > near[y, x]:
                        near[y, x] = z
                        face[y, x] = t
                        first[y, x] = a
                        second[y, x] = b
                a += step_a
                b += step_b


@compiled
def paint(
    near: Floats32, face: Ints32, first: Floats32, second: Floats32, left: int, top: int, owner:
    int,
    triangles: Ints32, slots: Ints32, rest: Floats32, normals: Floats32, uv: Floats32,
    materials: Floats32, marks: Floats32, light: Floats32, seed: float,
    frame_near: Floats32, frame_owner: Ints32, colour: Floats32,
) -> None:  # fmt: skip
    """Colour a window's pixels in linear light where they lie in front of what the frame already
    holds.

    `light`: rows of key direction, key colour, sky colour, ground colour, direction to the camera.
    """
    height, width = near.shape
    for wy in range(height):
        for wx in range(width):
            t = face[wy, wx]
            y, x = wy + top, wx + left
            if t < 0 or near[wy, wx] <= frame_near[y, x]:
                continue
            frame_near[y, x] = near[wy, wx]
            frame_owner[y, x] = owner
            i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            a, b = first[wy, wx], second[wy, wx]
            c = np.float32(1.0) - a - b
            px = a * rest[i, 0] + b * rest[j, 0] + c * rest[k, 0]
            py = a * rest[i, 1] + b * rest[j, 1] + c * rest[k, 1]
            pz = a * rest[i, 2] + b * rest[j, 2] + c * rest[k, 2]
            u = a * uv[i, 0] + b * uv[j, 0] + c * uv[k, 0]
            v = a * uv[i, 1] + b * uv[j, 1] + c * uv[k, 1]
            nx = a * normals[i, 0] + b * normals[j, 0] + c * normals[k, 0]
            ny = a * normals[i, 1] + b * normals[j, 1] + c * normals[k, 1]
            nz = a * normals[i, 2] + b * normals[j, 2] + c * normals[k, 2]
            red, green, blue, gloss, folds = _surface(
                slots[t], px, py, pz, u, v, materials, marks, seed
            )
            if (
                folds > 0.0
            ):  # creases: waves along the limb, shifted by noise so that they never look regular
                bend = 9.0 * cloud(px * 9.0, py * 9.0 + seed, pz * 5.0)
                wave = math.sin(pz * 38.0 + bend + 14.0 * px)
                nz += 0.16 * folds * wave
                nx += 0.20 * folds * (cloud(px * 21.0, seed + py * 21.0, pz * 8.0) - 0.5)
                ny += 0.20 * folds * (cloud(seed + px * 21.0, py * 21.0, pz * 8.0 + 7.0) - 0.5)
            length = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
            nx, ny, nz = nx * length, ny * length, nz * length
            facing = nx * light[4, 0] + ny * light[4, 1] + nz * light[4, 2]
            if facing < 0.0:  # the inside of a cloth
                nx, ny, nz, facing = -nx, -ny, -nz, -facing
            key = nx * light[0, 0] + ny * light[0, 1] + nz * light[0, 2]
            key = max(0.0, (key + 0.12) / 1.12)
            sky = 0.5 + 0.5 * nz
            under = 0.72 + 0.28 * min(
                1.0, max(0.0, pz / (0.9 * marks[17]))
            )  # the floor takes light from below
            rim = (1.0 - facing) ** 3 * 0.10
            hx, hy, hz = (
                light[0, 0] + light[4, 0],
                light[0, 1] + light[4, 1],
                light[0, 2] + light[4, 2],
            )
            half = max(
                0.0, (nx * hx + ny * hy + nz * hz) / math.sqrt(hx * hx + hy * hy + hz * hz + 1e-9)
            )
            shine = gloss * half**18
            for band in range(3):
                ambient = (
                    sky * light[2, band] + (1.0 - sky) * light[3, band]
                ) * under + rim * light[2, band]
                base = red if band == 0 else (green if band == 1 else blue)
                colour[y, x, band] = (
                    base * (ambient + key * light[1, band]) + shine * light[1, band]
                )


@compiled
def _surface(
    slot: int,
    px: float,
    py: float,
    pz: float,
    u: float,
    v: float,
    materials: Floats32,
    marks: Floats32,
    seed: float,
) -> tuple[float, float, float, float, float]:
    """Colour, gloss and depth of folds at a place of the resting body."""
    m = materials[slot]
    gloss, folds = m[8], m[9]
    red, green, blue = _pattern(m, u, v, px, py, pz, seed)
    scale = marks[17]
    if slot == 1:
        red, green, blue, folds = _head(px / scale, py / scale, (pz - marks[16]) / scale, m, marks)
    elif slot == 2:
        front = py > 0.0
        if marks[8] > 0.0 and front and abs(px) < marks[8] * (0.6 + 0.9 * (pz / scale - 0.9)):
            red, green, blue = marks[9], marks[10], marks[11]
        elif marks[31] > 0.0 and front and abs(px) < 0.006 * scale:
            red, green, blue = 0.35 * red, 0.35 * green, 0.35 * blue
        if marks[0] > 0.0 and ((front and marks[4] > 0.0) or (not front and marks[5] > 0.0)):
            flip = 1.0 if front else -1.0
            if _logo(int(marks[0]), flip * px / marks[7], (pz - marks[6]) / marks[7]):
                red, green, blue = marks[1], marks[2], marks[3]
        if _strap(int(marks[12]), px / scale, py, pz / scale):
            red, green, blue, gloss = marks[13], marks[14], marks[15], 0.1
    elif slot == 6 and pz < 0.022 * scale:
        red, green, blue, gloss = marks[28], marks[29], marks[30], 0.0
    elif slot == 10:
        seam = abs(pz / scale - 1.2)
        if seam < 0.006 and py < 0.0:
            red, green, blue = 0.4 * red, 0.4 * green, 0.4 * blue
    return red, green, blue, gloss, folds


@compiled
def _pattern(
    m: Floats32, u: float, v: float, px: float, py: float, pz: float, seed: float
) -> tuple[float, float, float]:
    kind, size = int(m[6]), m[7]
    second = 0.0
    if kind == 1:
        second = 1.0 if (pz / size) % 1.0 < 0.42 else 0.0
    elif kind == 2:
        second = 1.0 if (u / (0.7 * size)) % 1.0 < 0.3 else 0.0
    elif kind == 3:
        across = 1.0 if (u / (0.8 * size)) % 1.0 < 0.4 else 0.0
        down = 1.0 if (pz / (0.8 * size)) % 1.0 < 0.4 else 0.0
        second = 0.45 * (across + down)
    elif kind == 4:
        row = math.floor(pz / (0.6 * size))
        du = ((u / (0.6 * size) + 0.5 * (row % 2)) % 1.0) - 0.5
        dv = ((pz / (0.6 * size)) % 1.0) - 0.5
        second = 1.0 if du * du + dv * dv < 0.07 else 0.0
    elif kind == 5:
        second = 1.0 if pz > 1.24 else 0.0
    elif kind == 6:
        patch = cloud(px * 16.0 + seed, py * 16.0, pz * 16.0) + 0.5 * cloud(
            px * 37.0, py * 37.0 + seed, pz * 37.0
        )
        second = 1.0 if patch > 0.82 else 0.0
    elif kind == 7:
        second = 0.5 * cloud(px * 160.0 + seed, py * 160.0, pz * 160.0)
    return (
        m[0] + (m[3] - m[0]) * second,
        m[1] + (m[4] - m[1]) * second,
        m[2] + (m[5] - m[2]) * second,
    )


@compiled
def _head(  # noqa: PLR0912 - one case per feature
    x: float, y: float, z: float, m: Floats32, marks: Floats32
) -> tuple[float, float, float, float]:
    """Face, beard, hair or hat at a place relative to the middle of the head, metres of the
    reference adult.
    """
    y -= 0.012
    if y < -0.03:
        line = -0.08
    elif y < 0.0:
        line = -0.08 + (y + 0.03) / 0.03 * 0.05
    elif y < 0.03:
        line = -0.03 + y / 0.03 * 0.06
    else:
        line = 0.03 + min(1.0, (y - 0.03) / 0.07) * 0.03
    hat = int(marks[24])
    if hat > 0 and z > (0.042 if y > 0.0 else 0.02) - (0.03 if hat == 2 else 0.0) * (y < 0.0):
        return marks[25], marks[26], marks[27], 0.3
    if marks[18] > 0.0 and z > line:
        return marks[19], marks[20], marks[21], 0.9
    red, green, blue = m[0], m[1], m[2]
    if y > 0.03:
        eye = ((abs(x) - 0.031) / 0.013) ** 2 + ((z - 0.008) / 0.007) ** 2
        brow = abs(abs(x) - 0.031) < 0.018 and abs(z - 0.030) < 0.005
        mouth = (x / 0.024) ** 2 + ((z + 0.066) / 0.007) ** 2 < 1.0
        socket = ((abs(x) - 0.031) / 0.024) ** 2 + ((z - 0.008) / 0.018) ** 2
        if socket < 1.0:
            red, green, blue = red * 0.72, green * 0.66, blue * 0.64
        if mouth:
            red, green, blue = red * 0.75, green * 0.5, blue * 0.5
        if marks[22] > 0.0 and z < -0.035 and not mouth:
            red, green, blue = _mix(red, marks[19]), _mix(green, marks[20]), _mix(blue, marks[21])
        if brow:
            red, green, blue = _mix(red, marks[19]), _mix(green, marks[20]), _mix(blue, marks[21])
        if eye < 1.0:
            red, green, blue = 0.03, 0.025, 0.02
        if marks[23] > 0.0 and 1.0 < socket < 1.7:
            red, green, blue = 0.02, 0.02, 0.02
    return red, green, blue, 0.0


@compiled
def _mix(base: float, other: float) -> float:
    return 0.3 * base + 0.7 * other


@compiled
def _logo(kind: int, x: float, z: float) -> bool:
    """Whether a place on the chest, in half sizes of the print, is inked."""
    if abs(x) > 1.0 or abs(z) > 1.0:
        return False
    if kind == 1:
        return x * x + z * z < 0.75
    if kind == 2:
        return abs(z) < 0.55
    if kind == 3:  # three lines of blocks, as text looks from afar
        row = math.floor((z + 1.0) * 1.5)
        return ((z + 1.0) * 1.5) % 1.0 > 0.35 and ((x + 1.0) * (2.0 + 0.5 * row)) % 1.0 > 0.25
    if kind == 4:
        return abs(x) < 0.28 or abs(z) < 0.28
    return abs(x) < 0.5 * (1.0 - z)


@compiled
def _strap(kind: int, x: float, y: float, z: float) -> bool:
    if kind == 1:  # both shoulders, in front only
        return y > -0.03 and abs(abs(x) - 0.105) < 0.02 and z > 1.16
    if kind in (2, 4):
        side = -1.0 if kind == 2 else 1.0
        return abs(x * side - 0.12) < 0.013 and z > 0.98
    if kind in (3, 5):  # from one shoulder to the other hip
        side = -1.0 if kind == 3 else 1.0
        return abs(x * side + (z - 1.22) * 0.55) < 0.022 and z > 0.95
    return False


@compiled
def claim(
    near: Floats32, left: int, top: int, owner: int, frame_near: Floats32, frame_owner: Ints32,
    extent: NDArray[np.float64]
) -> None:  # fmt: skip
    """Take the frame's pixels where a person is in front; `extent` gets its box and its number of
    pixels alone.
    """
    height, width = near.shape
    count, x0, y0, x1, y1 = 0, width, height, -1, -1
    for y in range(height):
        for x in range(width):
            if near[y, x] <= 0.0:
                continue
            count += 1
            x0, x1 = min(x0, x), max(x1, x)
            y0, y1 = min(y0, y), max(y1, y)
            if near[y, x] > frame_near[y + top, x + left]:
                frame_near[y + top, x + left] = near[y, x]
                frame_owner[y + top, x + left] = owner
    extent[0], extent[1], extent[2], extent[3], extent[4] = (
        x0 + left,
        y0 + top,
        x1 + left + 1,
        y1 + top + 1,
        count,
    )


@compiled
def gather(owner: Ints32, colour: Floats32, total: Floats32, cover: Floats32, share: float) -> None:
    """Add a pass to the picture."""
    height, width = owner.shape
    for y in range(height):
        for x in range(width):
            if owner[y, x] >= 0:
                cover[y, x] += share
                for band in range(3):
                    total[y, x, band] += share * colour[y, x, band]
