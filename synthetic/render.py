"""Pictures of the people on a site as one camera takes them, with the truth about each."""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from synthetic.body import Body, body_of
from synthetic.camera import Camera, Optics
from synthetic.gait import Frames, Walk, pose, stride_length
from synthetic.look import Look
from synthetic.scene import GRID, Backdrop, Surroundings, backdrop_of, light_at
from synthetic.sensor import Sensor
from synthetic.shade import draw, gather, paint, project, skin
from synthetic.shadow import cast_shadows
from synthetic.shape import BONES
from synthetic.silhouettes import Outline, Region, Silhouettes
from synthetic.world import People

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Image: TypeAlias = NDArray[np.uint8]
_BODIES = 512
_NEAREST = 0.4
"""Metres from the lens within which nobody is drawn."""
_JITTER = np.array([(-0.125, -0.375), (0.375, -0.125), (0.125, 0.375), (-0.375, 0.125)])
"""Where within a pixel each pass looks: four passes make edges smooth and spread over the open
shutter.
"""


@dataclass(frozen=True, slots=True)
class Rendered:
    """One picture and who is on it; N people of whom at least a pixel's worth shows."""

    image: Image
    """(H, W, 3) BGR."""
    ids: NDArray[np.int64]
    """(N,) global identities."""
    boxes: Floats32
    """(N, 4): left, top, right, bottom of the whole silhouette, with all that is worn or carried,
    as if nothing stood in front of it, cut at the frame's edge, in whole pixels."""
    visibility: Floats32
    """(N,): share of the silhouette within the frame that shows, counted in sub-pixels."""


@dataclass(frozen=True, slots=True)
class Truth:
    """Who is in view, without a picture; rows as in `Rendered`."""

    ids: NDArray[np.int64]
    boxes: Floats32
    visibility: Floats32


@dataclass(frozen=True, slots=True)
class _Posed:
    """A person ready to be drawn for one pass."""

    screen: Floats32
    normals: Floats32
    window: Region


