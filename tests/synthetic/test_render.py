"""Truth checked on the picture itself: a person is where recolouring them changes it."""

from dataclasses import astuple, fields, replace

import numpy as np
import pytest

from synthetic import Optics, Renderer, World, load_site, surroundings_of
from synthetic.scene import backdrop_of
from synthetic.things import Things
from synthetic.world import People

CLEAN = Optics(noise=0.0, blur=0.0, vignette=0.0, shutter=0.0, exposure=0.4)
"""Dark enough that no pixel is as bright as can be: what is clipped tells nothing of shares."""
TWIN = 100_000
"""Added to an identity: the same person in bright clothes. A multiple of 1000: they move alike."""


def painted(look, value):
    """The same person with every surface of one colour."""
    colours = {
        f.name: (value,) * 3
        for f in fields(look)
        if f.type == "Colour" or f.name.endswith("colour")
    }
    colours |= {"skin": (value,) * 3, "top_second": (value,) * 3, "legs_second": (value,) * 3}
    return replace(look, **colours)


def only(people: People, rows) -> People:
    columns = {f.name: getattr(people, f.name)[rows] for f in fields(people) if f.name != "time"}
    return People(time=people.time, **columns)


def with_twin(people: People, person: int) -> People:
    return replace(people, ids=np.where(people.ids == person, person + TWIN, people.ids))


def stage(site, number):
    """A camera with clean optics, and the same without anything that stands in the way."""
    site = replace(
        site, sun_power=0.0
    )  # or buildings would shade people in one and not in the other
    world = World(site, 5)
    camera = replace(site.cameras[number], optics=CLEAN)

    def identity(person):
        return painted(world.identity(person % TWIN), 0.9 if person >= TWIN else 0.01)

    empty = replace(site, boxes=(), pillars=())
    return world, *(
        Renderer(camera, surroundings_of(s), identity, samples=1) for s in (site, empty)
    )


LIGHT = np.linspace(0, 4, 40_001)
DISPLAY = 255 * (1.18 * LIGHT / (1 + 0.18 * LIGHT**1.5)) ** (1 / 2.2)
"""The tone curve, whose inverse turns pixels into light: light adds up over a pixel's parts."""


def gained(renderer, people, person, region):
    """(h, w): the light that the pixels of a region gain with a person's bright clothes."""
    dark = renderer.render(people, 0, region).image
    bright = renderer.render(with_twin(people, person), 0, region).image
    before, after = (np.interp(picture, DISPLAY, LIGHT) for picture in (dark, bright))
    return (after - before).mean(axis=2)


def share_that_shows(alone, there):
    """Of a silhouette, by the light gained alone and behind what hides it."""
    # how much of a pixel the silhouette covers: its light against the brightest beside it
    around = np.max(
        [np.roll(alone, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)], axis=0
    )
    body = alone > 0.1 * np.quantile(alone[alone > 0.01], 0.5)
    cover = np.where(body, alone / np.maximum(around, 1e-9), 0)
    share = np.clip(there / np.maximum(alone, 1e-9), 0, 1)
    return (share * cover)[body].sum() / cover[body].sum()


@pytest.mark.parametrize("name", ["plaza", "mall"])
def test_boxes_and_visibility_are_those_of_the_silhouette(name):
    site = load_site(name).resized((960, 540))
    rng = np.random.default_rng(6)
    world, full, empty = stage(site, 0)
    checked, partly, errors = 0, 0, []
    for time in np.sort(rng.uniform(0, 300, 100)):
        people = world.people_at(float(time))
        shown = full.locate(people)
        assert (shown.visibility > 0).all()
        assert (shown.visibility <= 1).all()
        if not len(shown.ids):
            continue
        # half of the time somebody partly hidden, if there is anybody
        hidden = np.flatnonzero(
            (shown.visibility < 0.9) & (shown.boxes[:, 3] - shown.boxes[:, 1] > 40)
        )
        row = (
            int(rng.choice(hidden))
            if len(hidden) and rng.random() < 0.7
            else int(rng.integers(len(shown.ids)))
        )
        person = int(shown.ids[row])
        left, top = np.maximum(shown.boxes[row, :2].astype(int) - 6, 0).tolist()
        right, bottom = np.minimum(shown.boxes[row, 2:].astype(int) + 6, (960, 540)).tolist()
        alone = gained(
            empty, only(people, people.ids == person), person, (left, top, right, bottom)
        )
        there = gained(full, people, person, (left, top, right, bottom))
        # one look in four gives a quarter of the light
        ys, xs = np.nonzero(alone > 0.12 * np.quantile(alone[alone > 0.01], 0.5))
        extent = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
        extent += np.array([left, top, left, top])
        assert np.abs(extent - shown.boxes[row]).max() <= 1, (time, person)
        if len(xs) > 300:
            errors.append(share_that_shows(alone, there) - shown.visibility[row])
            partly += shown.visibility[row] < 0.9
        checked += 1
    assert checked >= 90
    assert partly >= 8
    assert abs(np.mean(errors)) < 0.005
    assert np.abs(errors).max() < 0.02


