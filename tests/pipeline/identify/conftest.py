"""A site that is simulated with its truth: who every tracklet is, known without the code under test.

Embeddings follow the published picture of a network on a strange site: cosines of one person 0.7,
of different people 0.3, each ± 0.12. People, views and noise are drawn in 48 dimensions of E, so that
chance resemblance is as common as it is among real people.
"""

from dataclasses import dataclass, field

import numpy as np
import pytest

from pipeline.frames import TrackletUpdate

DIMENSIONS = 48


@dataclass
class Sim:
    """`ticks` is what goes in; `truth` is who each (camera, local id) is."""

    ticks: list = field(default_factory=list)
    """(updates, ended, now)"""
    truth: dict = field(default_factory=dict)
    spans: dict = field(default_factory=dict)
    """(camera, local id): first and last time of an update."""


class World:
    """People as vectors, and noisy views of them."""

    def __init__(self, seed, people, cameras, *, size=96, twins=0, view=0.3, tint=0.13, noise=0.43):
        self.rng = np.random.default_rng(seed)
        self.basis = np.linalg.qr(self.rng.normal(size=(size, DIMENSIONS)))[0].T
        self.common = self._vector()
        own = self._vector(people)
        for i in range(twins):  # pairs that look alike
            own[2 * i + 1] = _unit(0.6 * own[2 * i] + 0.8 * own[2 * i + 1])
        self.people = np.sqrt(0.3) * self.common + np.sqrt(0.7) * own
        self.tints = np.sqrt(tint) * self._vector(cameras)
        self.view, self.noise = view, noise

    def tracklet(self, person, camera):
        """What a tracklet converges to."""
        return self.people[person] + self.tints[camera] + np.sqrt(self.view) * self._vector()

    def seen(self, look, frames):
        """Its embedding after some frames, in E values and of arbitrary length."""
        noisy = look + np.sqrt(self.noise / frames) * self._vector()
        return (self.rng.uniform(0.5, 5) * noisy @ self.basis).astype(np.float32)

    def _vector(self, *count):
        return _unit(self.rng.normal(size=(*count, DIMENSIONS)))


def _unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def simulate(
    *,
    seed=0,
    people=12,
    cameras=4,
    seconds=240.0,
    step=0.5,
    breaks=0.3,
    overlap=True,
    away=20.0,
    **world,
):
    """People walk from camera to camera; cameras 0 and 1 see common ground; tracklets break."""
    w = World(seed, people, cameras, **world)
    rng = w.rng
    counters = [0] * cameras
    visits = []  # (camera, local id, person, start, end)
    for person in range(people):
        now = rng.uniform(0, 40)
        while now < seconds:
            camera = int(rng.integers(cameras))
            end = now + rng.uniform(6, 20)
            places = [camera]
            if overlap and camera in {0, 1}:
                places = [0, 1]
            for place in places:
                start = now
                while start < end:
                    stop = (
                        rng.uniform(start + 2, end)
                        if end - start > 4 and rng.random() < breaks
                        else end
                    )
                    if end - stop < 2:
                        stop = end
                    visits.append((place, person, start, stop))
                    start = stop + rng.uniform(0.5, 3)
            now = end + away * rng.lognormal(0, 1)
    visits.sort(key=lambda v: v[2])
    sim, live, upcoming = Sim(), [], 0
    for now in np.arange(0, seconds, step):
        while upcoming < len(visits) and visits[upcoming][2] <= now:
            place, person, _, stop = visits[upcoming]
            counters[place] += 1
            key = (f"cam{place}", counters[place])
            sim.truth[key] = person
            live.append([key, stop, w.tracklet(person, place), 0])
            upcoming += 1
        ended = [t[0] for t in live if t[1] <= now]
        live = [t for t in live if t[1] > now]
        updates = []
        for t in live:
            t[3] += 1
            first, _ = sim.spans.get(t[0], (now, now))
            sim.spans[t[0]] = (first, now)
            updates.append(
                TrackletUpdate(t[0][0], t[0][1], now, w.seen(t[2], t[3]), t[3], min(1.0, t[3] / 16))
            )
        sim.ticks.append((updates, ended, now))
    sim.ticks.append(([], [t[0] for t in live], seconds))
    return sim


def run(identifier, sim):
    """All events of a simulation."""
    return [event for tick in sim.ticks for event in identifier.update(*tick)]


def final(events):
    """The last word on each tracklet."""
    return {(e.camera, e.local_id): e.identity for e in events}


def links(answer, truth):
    """Precision and recall of the links between tracklets that an answer makes."""
    keys = [key for key in truth if key in answer]
    said = np.array([answer[key] for key in keys])
    true = np.array([truth[key] for key in keys])
    upper = np.triu_indices(len(keys), 1)
    linked = (said[:, None] == said)[upper]
    right = (true[:, None] == true)[upper]
    return (linked & right).sum() / linked.sum(), (linked & right).sum() / right.sum()


@pytest.fixture(scope="session")
def site():
    """The functions above, for tests."""
    from types import SimpleNamespace

    return SimpleNamespace(World=World, simulate=simulate, run=run, final=final, links=links)