class Renderer:
    """Draws what one camera sees. Keeps the empty view and the meshes of recent people; not for
    several threads.
    """

    def __init__(
        self,
        camera: Camera,
        around: Surroundings,
        identity: Callable[[int], Look],
        seed: int = 0,
        samples: int = 2,
    ) -> None:
        self.camera = camera
        self._identity, self._around = identity, around
        self._backdrop: Backdrop = backdrop_of(camera, around, seed, samples)
        self._seed = seed
        self._sensor = Sensor(camera, seed)
        self._silhouettes = Silhouettes(camera, around, self._backdrop.near)
        self._bodies: OrderedDict[int, tuple[Look, Body]] = OrderedDict()
        width, height = camera.size
        self._near = np.zeros((height, width), dtype=np.float32)
        self._owner = np.zeros((height, width), dtype=np.int32)
        self._colour = np.zeros((height, width, 3), dtype=np.float32)
        self._total = np.zeros((height, width, 3), dtype=np.float32)
        self._cover = np.zeros((height, width), dtype=np.float32)
        self._shade = np.ones((height, width), dtype=np.float32)
        self._scratch = [np.zeros(height * width, dtype=np.float32) for _ in range(3)]
        self._faces = np.zeros(height * width, dtype=np.int32)
        view = np.zeros((4, 4))
        view[:3, :3], view[:3, 3] = camera.rotation, camera.translation
        view[3] = camera.matrix[0, 0], width / 2, height / 2, camera.k1
        self._view = view

    def render(
        self,
        people: People,
        index: int,
        region: Region | None = None,
        truth: Truth | None = None,
        empty: Floats32 | None = None,
    ) -> Rendered:
        """The picture of frame `index`, of `region` alone if given; the truth is always of the
        whole frame. `truth`: what `locate` told of the same people, if known. `empty`: another
        empty view than the camera's.
        """
        width, height = self.camera.size
        left, top, right, bottom = region or (0, 0, width, height)
        inside = self._in_sight(people)
        known = [self._body(int(person)) for person in people.ids[inside]]
        frames = _frames(known, people, inside)
        towards = np.asarray(self.camera.position) - np.column_stack(
            [people.position[inside], np.full(len(inside), 1.1)]
        )
        towards /= np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 1e-6)
        lights = light_at(people.position[inside], towards, self._around)
        shutter = self.camera.optics.shutter
        delays = np.array(
            [0.0, *(((np.arange(len(_JITTER)) + 0.5) / len(_JITTER) - 0.5) * shutter)]
        )
        maps, *moved = pose(
            _repeated(frames, len(delays)), _walk(people, inside, frames, delays)
        ).reshape(len(delays), len(inside), BONES, 3, 4)
        truth = truth or self._truth(known, maps, people.ids[inside])
        self._total[top:bottom, left:right] = 0
        self._cover[top:bottom, left:right] = 0
        for jitter, later in zip(_JITTER, moved, strict=True):
            self._pass(known, later, lights, people.ids[inside], jitter, (left, top, right, bottom))
        self._shade[top:bottom, left:right] = 1
        if len(inside):
            joints = np.einsum("nbij,nbj->nbi", maps[..., :3], frames.joints) + maps[..., 3]
            sun = self._around.sun if self._around.sun[3] > 0 else None
            cast_shadows(
                joints,
                frames.scale,
                self.camera,
                self._backdrop,
                sun,
                self._around,
                self._shade,
                (left, top, right, bottom),
            )
        cut = np.s_[top:bottom, left:right]
        image = self._sensor.develop(
            (self.empty if empty is None else empty)[cut],
            self._total[cut],
            self._cover[cut],
            self._shade[cut],
            index,
            (left, top),
        )
        return Rendered(image, truth.ids, truth.boxes, truth.visibility)

    @property
    def empty(self) -> Floats32:
        """(H, W, 3): what is seen when nobody is there, in linear light, red first."""
        return self._backdrop.colour

    def tune(self, optics: Optics) -> None:
        """Change what the lens and the electronics do from the next picture on."""
        self.camera = replace(self.camera, optics=optics)
        self._sensor = self._sensor.tuned(optics)

    def locate(self, people: People) -> Truth:
        """Who is where, as `render` tells it, without the picture."""
        inside = self._in_sight(people)
        known = [self._body(int(person)) for person in people.ids[inside]]
        frames = _frames(known, people, inside)
        maps = pose(frames, _walk(people, inside, frames, np.zeros(1)))
        return self._truth(known, maps, people.ids[inside])

    def _in_sight(self, people: People) -> NDArray[np.int64]:
        """Rows of people whose surrounding upright box may touch the frame."""
        width, height = self.camera.size
        corners = [(x, y, z) for x in (-0.7, 0.7) for y in (-0.7, 0.7) for z in (0.0, 2.1)]
        base = np.column_stack([people.position, np.zeros(len(people))])
        pixels, depth = self.camera.project((base[:, None] + np.array(corners)).reshape(-1, 3))
        pixels, depth = pixels.reshape(-1, 8, 2), depth.reshape(-1, 8)
        low, high = pixels.min(axis=1), pixels.max(axis=1)
        seen = (
            (depth.min(axis=1) > _NEAREST)
            & (high > 0).all(axis=1)
            & (low < (width, height)).all(axis=1)
        )
        return np.flatnonzero(seen)

    def _body(self, person: int) -> tuple[Look, Body]:
        if person in self._bodies:
            self._bodies.move_to_end(person)
            return self._bodies[person]
        look = self._identity(person)
        self._bodies[person] = look, body_of(look)
        if len(self._bodies) > _BODIES:
            self._bodies.popitem(last=False)
        return self._bodies[person]

    def _posed(self, body: Body, maps: Floats, bounds: Region, jitter: Floats) -> _Posed | None:
        points, normals = np.empty_like(body.vertices), np.empty_like(body.vertices)
        skin(body.vertices, body.normals, body.bones, body.weights, maps, points, normals)
        screen = np.empty_like(points)
        x0, y0, x1, y1, nearest = project(points, self._view, -jitter[0], -jitter[1], screen)
        left, top = max(math.floor(x0), bounds[0]), max(math.floor(y0), bounds[1])
        right, bottom = min(math.ceil(x1) + 1, bounds[2]), min(math.ceil(y1) + 1, bounds[3])
        if right <= left or bottom <= top or nearest > 1 / _NEAREST:
            return None
        return _Posed(screen, normals, (left, top, right, bottom))

    def _buffers(self, window: Region) -> tuple[Floats32, NDArray[np.int32], Floats32, Floats32]:
        shape = window[3] - window[1], window[2] - window[0]
        area = shape[0] * shape[1]
        near, first, second = (flat[:area].reshape(shape) for flat in self._scratch)
        return near, self._faces[:area].reshape(shape), first, second

    def _truth(self, known: list[tuple[Look, Body]], maps: Floats, ids: NDArray[np.int64]) -> Truth:
        """Exactly one look through each sub-pixel's middle at the frame's very time."""
        whole = (0, 0, *self.camera.size)
        posed = [
            self._posed(body, maps[row], whole, np.zeros(2)) for row, (_, body) in enumerate(known)
        ]
        there = [row for row, mesh in enumerate(posed) if mesh is not None]
        shares = self._silhouettes.shares(
            [
                Outline(mesh.screen, body.triangles, mesh.window)
                for mesh, (_, body) in zip(posed, known, strict=True)
                if mesh is not None
            ]
        )
        keep = shares.visible * shares.whole >= 1
        return Truth(ids[there][keep], shares.boxes[keep], shares.visible[keep].astype(np.float32))

    def _pass(
        self, known: list[tuple[Look, Body]], maps: Floats, lights: Floats32,
        ids: NDArray[np.int64],
        jitter: Floats, bounds: Region,
    ) -> None:  # fmt: skip
        """Add one of the looks that make up a picture."""
        left, top, right, bottom = bounds
        cut = np.s_[top:bottom, left:right]
        column, line = (int(GRID * (0.5 + offset)) for offset in jitter)
        self._near[cut] = self._backdrop.near[line::GRID, column::GRID][cut]
        self._owner[cut] = -1
        for row, (_, body) in enumerate(known):
            posed = self._posed(body, maps[row], bounds, jitter)
            if posed is None:
                continue
            x, y, _, _ = posed.window
            buffers = self._buffers(posed.window)
            draw(posed.screen, body.triangles, x, y, *buffers)
            paint(
                *buffers, x, y, row, body.triangles, body.slots, body.vertices, posed.normals,
                body.uv,
                body.materials, body.marks, lights[row], float(ids[row] % 977), self._near,
                self._owner, self._colour,
            )  # fmt: skip
        gather(
            self._owner[cut],
            self._colour[cut],
            self._total[cut],
            self._cover[cut],
            1 / len(_JITTER),
        )