@pytest.mark.parametrize("name", ["plaza", "mall"])
def test_visibility_of_everybody_is_that_of_a_picture_four_times_as_fine(name):
    """Small and distant people too, whom too few pixels of a picture show to judge them by it."""
    coarse, fine = (load_site(name).resized(size) for size in ((320, 180), (1280, 720)))
    world = World(coarse, 5)
    renderers = [
        Renderer(site.cameras[0], surroundings_of(site), world.identity, samples=1)
        for site in (coarse, fine)
    ]
    partly = 0
    for time in np.linspace(2, 200, 12):
        people = world.people_at(float(time))
        shown, reference = (renderer.locate(people) for renderer in renderers)
        where = {person: row for row, person in enumerate(reference.ids.tolist())}
        rows = [where[person] for person in shown.ids.tolist()]
        np.testing.assert_allclose(shown.visibility, reference.visibility[rows], atol=0.02)
        # at the frame's edge a box may hang on a sliver narrower than a pixel's part
        inside = (shown.boxes[:, :2] > 0).all(1) & (shown.boxes[:, 2:] < (320, 180)).all(1)
        gap = np.abs(shown.boxes - reference.boxes[rows] / 4).max(axis=1)
        assert gap[inside].max(initial=0) <= 1
        partly += int((shown.visibility < 0.9).sum())
    assert partly >= 8


def test_a_part_of_a_picture_is_that_part_of_the_whole():
    site = load_site("plaza").resized((480, 270))
    world, full, _ = stage(site, 1)
    people = world.people_at(12.0)
    whole = full.render(people, 3)
    assert len(whole.ids) > 3
    left, top, right, bottom = (int(v) for v in whole.boxes[0])
    part = full.render(people, 3, (left, top, right, bottom))
    np.testing.assert_array_equal(part.image, whole.image[top:bottom, left:right])
    np.testing.assert_array_equal(part.boxes, whole.boxes)


def test_feet_stand_where_the_ground_truth_floor_is():
    site = load_site("plaza").resized((960, 540))
    world, full, _ = stage(site, 1)
    for time in (3.0, 40.0, 90.0):
        people = world.people_at(time)
        shown = full.render(people, 0)
        camera = site.cameras[1]
        for person, box, share in zip(shown.ids, shown.boxes, shown.visibility, strict=True):
            place = people.position[people.ids == person][0]
            (pixel,), _ = camera.project(np.array([[*place, 0.0]]))
            if share > 0.95 and box[3] < 535:
                height = box[3] - box[1]
                assert abs(box[3] - pixel[1]) < 0.14 * height


def test_people_darken_the_floor_at_their_feet_and_nothing_else():
    site = load_site("plaza").resized((480, 270))
    world, full, _ = stage(site, 0)
    people = world.people_at(30.0)
    nobody = full.render(only(people, np.zeros(len(people), dtype=bool)), 0)
    assert len(nobody.ids) == 0
    shown = full.render(people, 0)
    light = [one.image.astype(float).sum(axis=2) for one in (shown, nobody)]
    changed, darker = light[0] != light[1], light[0] < 0.96 * light[1]
    for x0, y0, x1, y1 in shown.boxes.astype(int):
        darker[y0:y1, x0:x1] = False
        reach = (y1 - y0) // 2
        changed[max(0, y0 - 1) : y1 + reach, max(0, x0 - reach) : x1 + reach] = False
    assert darker.sum() > 5 * len(shown.ids)
    assert not changed.any()


@pytest.mark.parametrize("name", ["plaza", "mall"])
def test_nobody_appears_or_vanishes_in_plain_sight(name):
    site = load_site(name).resized((240, 136))
    world = World(site, 7)
    renderers = [
        Renderer(c, surroundings_of(site), world.identity, 7, samples=1) for c in site.cameras
    ]
    before: list[dict[int, bool]] = [{} for _ in renderers]
    changes = 0
    for tick in range(300):
        people = world.people_at(tick / 10)
        for number, renderer in enumerate(renderers):
            seen = renderer.locate(people)
            inside = (seen.boxes[:, :2] > 2).all(axis=1) & (seen.boxes[:, 2:] < (238, 134)).all(
                axis=1
            )
            plain = inside & (seen.visibility > 0.85)
            now = dict(zip(seen.ids.tolist(), plain.tolist(), strict=True))
            for first, second in ((before[number], now), (now, before[number])) if tick else ():
                fresh = second.keys() - first.keys()
                where = renderer.camera.name, tick, fresh
                assert not any(second[person] for person in fresh), where
                changes += len(fresh)
            before[number] = now
    assert changes > 25


@pytest.mark.parametrize("name", ["plaza", "mall", "generated:3:2"])
def test_what_a_part_of_the_picture_cannot_show_is_left_out_without_a_trace(name, monkeypatch):
    site = load_site(name).resized((240, 136))
    around = surroundings_of(site)
    everything = np.arange(len(around.boxes)), np.arange(len(around.pillars))
    few = backdrop_of(site.cameras[1], around, 5, samples=2)
    left_out = [0]

    def within(self, plane, few=Things.within):
        left_out[0] += len(everything[0]) - len(few(self, plane)[0])
        return everything

    monkeypatch.setattr(Things, "within", within)
    all_of_it = backdrop_of(site.cameras[1], around, 5, samples=2)
    for one, other in zip(astuple(few), astuple(all_of_it), strict=True):
        np.testing.assert_array_equal(one, other)
    assert left_out[0] > 100
