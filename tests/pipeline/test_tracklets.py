"""Which crops are embedded and what is told of it: with an engine whose answer is the crop's mean colour."""

import cv2
import numpy as np
import pytest

from engines.engine import TensorSpec
from engines.streaming import FrameAverages, StreamingReid
from pipeline.frames import Frame, Tracks
from pipeline.quality import quality, sharpness
from pipeline.tracklets import Tracklets, TrackletSettings

HEIGHT, WIDTH = 64, 32
STEP = 0.04


class MeanColour:
    """Embeds single crops as their mean colour. A purely black one makes it answer NaN."""

    max_batch = 8

    def __init__(self):
        self.inputs = {"crops": TensorSpec("crops", (-1, HEIGHT, WIDTH, 3), "uint8")}
        self.outputs = {"embedding": TensorSpec("embedding", (-1, 3), "float32")}
        self.batches = []

    def run(self, inputs):
        crops = inputs["crops"]
        self.batches.append(crops.copy())
        colours = crops.reshape(len(crops), -1, 3).mean(axis=1, dtype=np.float32)
        colours[(colours == 0).all(axis=1)] = np.nan
        return {"embedding": colours}

    def state_rows(self, capacity):
        raise NotImplementedError

    def close(self):
        pass


class Scene:
    """Tracklets with their engine, and the ticks that a test gives them."""

    def __init__(self, capacity=64, cameras=("hall",), **settings):
        self.engine = MeanColour()
        self.pool = StreamingReid(FrameAverages(self.engine), capacity)
        self.tracklets = Tracklets(self.pool, cameras, TrackletSettings(**settings))

    def tick(self, time, boxes, *, camera="hall", image=None, scores=None):
        """Boxes by local id. Returns updates by local id, and who ended."""
        return self.ticks(time, (seen(time, boxes, camera, image, scores),))

    def ticks(self, time, seen):
        self.engine.batches.clear()
        updates, ended = self.tracklets.update(seen, time)
        assert len({(u.camera, u.local_id) for u in updates}) == len(updates)
        return {u.local_id: u for u in updates}, ended

    @property
    def embedded(self):
        """Crops that the engine was given in this tick."""
        return sum(map(len, self.engine.batches))


def seen(time, boxes, camera="hall", image=None, scores=None):
    image = np.full((400, 4000, 3), 90, np.uint8) if image is None else image
    boxes = {key: np.asarray(box, np.float32) for key, box in boxes.items()}
    tracks = Tracks(
        np.array(list(boxes), np.int64),
        np.array(list(boxes.values()), np.float32).reshape(-1, 4),
        np.full(len(boxes), 0.9, np.float32) if scores is None else np.float32(scores),
        np.zeros(len(boxes), np.float32),
    )
    return Frame(camera, 0, time, image), tracks


def person(place, height=160, top=100):
    """A box of a person's shape, no two places overlapping."""
    return [50 + 100 * place, top, 50 + 100 * place + height * 0.4, top + height]


def crowd(count, first=0):
    return {first + n + 1: person(n) for n in range(count)}


def test_the_budget_holds_and_everybody_has_his_turn():
    scene = Scene(budget=4)
    for tick in range(100):
        scene.tick(tick * STEP, crowd(30))
        assert scene.embedded == 4, "there is always somebody who waits"
    crops = {key: update.frames_seen for key, update in scene.tick(10.0, crowd(30))[0].items()}
    assert set(crops) == set(range(1, 31))
    # 101 × 4 crops over 30 people, all seen equally well, are 13.5 each
    assert min(crops.values()) >= 13
    assert max(crops.values()) <= 14


def test_a_poor_view_waits_longer_but_not_for_ever():
    scene, poor = Scene(budget=1), 0.35
    scores = [0.9] * 9 + [poor]
    updates = {}
    for tick in range(400):
        updates.update(scene.tick(tick * STEP, crowd(10), scores=scores)[0])
    assert updates[10].frames_seen >= 10
    assert updates[1].frames_seen > updates[10].frames_seen


