"""Cameras of one hall, whose geometry is exact, and what they see of its floor."""

import json

import numpy as np

from synthetic.camera import Camera

SIZE = (768, 432)
WEST = Camera("west", (0.5, 0.5, 3.0), (9, 8.2, 0.7), 76, SIZE)
EAST = Camera("east", (17.5, 0.5, 3.2), (9, 8.4, 0.7), 72, SIZE)
BENT = Camera("bent", (17.5, 0.5, 3.2), (9, 8.4, 0.7), 72, SIZE, k1=-0.05)
NORTH = Camera("north", (15.5, 72.6, 3.1), (6.5, 81, 0.7), 80, SIZE)


def pixels_of(camera, places):
    return camera.project(np.column_stack([places, np.zeros(len(places))]))[0]


def described(path, *cameras):
    """`site.json`, written here from the cameras."""
    text = {
        camera.name: {
            "width": SIZE[0],
            "height": SIZE[1],
            "matrix": camera.matrix.tolist(),
            "distortion": [camera.k1, 0, 0, 0, 0],
            "image_to_floor": np.linalg.inv(camera.homography).tolist(),
        }
        for camera in cameras
    }
    path.write_text(json.dumps({"cameras": text}))
    return path


def seen_floor(rng, count):
    return np.column_stack([rng.uniform(4, 14, count), rng.uniform(4.5, 13, count)])
