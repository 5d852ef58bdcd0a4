"""Sightings and events as a run passes them to its outputs."""

import numpy as np

from pipeline.frames import EventKind, Frame, IdentityEvent, Tracks
from pipeline.publish import Sighting


def sighting(index, people, *, camera="hall", time=None, size=(320, 240)):
    """`people`: local id → identity, or 0; each in a box of his own."""
    image = np.full((size[1], size[0], 3), 60, np.uint8)
    boxes = [[10 + 50 * n, 80, 40 + 50 * n, 180] for n in range(len(people))]
    tracks = Tracks(
        np.array(list(people), np.int64),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(len(people), 0.75, np.float32),
        np.zeros(len(people), np.float32),
    )
    time = index / 10 if time is None else time
    identities = np.array(list(people.values()), np.int64)
    return Sighting(Frame(camera, index, time, image), tracks, identities)


def event(kind, identity, local_id, camera="hall", time=0.0, previous=None):
    return IdentityEvent(EventKind(kind), identity, camera, local_id, time, 1.5, previous)
