"""Each loss against a value worked out independently, in plain numpy or on paper."""

import numpy as np
import pytest
import torch

from trainer.losses import (
    IdentityTable,
    SmoothedClassifier,
    hard_triplet_loss,
    likeness_loss,
    pair_loss,
)


def units(rng, *shape) -> np.ndarray:
    vectors = rng.normal(size=shape)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_oim_is_a_cross_entropy_over_remembered_vectors():
    rng = np.random.default_rng(0)
    labels = np.array([0, 2, 2, 1, 2])
    table, vectors = units(rng, 4, 8), units(rng, 5, 8)
    oim = IdentityTable(4, 8, scale=30, momentum=0.5)
    oim.table = torch.tensor(table)
    loss = oim(torch.tensor(vectors), torch.tensor(labels))

    logits = 30 * vectors @ table.T
    expected = np.log(np.exp(logits).sum(1)) - logits[np.arange(5), labels]
    assert float(loss) == pytest.approx(expected.mean(), rel=1e-6)

    for vector, label in zip(vectors, labels, strict=True):  # one after the other
        table[label] = 0.5 * table[label] + 0.5 * vector
        table[label] /= np.linalg.norm(table[label])
    np.testing.assert_allclose(oim.table.numpy(), table, atol=1e-6)


def test_an_empty_oim_table_says_nothing_yet_and_is_left_alone_when_judging():
    oim = IdentityTable(7, 4).eval()
    loss = oim(torch.nn.functional.normalize(torch.ones(2, 4)), torch.tensor([0, 1]))
    assert float(loss) == pytest.approx(np.log(7))
    assert not oim.table.any()


def test_oim_pulls_a_vector_towards_its_identity():
    oim = IdentityTable(2, 2)
    oim.table = torch.eye(2)
    vector = torch.tensor([[0.0, 0.0]], requires_grad=True)
    oim(vector, torch.tensor([0])).backward()
    # Softmax of equal logits: gradient 30·(1/2 − [1, 0]) on the table's rows.
    assert vector.grad.tolist() == [[-15.0, 15.0]]


def test_label_smoothing_spreads_a_tenth():
    rng = np.random.default_rng(1)
    vectors, labels = units(rng, 6, 5), np.array([0, 1, 2, 0, 1, 2])
    classifier = SmoothedClassifier(3, 5, smoothing=0.1, scale=4)
    weight = classifier.weight.detach().numpy().astype(float)
    logits = 4 * vectors @ (weight / np.linalg.norm(weight, axis=1, keepdims=True)).T
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    wanted = np.full((6, 3), 0.1 / 3)
    wanted[np.arange(6), labels] += 0.9
    loss = classifier(torch.tensor(vectors, dtype=torch.float32), torch.tensor(labels)).detach()
    assert float(loss) == pytest.approx(-(wanted * log_p).sum(1).mean(), rel=1e-5)


def test_pair_loss_is_the_binary_cross_entropy_of_a_softmax():
    scores = np.array([[[0.0, 0.0], [2.0, -1.0]], [[-1.0, 2.0], [0.5, 1.0]]])
    same = np.array([[True, False], [False, True]])
    chance = np.exp(scores[..., 1]) / np.exp(scores).sum(-1)
    expected = -np.where(same, np.log(chance), np.log(1 - chance)).mean()
    assert float(pair_loss(torch.tensor(scores), torch.tensor(same))) == pytest.approx(expected)


def test_triplet_takes_the_farthest_like_and_the_nearest_unlike():
    # On a line: 0 and 3 are one person, 1 and 7 another.
    points = torch.tensor([[0.0], [3.0], [1.0], [7.0]])
    expected = [3 - 1, 3 - 2, 6 - 1, 6 - 4]  # d⁺ − d⁻ of each
    loss = hard_triplet_loss(points, torch.tensor([0, 0, 1, 1]))
    assert float(loss) == pytest.approx(np.mean(np.log1p(np.exp(expected))), rel=1e-5)


def test_triplet_has_finite_gradients_where_vectors_coincide():
    points = torch.ones(4, 3, requires_grad=True)
    hard_triplet_loss(points, torch.tensor([0, 0, 1, 1])).backward()
    assert torch.isfinite(points.grad).all()
    assert float(hard_triplet_loss(points.detach(), torch.zeros(4))) == 0


def test_likeness_of_vectors_or_of_their_mutual_angles():
    teacher = torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    turned = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])
    assert float(likeness_loss(turned, teacher)) == pytest.approx(0.5)
    longer = torch.tensor([[[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]])
    assert float(likeness_loss(longer, teacher)) == pytest.approx(0.0, abs=1e-7)
    same_way = torch.tensor([[[0.0, 0.0, 1.0], [0.0, 0.0, 2.0]]])
    assert float(likeness_loss(same_way, teacher)) == pytest.approx(0.5)
