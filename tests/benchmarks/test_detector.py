"""The figures of the detector benchmark, against pycocotools and against cases that can be told by hand."""

import json

import cv2
import numpy as np
import pytest

from benchmarks.judging import false_boxes, judged, misses, what_if
from benchmarks.known_people import LABELS, Scene, rendered_people
from benchmarks.miss_sheet import COLUMNS, ROWS, TILE, TRUE, write_sheet
from calibration.int8.likeness import IGNORED, NOBODY, average_precision, taken_by
from pipeline.frames import Detections


def boxes(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


def scored(*rows):
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Detections(table[:, :4], table[:, 4])


def scene(counted, others=(), visible=1.0):
    every = boxes(*counted, *others)
    image = np.full((200, 200, 3), 128, np.uint8)
    shows = np.full(len(every), visible, np.float32)
    return Scene(image, every, shows, np.arange(len(every)) < len(counted))


def test_whoever_is_ignored_is_neither_right_nor_wrong_but_once():
    """Two people count, one is ignored. Precision by hand: the two on the ignored one are one left out, one false."""
    truth, spare = boxes((0, 0, 10, 10), (20, 0, 30, 10)), boxes((50, 0, 60, 10))
    found = scored(
        (50, 0, 60, 10, 0.9), (51, 0, 61, 10, 0.8), (0, 0, 10, 10, 0.7), (20, 0, 30, 10, 0.6)
    )
    assert taken_by(found, truth, spare).tolist() == [IGNORED, NOBODY, 0, 1]
    assert average_precision([found], [truth], ignored=[spare]) == pytest.approx(2 / 3)
    assert average_precision([found], [truth]) == pytest.approx(1 / 2)


def test_ap_is_that_of_pycocotools():
    """On people in crowds, a third of them ignored; COCO samples recall at 101 places, hence the tolerance."""
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    rng = np.random.default_rng(3)
    truth, ignored, found, annotations, results = [], [], [], [], []
    for picture in range(60):
        people = rng.uniform(0, 150, (20, 2))
        people = np.hstack([people, people + rng.uniform(15, 60, (20, 2))]).astype(np.float32)
        spare = rng.random(20) < 1 / 3
        said = people[rng.integers(20, size=24)] + rng.normal(0, 3, (24, 4)).astype(np.float32)
        scores = rng.permutation(24).astype(np.float32) / 24 + picture / 3000
        truth.append(people[~spare])
        ignored.append(people[spare])
        found.append(Detections(said, scores))
        for box, skip in zip(people.tolist(), spare.tolist(), strict=True):
            place = [*box[:2], box[2] - box[0], box[3] - box[1]]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": picture, "category_id": 1, "bbox": place,
                 "area": place[2] * place[3], "iscrowd": 0, "ignore": int(skip)}
            )  # fmt: skip
        for box, score in zip(said.tolist(), scores.tolist(), strict=True):
            place = [*box[:2], box[2] - box[0], box[3] - box[1]]
            results.append({"image_id": picture, "category_id": 1, "bbox": place, "score": score})
    known = coco.COCO()
    known.dataset = {
        "info": {}, "images": [{"id": n} for n in range(60)], "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }  # fmt: skip
    known.createIndex()
    evaluation = _NotCrowds(cocoeval)(known, known.loadRes(results), "bbox")
    evaluation.params.iouThrs = np.array([0.5])
    evaluation.evaluate()
    evaluation.accumulate()
    wanted = float(evaluation.eval["precision"][0, :, 0, 0, 2].mean())
    assert 0.3 < wanted < 0.7
    assert average_precision(found, truth, ignored=ignored) == pytest.approx(wanted, abs=0.006)
    assert abs(average_precision(found, truth) - wanted) > 0.05


def _NotCrowds(cocoeval):  # noqa: N802 (makes a class)
    """COCO's evaluation takes over only crowds as ignored; these are single people."""

    class Evaluation(cocoeval.COCOeval):
        def _prepare(self):
            super()._prepare()
            for people in self._gts.values():
                for person in people:
                    skip = self.cocoGt.anns[person["id"]]["bbox"] in self.spare
                    person["ignore"] = person["_ignore"] = int(skip)

        @property
        def spare(self):
            return [
                a["bbox"] for a in self.cocoGt.dataset["annotations"] if a["id"] in self.skipped
            ]

        skipped: frozenset[int] = frozenset()

        def __init__(self, known, results, kind):
            self.skipped = frozenset(a["id"] for a in known.dataset["annotations"] if a["ignore"])
            super().__init__(known, results, kind)

    return Evaluation


def test_each_miss_and_each_false_box_has_its_cause():
    """One person of each kind, placed by hand; overlaps of boxes 10 wide shifted by d are (10 - d) / (10 + d)."""
    people = [(n * 30, 50, n * 30 + 10, 90) for n in range(6)]
    twin = (152, 50, 162, 90)  # overlaps with the sixth by 2/3
    found = scored(
        (0, 50, 10, 90, 0.9),  # right
        (1, 50, 11, 90, 0.8),  # his second box
        (30, 50, 40, 90, 0.3),  # right, but not sure
        (65, 50, 75, 90, 0.7),  # overlap 1/3 with the third
        (120, 50, 130, 90, 0.9),  # right
        (150, 50, 160, 90, 0.9),  # right, and the twin shares his box
        (60, 150, 70, 190, 0.6),  # nobody
    )
    of = judged([scene([*people, twin])], [found])
    assert of.recall(0.5) == pytest.approx(3 / 7)
    assert of.precision(0.5) == pytest.approx(3 / 6)
    assert {cause: np.nonzero(who)[0].tolist() for cause, who in misses(of, 0.5).items()} == {
        "found, but less sure": [1],
        "one box for two people": [6],
        "box badly placed (0.3–0.5)": [2],
        "nothing there": [3],
    }
    assert {kind: np.nonzero(which)[0].tolist() for kind, which in false_boxes(of).items()} == {
        "second box of a person": [1],
        "box badly placed (0.1–0.5)": [3],
        "nobody there": [6],
    }
    told = what_if(of)
    assert (
        told["with people: none of these"] != told["without people: half behind or before others"]
    )
    assert all(value >= of.ap for name, value in told.items() if "boxes" in name)


def test_people_of_several_scenes_stay_apart():
    """The first scene's people are all found, the second's only person is not."""
    first, second = scene([(0, 0, 10, 40), (50, 0, 60, 40)]), scene([(100, 100, 110, 150)])
    found = [scored((50, 0, 60, 40, 0.9), (0, 0, 10, 40, 0.6)), scored((0, 0, 10, 40, 0.8))]
    of = judged([first, second], found)
    assert of.best.tolist() == pytest.approx([0.6, 0.9, 0.0])
    assert of.taken.tolist() == [1, 0, NOBODY]


def test_rendered_people_are_the_same_again_and_small_ones_do_not_count(tmp_path):
    seen = []
    first = rendered_people(5, 2, (320, 180), tmp_path, lambda: seen.append(1))
    again = rendered_people(5, 2, (320, 180), tmp_path, lambda: seen.append(1))
    assert len(first) == len(seen) == 2
    for one, other in zip(first, again, strict=True):
        assert (one.image == other.image).all()
        assert (one.boxes == other.boxes).all()
        fine = (one.visibility >= 0.3) & (one.heights >= 16 / 3)  # sixteen pixels of 540
        assert (one.counted == fine).all()


def test_labels_lie_in_their_frames():
    clips = json.loads(LABELS.read_text())["clips"]
    for frames in clips.values():
        assert len(frames) >= 12
        for told in frames.values():
            for left, top, right, bottom in told["people"] + told["unclear"]:
                assert 0 <= left < right <= 768
                assert 0 <= top < bottom <= 432


def test_the_sheet_shows_who_was_missed(tmp_path):
    of = judged([scene([(80, 60, 120, 160)])], [scored((0, 0, 5, 5, 0.9))])
    write_sheet(of, 0.5, tmp_path / "sheet.png")
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape == (ROWS * TILE[1], COLUMNS * TILE[0], 3)
    green = (sheet == TRUE).all(axis=2)
    assert green[: TILE[1], : TILE[0]].sum() > 200
    assert not green[TILE[1] :].any()
