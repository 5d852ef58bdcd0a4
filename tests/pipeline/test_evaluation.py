"""Scores against cases counted by hand, and against TrackEval's own runner on published tracks."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import EvaluationError
from pipeline.evaluation import evaluate, evaluate_run
from pipeline.mot_text import parse, read_mot, read_truth

DATA = Path(os.environ.get("REID_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


def boxes(*runs):
    """Rows (frame, id, x, 0, 10, 20) of runs (id, first frame, last frame, x)."""
    return np.array(
        [
            [frame, i, x, 0, 10, 20]
            for i, first, last, x in runs
            for frame in range(first, last + 1)
        ],
        float,
    )


def write(folder, name, rows, visibility=None):
    folder.mkdir(parents=True, exist_ok=True)
    tail = [1, 1, 1] if visibility is None else [1, 1, visibility]
    np.savetxt(folder / name, np.hstack([rows, np.tile(tail, (len(rows), 1))]), delimiter=",")


def test_one_switch_of_identity_counted_by_hand():
    """Ten frames of one person, found as 1 for six and as 2 for four, always in place."""
    score = evaluate(
        {"a": parse(boxes((1, 1, 6, 0), (2, 7, 10, 0)))}, {"a": parse(boxes((7, 1, 10, 0)))}
    ).overall
    assert score.idf1 == pytest.approx(2 * 6 / 20)
    assert score.mota == pytest.approx(1 - 1 / 10)
    assert (score.id_switches, score.misses, score.false_positives) == (1, 0, 0)
    # AssA: each of six boxes is right with 6 of 10, each of four with 4 of 10; DetA is 1.
    assert score.association == pytest.approx((6 * 0.6 + 4 * 0.4) / 10)
    assert score.hota == pytest.approx(np.sqrt(0.52))
    assert (score.people, score.boxes) == (1, 10)


def test_across_cameras_an_identity_must_be_the_same_person():
    """Perfect in each camera; across, two people have swapped their ids in the second one."""
    truth = parse(boxes((1, 1, 10, 0), (2, 1, 10, 50)))
    swapped = parse(boxes((2, 1, 10, 0), (1, 1, 10, 50)))
    result = evaluate({"a": truth, "b": swapped}, {"a": truth, "b": truth})
    assert [s.idf1 for s in result.cameras.values()] == [1, 1]
    assert result.overall.idf1 == pytest.approx(0.5)
    assert result.truth_linked.idf1 == 1
    assert (result.links.precision, result.links.recall) == (0, 0)


def test_links_counted_by_hand():
    """Person 1 in pieces A (a), B (a, after a second out of sight), C (b); person 2 is D (b).

    The system links A with C, and B with D: of 2 links 1 is right, and of 3 true ones 1 is made.
    """
    truth = {
        "a": parse(boxes((1, 1, 10, 0), (1, 60, 70, 0))),
        "b": parse(boxes((1, 1, 10, 0), (2, 1, 10, 50))),
    }
    tracks = {
        "a": parse(boxes((5, 1, 10, 0), (6, 60, 70, 0))),
        "b": parse(boxes((5, 1, 10, 0), (6, 1, 10, 50))),
    }
    result = evaluate(tracks, truth)
    assert (result.links.precision, result.links.recall) == (0.5, pytest.approx(1 / 3))
    assert (result.links_across.precision, result.links_across.recall) == (0.5, 0.5)
    assert result.truth_linked.idf1 == 1
    assert result.overall.idf1 < 1
    plain = json.loads(result.to_json())
    assert plain["links_across"] == {"precision": 0.5, "recall": 0.5}


def test_truth_linking_cannot_undo_a_tracklet_that_changes_person():
    truth = parse(boxes((1, 1, 10, 0), (2, 11, 14, 0)))
    linked = evaluate({"a": parse(boxes((9, 1, 14, 0)))}, {"a": truth}).truth_linked
    assert linked.idf1 == pytest.approx(2 * 10 / 28)


def test_two_tracklets_of_one_person_at_once_share_no_identity():
    truth = parse(boxes((1, 1, 10, 0)))
    doubled = parse(boxes((1, 1, 10, 0), (2, 4, 5, 1)))
    linked = evaluate({"a": doubled}, {"a": truth}).truth_linked
    assert linked.false_positives == 2
    assert linked.idf1 == pytest.approx(20 / 22)


def test_what_is_lost_in_each_camera_is_told_apart():
    """In a, one person is in two halves with two ids: all is lost in the link. In b, half of him is not found."""
    truth = {name: parse(boxes((1, 1, 20, 0))) for name in "ab"}
    tracks = {"a": parse(boxes((1, 1, 10, 0), (2, 11, 20, 0))), "b": parse(boxes((1, 1, 10, 0)))}
    result = evaluate(tracks, truth)
    assert result.cameras["a"].idf1 == pytest.approx(2 * 10 / 40)
    assert result.cameras_linked["a"].idf1 == 1
    assert result.cameras["b"].idf1 == result.cameras_linked["b"].idf1 == pytest.approx(20 / 30)


@pytest.mark.parametrize("found", [True, False])
def test_who_is_hardly_visible_is_neither_missed_nor_false(tmp_path, found):
    write(tmp_path / "gt", "a.txt", boxes((1, 1, 10, 0)))
    hidden = boxes((2, 1, 10, 50))
    with (tmp_path / "gt" / "a.txt").open("a") as out:
        np.savetxt(out, np.hstack([hidden, np.tile([1, 1, 0.05], (10, 1))]), delimiter=",")
    mine = boxes((4, 1, 10, 0), (5, 1, 10, 50)) if found else boxes((4, 1, 10, 0))
    write(tmp_path / "tracks", "a.txt", mine)
    score = evaluate_run(tmp_path, tmp_path).overall
    assert (score.misses, score.false_positives, score.idf1) == (0, 0, 1)
    assert evaluate_run(tmp_path, tmp_path, min_visibility=0).overall.misses == 10 * (not found)


def test_a_camera_that_found_nobody_is_all_missed(tmp_path):
    write(tmp_path / "gt", "a.txt", boxes((1, 1, 10, 0)))
    write(tmp_path / "gt", "b.txt", boxes((1, 1, 10, 0)))
    write(tmp_path / "tracks", "a.txt", boxes((1, 1, 10, 0)))
    (tmp_path / "tracks" / "b.txt").touch()
    result = evaluate_run(tmp_path, tmp_path)
    assert result.cameras["b"].misses == 10
    assert result.overall.idf1 == pytest.approx(20 / 30)


@pytest.mark.filterwarnings("error")
def test_frames_without_anybody_cost_neither_time_nor_score(tmp_path):
    write(tmp_path / "gt", "a.txt", boxes((1, 1, 10, 0)))
    write(tmp_path / "tracks", "a.txt", [*boxes((1, 1, 10, 0)), *boxes((2, 10**12, 10**12, 0))])
    (tmp_path / "tracks" / "b.txt").write_text("# nobody came\n")
    write(tmp_path / "gt", "b.txt", boxes((1, 1, 10, 0)))
    result = evaluate_run(tmp_path, tmp_path)
    assert (result.cameras["a"].false_positives, result.cameras["a"].misses) == (1, 0)
    assert result.cameras["b"].misses == 10


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("1,2,3\n", "columns"),
        ("1,2,x,4,5,6\n", "cannot be read"),
        ("0,2,3,4,5,6\n", "below 1"),
        ("1,2,nan,4,5,6\n", "no number"),
        ("1,2,3,4,5,6\n1,2,9,9,5,6\n", "twice in one frame"),
        ("1,2,3,4,5,6\n1,2,3\n", "cannot be read"),
        ("1.5,2,3,4,5,6\n", "no whole number"),
        ("1,99999999999999999999,3,4,5,6\n", "no whole number"),
        ("1,2,3,4,-5,6\n", "without width or height"),
    ],
)
def test_a_bad_file_is_refused_in_a_sentence_that_names_it(tmp_path, content, says):
    write(tmp_path / "gt", "a.txt", boxes((1, 1, 10, 0)))
    (tmp_path / "tracks").mkdir()
    (tmp_path / "tracks" / "a.txt").write_text(content)
    with pytest.raises(EvaluationError, match=rf"a\.txt.*{says}"):
        evaluate_run(tmp_path, tmp_path)


def test_missing_folders_and_unknown_cameras_are_refused(tmp_path):
    with pytest.raises(EvaluationError, match="no truth"):
        evaluate_run(tmp_path, tmp_path)
    write(tmp_path / "gt", "a.txt", boxes((1, 1, 10, 0)))
    with pytest.raises(EvaluationError, match="no tracks"):
        evaluate_run(tmp_path, tmp_path)
    write(tmp_path / "tracks", "b.txt", boxes((1, 1, 10, 0)))
    with pytest.raises(EvaluationError, match=r"no truth for b\.txt"):
        evaluate_run(tmp_path, tmp_path)


@pytest.mark.parametrize("name", ["MOT17-05-FRCNN", "MOT17-09-FRCNN"])
def test_mot17_scores_are_those_of_trackevals_own_runner(tmp_path, name):
    """Expected: TrackEval reading the files itself, with MOT17's rules for what counts."""
    source = DATA / "mot" / name
    if not source.is_dir():
        pytest.skip(f"no {source}: set REID_TEST_DATA")
    trackeval = pytest.importorskip("trackeval")
    shutil.copytree(source, tmp_path / "gt" / name)
    (tmp_path / "found" / "x" / "data").mkdir(parents=True)
    shutil.copy(source / "ref" / "MPNTrack.txt", tmp_path / "found" / "x" / "data" / f"{name}.txt")
    dataset = trackeval.datasets.MotChallenge2DBox(
        {
            "GT_FOLDER": str(tmp_path / "gt"),
            "TRACKERS_FOLDER": str(tmp_path / "found"),
            "SEQ_INFO": {name: None},
            "SKIP_SPLIT_FOL": True,
            "PRINT_CONFIG": False,
        }
    )
    data = dataset.get_preprocessed_seq_data(dataset.get_raw_seq_data("x", name), "pedestrian")
    quiet = {"PRINT_CONFIG": False}
    hota = trackeval.metrics.HOTA().eval_sequence(data)
    identity = trackeval.metrics.Identity(quiet).eval_sequence(data)
    clear = trackeval.metrics.CLEAR(quiet).eval_sequence(data)
    tracks = read_mot(source / "ref" / "MPNTrack.txt")
    truth = read_truth(source / "gt" / "gt.txt", min_visibility=0)
    score = evaluate({name: tracks}, {name: truth}).cameras[name]
    assert score.hota == pytest.approx(np.mean(hota["HOTA"]), abs=1e-12)
    assert score.idf1 == pytest.approx(identity["IDF1"], abs=1e-12)
    assert score.mota == pytest.approx(clear["MOTA"], abs=1e-12)
    assert score.id_switches == clear["IDSW"]