def test_a_new_tracklet_comes_first_however_poor_its_view():
    scene = Scene(budget=1)
    for tick in range(3):
        scene.tick(tick * STEP, crowd(3))
    scores = [0.9, 0.9, 0.9, 0.28]  # the others have waited long, and are seen well
    updates, _ = scene.tick(9.0, {**crowd(3), 9: person(8)}, scores=scores)
    assert updates[9].frames_seen == 1


def test_old_tracklets_do_not_starve_among_ever_new_ones():
    """Four newcomers a second who stay for two want more crops, 32 a second, than the budget of 25 has."""
    scene, served = Scene(budget=1, end_after=1.0), [299.0]
    for second in range(300):
        scene.tick(second, crowd(1))
    for tick in range(25 * 40):
        time = 300 + tick * STEP
        second = tick // 25
        young = {4 * second - 2 + n: person(n) for n in range(1, 9)}
        crops = scene.tick(time, {1: person(0), **{k: v for k, v in young.items() if k > 1}})[0]
        if 1 in crops and crops[1].frames_seen > 300 + len(served) - 1:
            served.append(time)
    assert len(served) > 8
    assert np.diff(served).max() < 6.0


@pytest.mark.parametrize(("crops", "spacing"), [(1, 0.25), (5, 1.0)])
def test_crops_of_a_tracklet_are_spaced(crops, spacing):
    """A quarter of a second until it is well known, here after four crops, then a second."""
    scene, times, tick = Scene(well_known=4), [], 0
    while len(times) < crops + 1:
        scene.tick(tick * STEP, crowd(1))
        times += [tick * STEP] * scene.embedded
        tick += 1
    assert spacing <= times[crops] - times[crops - 1] + 1e-6 < spacing + 2 * STEP


@pytest.mark.parametrize(
    ("why", "box", "score"),
    [
        ("too small", [500, 100, 512, 131], 0.9),
        ("lying or a group", [500, 100, 700, 260], 0.9),
        ("hardly detected", person(4), 0.2),
        ("a sliver at the border", [0, 100, 5, 260], 0.9),
        ("outside the picture", [-90, 100, -20, 260], 0.9),
        ("outside, beyond the far corner", [4010, 410, 4080, 570], 0.9),
    ],
)
def test_poor_crops_are_left_alone(why, box, score):
    scene = Scene()
    updates, _ = scene.tick(0.0, {1: box}, scores=[score])
    assert (scene.embedded, updates, scene.pool.counts.open) == (0, {}, 0), why


def test_who_stands_behind_somebody_is_left_alone():
    scene = Scene()
    behind, before = [500, 100, 564, 260], [505, 110, 569, 270]
    updates, _ = scene.tick(0.0, {1: behind, 2: before})
    assert set(updates) == {2}


def test_quality_says_what_it_is_made_of():
    def of(*boxes, score=1.0):
        boxes = np.array(boxes, np.float32)
        return quality(boxes, np.full(len(boxes), score, np.float32), (1000, 500), 160.0)

    free = [500, 100, 564, 260]
    assert of(free)[0] == pytest.approx(1.0)
    assert of(free, score=0.5)[0] == pytest.approx(0.5)
    assert of([500, 100, 532, 180])[0] == pytest.approx(0.5)  # half the height
    for border in (
        [0, 100, 64, 260],
        [936, 100, 1000, 260],
        [500, 0, 564, 160],
        [500, 340, 564, 500],
    ):
        assert of(border)[0] == pytest.approx(0.6)
    quarter_hidden = of(free, [548, 101, 612, 261])
    assert quarter_hidden[0] == pytest.approx(1 - 16 * 159 / (64 * 160))
    assert quarter_hidden[1] == pytest.approx(1.0)


def test_slots_open_and_close_with_tracklets():
    scene = Scene(end_after=10.0)
    scene.tick(0.0, crowd(3))
    assert (scene.pool.counts.open, scene.tracklets.counts.open) == (3, 3)
    _, ended = scene.tick(10.0, {2: person(1)})
    assert ended == []
    _, ended = scene.tick(10.5, {2: person(1)})
    assert sorted(ended) == [("hall", 1), ("hall", 3)]
    assert scene.pool.counts.open == 1
    assert scene.tracklets.end_all() == [("hall", 2)]
    assert (scene.pool.counts.open, scene.tracklets.counts.open) == (0, 0)
    assert scene.tracklets.end_all() == []