def _frames(known: list[tuple[Look, Body]], people: People, rows: NDArray[np.int64]) -> Frames:
    speed = np.hypot(*people.velocity[rows].T)
    looks, bodies = [look for look, _ in known], [body for _, body in known]
    return Frames(
        joints=np.array([body.joints for body in bodies]).reshape(-1, BONES, 3),
        scale=np.array([body.scale for body in bodies]),
        stride=np.array(
            [stride_length(k.height, k.stride, v) for k, v in zip(looks, speed, strict=True)]
        ),
        swing=np.array([look.swing for look in looks]),
        lean=np.array([look.lean for look in looks]),
        toe_out=np.array([look.toe_out for look in looks]),
        arms=np.array([look.arms for look in looks], dtype=np.int64),
    )


def _walk(people: People, rows: NDArray[np.int64], frames: Frames, delays: Floats) -> Walk:
    """Everybody after each delay, going on as they do: (delays × N,) with N running fastest."""
    speed = np.hypot(*people.velocity[rows].T)
    rate = speed / (frames.stride * np.maximum(people.amount[rows], 0.35))
    times, later = len(delays), delays[:, None]
    return Walk(
        position=(people.position[rows] + later[..., None] * people.velocity[rows]).reshape(-1, 2),
        heading=np.tile(people.heading[rows], times),
        phase=(people.phase[rows] + later * rate).ravel(),
        amount=np.tile(people.amount[rows], times),
        idle=(people.time + later + 1.7 * (people.ids[rows] % 1000)).ravel(),
        glance=np.tile(people.glance[rows], times),
    )


def _repeated(frames: Frames, times: int) -> Frames:
    columns = {
        field.name: np.concatenate([getattr(frames, field.name)] * times)
        for field in fields(frames)
    }
    return Frames(**columns)
