"""Retrieval figures against the golden numbers of the reference implementations."""

import numpy as np
import pytest

from trainer.errors import DataError
from trainer.evaluation import Embedded, Retrieval, retrieval, search
from trainer.reranking import reranked


@pytest.fixture(scope="module")
def reference(golden):
    with np.load(golden / "retrieval_reference.npz") as arrays:
        return dict(arrays)


def sides(reference) -> tuple[Embedded, Embedded]:
    return tuple(
        Embedded(reference[name], reference[f"{name}_ids"], reference[f"{name}_cams"])
        for name in ("query", "gallery")
    )


def test_cmc_and_map_are_the_reference_s(reference):
    found = search(*sides(reference))
    np.testing.assert_allclose(found.cmc, reference["cmc"], atol=1e-6)
    assert found.mean_average_precision == pytest.approx(float(reference["mAP"]), abs=1e-9)


def test_reranked_figures_are_the_reference_s(reference):
    found = search(*sides(reference), rerank=True)
    np.testing.assert_allclose(found.cmc, reference["rerank_cmc"], atol=1e-6)
    # Its gallery holds every query once more, equally near to everybody: which of the two is the last neighbour
    # that counts is not determined, and moves the mAP by up to 2e-4. Ours does not depend on the machine.
    assert found.mean_average_precision == pytest.approx(float(reference["rerank_mAP"]), abs=1e-5)
    assert found.mean_average_precision == pytest.approx(0.2992207762, abs=1e-9)


def by_hand(distances, query_ids, query_cameras, ids, cameras) -> Retrieval:
    return retrieval(
        np.array(distances, np.float32),
        Embedded(np.zeros((len(query_ids), 1)), np.array(query_ids), np.array(query_cameras)),
        Embedded(np.zeros((len(ids), 1)), np.array(ids), np.array(cameras)),
    )


def test_a_query_worked_out_by_hand():
    # Answers in order: own camera (left out), wrong, right, wrong, right: precisions 1/2 and 2/4.
    found = by_hand([[0.0, 0.1, 0.2, 0.3, 0.4]], [7], [1], [7, 3, 7, 4, 7], [1, 2, 2, 2, 3])
    assert found.mean_average_precision == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert found.cmc[:3].tolist() == [0, 1, 1]


def test_queries_without_an_answer_do_not_count():
    found = by_hand([[0.1, 0.2], [0.1, 0.2]], [7, 9], [1, 1], [7, 9], [2, 1])
    assert (found.queries, found.rank1) == (1, 1.0)


def test_nothing_to_find_is_said():
    with pytest.raises(DataError, match="nothing to find"):
        by_hand([[0.1]], [7], [1], [7], [1])


def test_embeddings_that_are_not_numbers_are_refused():
    bad = Embedded(np.array([[np.nan, 1]], np.float32), np.array([1]), np.array([1]))
    with pytest.raises(DataError, match="1 of 1 embeddings"):
        search(bad, bad)


def test_reranking_a_handful_of_tracklets_keeps_neighbours_together():
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(4, 16))
    people = np.arange(12) % 4
    vectors = centres[people] + 0.1 * rng.normal(size=(12, 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    distances = reranked(vectors[:4], vectors[4:], k1=3, k2=2)
    assert (people[4:][distances.argmin(1)] == people[:4]).all()


def test_fewer_than_a_neighbourhood_and_equal_vectors_are_reranked_too():
    same = np.ones((3, 4), np.float32) / 2
    assert np.isfinite(reranked(same[:1], same[1:])).all()
