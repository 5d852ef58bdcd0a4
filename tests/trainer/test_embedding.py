"""The modes of a network against the network's own answers, frame by frame."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from engines.build import Request, build
from engines.package import Kind
from tests.trainer.tiny_training import draw_people, tiny_network
from trainer.data import open_dataset
from trainer.data.transforms import read_clip
from trainer.embedding import Embed, FrameMeanEmbedder, embed, network_embedder
from trainer.errors import DataError, UsageError
from trainer.model import save_model
from trainer.model.backbones import imagenet_normalised
from trainer.packages import package_embedder
from trainer.scores import score

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Tracklets of 1 to 20 frames."""
    data = open_dataset(str(draw_people(tmp_path_factory.mktemp("p") / "site", 4, 20)))
    lengths = (20, 1, 8, 16, 5, 11, 9, 3)
    return [t.first(n) for t, n in zip(data.gallery, lengths, strict=True)]


@pytest.fixture(scope="module")
def network():
    network = tiny_network(3)
    network.train()
    for _ in range(20):  # statistics that are not those of a fresh network
        network(torch.randn(4, 4, 3, 32, 16))
        network.causal(torch.randn(4, 4, 3, 32, 16))
    return network.eval()


def crops(tracklet, frames=None) -> torch.Tensor:
    clip = read_clip(tracklet.paths[:frames], 32, 16)
    return imagenet_normalised(torch.from_numpy(clip))[None]


@torch.inference_mode()
def test_each_mode_is_what_it_says(people, network):
    found = {m: embed(people, network_embedder(network, m, CPU), batch=3) for m in Embed}
    for index, tracklet in enumerate(people):
        whole, n = crops(tracklet), len(tracklet)
        np.testing.assert_allclose(
            found[Embed.STREAM][index], network.causal(whole)[0, -1], atol=1e-5
        )
        np.testing.assert_allclose(
            found[Embed.MEAN][index], network.features(whole).mean((0, 1, 3, 4)), atol=1e-5
        )
        if n % 8 == 0:
            clips = whole[0].view(-1, 8, 3, 32, 16)
            np.testing.assert_allclose(
                found[Embed.CLIP][index], network(clips).embedding.mean(0), atol=1e-5
            )
            np.testing.assert_allclose(
                found[Embed.CAUSAL][index], found[Embed.STREAM][index], atol=1e-5
            )
        if n >= 8:
            last = whole[:, n - n % 8 - 8 : n - n % 8]
            np.testing.assert_allclose(
                found[Embed.WINDOW][index], network(last).embedding[0], atol=1e-5
            )


def test_frames_are_given_to_a_frame_embedder_and_averaged_by_tracklet(people):
    def blue(frames):
        return frames.reshape(len(frames), -1, 3).mean(1)[:, :1].astype(np.float32)

    found = embed(people, FrameMeanEmbedder(blue, (32, 16)), batch=4)
    wanted = [read_clip(t.paths, 32, 16)[..., 0].mean() for t in people]
    np.testing.assert_allclose(found[:, 0], wanted, rtol=1e-5)


def test_a_score_counts_frames_and_tells_people_apart(tmp_path):
    data = open_dataset(str(draw_people(tmp_path / "site", 5, 6)))

    def colours(frames):
        halves = frames.reshape(len(frames), 2, -1, 3).mean(2).reshape(len(frames), -1)
        return (halves - halves.mean(1, keepdims=True)).astype(np.float32)

    row = score("colours", FrameMeanEmbedder(colours, (32, 16)), data, frames=(1, 4), rerank=True)
    assert row.whole.rank1 == 1.0
    assert row.whole.queries == 10
    assert sorted(row.by_frames) == [1, 4]
    answer = row.as_dict()
    assert answer["by_frames"]["4"]["mAP"] == pytest.approx(1.0)
    assert all(a <= b for a, b in pairwise(row.whole.cmc))


@pytest.mark.parametrize(
    ("kind", "mode"), [("grl-stream", "stream"), ("grl-clip", "clip"), ("frame-embedder", "mean")]
)
def test_an_engine_package_says_what_its_network_says(kind, mode, lively_edge, people, tmp_path):
    weights, package = tmp_path / "edge.safetensors", tmp_path / "package"
    save_model(lively_edge, "grl-edge", weights)
    build(Request(weights, package, Kind(kind), backend="onnxruntime", max_batch=6))
    few = people[2:6]
    wanted = embed(few, network_embedder(lively_edge, Embed(mode), CPU))
    found = embed(few, package_embedder(package, Embed(mode), threads=1))
    np.testing.assert_allclose(found, wanted, atol=2e-3 * np.abs(wanted).max())
    if kind != "frame-embedder":
        with pytest.raises(UsageError, match="not for causal"):
            package_embedder(package, Embed.CAUSAL, threads=1)


def test_a_foreign_network_embeds_frames(test_data, people):
    path = next((test_data / "models").rglob("person-reidentification-retail-0288.xml"))
    found = embed(people, package_embedder(path, Embed.MEAN, threads=1))
    assert found.shape == (8, 256)
    again = embed(people[1:2], package_embedder(path, Embed.MEAN, threads=1))  # one frame alone
    cosine = found[1] @ again[0] / np.linalg.norm(found[1]) / np.linalg.norm(again[0])
    assert cosine > 0.999


def test_nothing_to_embed_is_said(network):
    with pytest.raises(DataError, match="no tracklets"):
        embed([], network_embedder(network, Embed.CLIP, CPU))