def test_a_camera_that_lags_ends_nobody_before_its_own_time():
    """Frames of the yard come 30 s late, in ticks of their own and together with the hall's."""
    scene = Scene(cameras=("hall", "yard"), end_after=10.0)
    for now in np.arange(100.0, 112.0, 0.5):
        boxes = {1: person(1)} if now < 101 else {}
        pair = seen(now, {1: person(0)}), seen(now - 30, boxes, "yard")
        for tick in ([pair[0]], [pair[1]]) if now % 1 else ([*pair],):
            _, ended = scene.ticks(max(frame.time for frame, _ in tick), tick)
            assert ended == ([("yard", 1)] if now == 111.0 else []), now


def test_who_is_looked_at_rarely_is_followed_on():
    scene = Scene(cameras=("hall", "court"))
    ended = []
    for tick in range(200):
        now = tick / 10
        sights = [seen(now, {7: person(9)}, "court")]
        if tick % 30 == 0 and tick < 100:
            sights.append(seen(now, {1: person(0)}))
        ended += [(now, *who) for who in scene.ticks(now, sights)[1]]
    # Nothing is known of the camera's rhythm before its second picture.
    assert [(pytest.approx(now, abs=0.2), *who) for now, *who in ended] == [
        (2.1, "hall", 1),
        (9 + 2.5 * 3, "hall", 1),
    ]


def test_a_camera_that_fell_silent_holds_its_slots_no_longer_than_others():
    scene = Scene(cameras=("hall", "yard"), end_after=10.0)
    scene.ticks(100.0, [seen(100.0, {1: person(0)}), seen(80.0, {1: person(1)}, "yard")])
    over = {}
    for now in np.arange(100.5, 120.0, 0.5):
        _, ended = scene.tick(now, {1: person(0)})
        over |= dict.fromkeys(ended, now)
    assert over == {("yard", 1): 110.5}


def test_a_clock_that_leaps_ends_nobody_of_another_camera():
    scene = Scene(cameras=("hall", "yard"), end_after=10.0)
    scene.ticks(100.0, [seen(100.0, {1: person(0)}), seen(100.0, {1: person(1)}, "yard")])
    _, ended = scene.tick(3700.0, {2: person(0)})
    assert ended == [("hall", 1)], "of the hall an hour is missing"
    _, ended = scene.tick(100.5, {1: person(1)}, camera="yard")
    assert ended == []


def test_a_clock_that_goes_back_is_told_once_and_its_people_are_followed_on(caplog):
    scene = Scene(end_after=10.0)
    for step in range(8):
        scene.tick(5000 + step * 0.25, {1: person(1)})
    told = [scene.tick(1400 + step * 0.25, {1: person(1)}) for step in range(8)]
    assert all(ended == [] for _, ended in told)
    assert sum(1 in updates for updates, _ in told) >= 7, "not silent for the hour that comes again"
    assert told[-1][0][1].frames_seen == 15
    assert [record.getMessage() for record in caplog.records] == [
        "the clock of hall went back by 3601.8 s: its people are followed on"
    ]
    assert scene.tracklets.counts.open == 1


def test_a_full_pool_refuses_counts_and_recovers():
    scene = Scene(capacity=2, budget=2, end_after=1.0)
    updates, _ = scene.tick(0.0, crowd(2))
    assert set(updates) == {1, 2}
    late = {3: person(4), 4: person(5), 5: person(6)}
    served = 0
    for tick in range(1, 11):
        updates, _ = scene.tick(tick * 0.3, {**crowd(2), **late})
        assert set(updates) == {1, 2}, "those without a slot must not take the others' turns"
        served += scene.embedded
    assert served == 20
    assert scene.tracklets.counts.refused == 3, "three tracklets, however often they ask"
    _, ended = scene.tick(4.2, late)
    assert sorted(ended) == [("hall", 1), ("hall", 2)]
    updates, _ = scene.tick(4.5, late)
    assert len(updates) == 2
    assert set(updates) < set(late)
    assert scene.tracklets.counts.refused == 3


