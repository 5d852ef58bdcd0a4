"""How tracks of peers are linked across cameras."""

import numpy as np

from benchmarks.peers import link


def rows(*tracks):
    """MOT rows of tracks (id, first frame, last frame)."""
    return np.array(
        [(f, i, 0, 0, 10, 20) for i, first, last in tracks for f in range(first, last + 1)], float
    )


def names(cameras, looks, threshold=0.7):
    linked = link(cameras, looks, threshold)
    return [
        {
            int(b): int(a)
            for a, b in zip(m.ids, r[np.argsort(r[:, 0], kind="stable"), 1], strict=True)
        }
        for m, r in zip(linked, cameras, strict=True)
    ]


RED, BLUE = np.eye(2)


def test_the_same_look_in_another_camera_is_the_same_person():
    one, two = names(
        [rows((1, 1, 9)), rows((1, 12, 20), (2, 12, 20))], [{1: RED}, {1: BLUE, 2: RED}]
    )
    assert one[1] == two[2] != two[1]


def test_nobody_is_twice_in_one_picture():
    (found,) = names([rows((1, 1, 9), (2, 5, 12), (3, 20, 30))], [{1: RED, 2: RED, 3: RED}])
    assert found[1] != found[2]
    assert found[3] in {found[1], found[2]}


def test_too_unlike_or_unseen_is_somebody_new():
    halfway = (RED + BLUE) / np.sqrt(2)
    one, two = names(
        [rows((1, 1, 9)), rows((1, 12, 20), (2, 12, 20))], [{1: RED}, {1: halfway}], 0.8
    )
    assert len({one[1], two[1], two[2]}) == 3