def test_a_slot_used_again_knows_nothing_of_who_had_it():
    scene = Scene(capacity=1, end_after=1.0)
    red, blue = np.zeros((400, 400, 3), np.uint8), np.zeros((400, 400, 3), np.uint8)
    red[..., 2], blue[..., 0] = 200, 200
    scene.tick(0.0, crowd(1), image=red)
    scene.tick(0.1, crowd(1), image=red)
    scene.tick(2.0, {}, image=blue)
    updates, _ = scene.tick(2.1, {7: person(0)}, image=blue)
    np.testing.assert_allclose(updates[7].embedding, [1, 0, 0], atol=1e-6)
    assert (updates[7].frames_seen, updates[7].since) == (1, 2.1)


def test_who_is_still_there_is_told_twice_a_second():
    scene = Scene(spacing=30.0)
    first = scene.tick(100.0, crowd(1))[0][1]
    told = []
    for tick in range(1, 101):
        updates, _ = scene.tick(100.0 + tick * STEP, crowd(1))
        told += updates.values()
        assert scene.embedded == 0
    gaps = np.diff([first.time, *(update.time for update in told)])
    assert gaps.min() >= 0.5 - 1e-6
    assert gaps.max() < 0.5 + 2 * STEP
    for update in told:
        np.testing.assert_array_equal(update.embedding, first.embedding)
        assert (update.frames_seen, update.confidence, update.since) == (1, 1 / 8, 100.0)
    updates, _ = scene.tick(120.0, {})
    assert updates == {}, "nobody is in sight"


def test_since_is_when_the_tracklet_began_not_its_first_crop():
    scene = Scene()
    far = [500, 100, 512, 130]
    for tick in range(10):
        assert scene.tick(5.0 + tick * STEP, {1: far})[0] == {}
    update = scene.tick(6.0, {1: person(3)})[0][1]
    assert (update.since, update.time) == (5.0, 6.0)


def test_an_embedding_told_is_not_changed_by_later_ones():
    scene = Scene()
    grey, red = np.full((400, 400, 3), 90, np.uint8), np.zeros((400, 400, 3), np.uint8)
    red[..., 2] = 250
    first = scene.tick(0.0, crowd(1), image=grey)[0][1]
    kept = first.embedding.copy()
    second = scene.tick(1.0, crowd(1), image=red)[0][1]
    np.testing.assert_array_equal(first.embedding, kept)
    mean = (
        np.full(3, 3**-0.5) + np.array([0, 0, 1])
    ) / 2  # of the two units, as FrameAverages promises
    np.testing.assert_allclose(second.embedding, mean, atol=1e-6)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_an_answer_that_is_no_number_is_not_told():
    scene = Scene()
    image = np.full((400, 400, 3), 90, np.uint8)
    image[:, 140:240] = 0  # the second person is purely black
    updates, _ = scene.tick(0.0, crowd(2), image=image)
    assert (set(updates), scene.embedded) == ({1}, 2)
    assert set(scene.tick(0.6, {2: person(1)}, image=image)[0]) == set()
    update = scene.tick(1.2, {2: person(1)})[0][2]
    assert update.frames_seen == 1
    assert np.isfinite(update.embedding).all()


def test_cameras_do_not_mix():
    scene = Scene(cameras=("hall", "court"))
    red, blue = np.zeros((400, 400, 3), np.uint8), np.zeros((400, 400, 3), np.uint8)
    red[..., 2], blue[..., 0] = 200, 200
    updates, _ = scene.tracklets.update(
        [seen(0.0, crowd(1), "court", red), seen(0.02, crowd(1), "hall", blue)], 0.02
    )
    looks = {u.camera: u.embedding.tolist() for u in updates}
    assert looks["court"] == pytest.approx([0, 0, 1])
    assert looks["hall"] == pytest.approx([1, 0, 0])
    assert sorted(scene.tracklets.end_all()) == [("court", 1), ("hall", 1)]


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ([100, 50, 132, 114], (50, 114), (100, 132)),  # exactly the network's size
        ([100.6, 50.2, 131.1, 113.5], (50, 114), (100, 132)),  # all that it touches
        ([40, 20, 120, 180], (20, 180), (40, 120)),  # shrunk
        ([-30, -20, 60, 170], (0, 170), (0, 60)),  # over the upper left corner
        ([250, 120, 330, 330], (120, 240), (250, 320)),  # over the lower right corner
    ],
)
def test_crops_are_cut_from_the_right_place(box, rows, columns):
    """Against the same part cut by hand and resized by OpenCV with area averaging."""
    smooth = np.random.default_rng(3).integers(0, 256, (15, 20, 3), np.uint8)
    image = cv2.resize(smooth, (320, 240), interpolation=cv2.INTER_CUBIC)
    scene = Scene()
    scene.tick(0.0, {1: box}, image=image)
    (crop,) = scene.engine.batches[0]
    part = image[slice(*rows), slice(*columns)]
    expected = cv2.resize(part, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(crop, expected)


# ---- sharpness ------------------------------------------------------------------------------------


def people_of_tiles(blur, contrast=1.0, seed=5):
    """Six people whose clothes are coloured tiles, blurred as a lens or as motion does."""
    tiles = np.random.default_rng(seed).integers(0, 256, (50, 150), np.uint8)
    image = cv2.resize(tiles, (1200, 400), interpolation=cv2.INTER_NEAREST)
    if blur:
        image = cv2.blur(image, blur)
    luma = np.clip(128 + contrast * (image.astype(float) - 128), 0, 255).astype(np.uint8)
    return luma, np.array([person(n, height) for n, height in enumerate(range(80, 200, 20))], "f4")


def test_sharp_people_are_told_from_blurred_ones_in_any_light():
    sharp = sharpness(*people_of_tiles(None))
    assert sharp.min() > 0.7
    for blur in ((9, 9), (15, 1), (1, 15)):  # a lens, and motion along each axis
        assert sharpness(*people_of_tiles(blur)).max() < 0.35, blur
    dim = sharpness(*people_of_tiles(None, contrast=0.3))
    np.testing.assert_allclose(dim, sharp, atol=0.1)


def test_more_blur_is_never_sharper():
    values = [sharpness(*people_of_tiles((n, n) if n else None)).mean() for n in (0, 2, 4, 7)]
    assert values == sorted(values, reverse=True)


def test_where_nothing_is_to_be_seen_or_a_box_leaves_the_picture_nothing_breaks():
    plain = np.full((100, 100), 77, np.uint8)
    boxes = np.array([[-50, -50, 20, 90], [90, 90, 400, 400], [5, 5, 6, 6]], np.float32)
    assert sharpness(plain, boxes).tolist() == [1.0, 1.0, 1.0]
    assert sharpness(plain, boxes[:0]).shape == (0,)


def test_a_blurred_crop_waits_for_a_sharp_one_but_not_for_ever():
    """Two people, equally seen but for blur; the spacing is a quarter of a second."""
    luma, _ = people_of_tiles(None)
    image = np.repeat(luma[..., None], 3, axis=2)
    image[:, :700] = cv2.blur(image[:, :700], (9, 9))
    scene, taken = Scene(spacing=0.25), {1: [], 2: []}
    boxes, before = {1: person(1), 2: person(9)}, {1: 0, 2: 0}
    for tick in range(60):
        updates, _ = scene.tick(tick * STEP, boxes, image=image)
        for key, update in updates.items():
            if update.frames_seen > before[key]:
                taken[key].append(tick * STEP)
                before[key] = update.frames_seen
    assert taken[1][0] == taken[2][0] == 0.0, "the first crop is taken whatever it is"
    assert np.diff(taken[2])[:4].max() <= 0.41
    assert 0.5 <= np.diff(taken[1]).min() <= np.diff(taken[1]).max() <= 1.05
