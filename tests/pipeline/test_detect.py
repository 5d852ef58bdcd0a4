"""Decoding against straightforward decodings written here, and a real network on real frames."""

import itertools
import os
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from engines.engine import TensorSpec
from engines.onnxruntime import ONNXRuntimeEngine
from engines.package import Head
from pipeline.detect import Detector, DetectorSpec, Letterbox, suppress
from pipeline.errors import DetectorError

DATA = Path(os.environ.get("REID_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


class Answering:
    """An engine whose answer is laid down, so that only what Detector does with it is tested."""

    def __init__(self, answer, shape=(-1, 64, 96, 3), dtype="uint8"):
        self.answer, self.seen, self.max_batch = answer, [], len(answer)
        self.inputs = {"images": TensorSpec("images", shape, dtype)}
        self.outputs = {"out": TensorSpec("out", (-1, *answer.shape[1:]), "float32")}

    def run(self, inputs):
        self.seen.append(inputs["images"].copy())
        return {"out": self.answer[: len(inputs["images"])]}

    def close(self):
        pass


def picture(height, width):
    return np.zeros((height, width, 3), np.uint8)


def iou(a, b):
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0) * max(high, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def plain_nms(boxes, scores, overlap):
    kept = []
    for i in sorted(range(len(boxes)), key=lambda k: -scores[k]):
        if all(iou(boxes[i], boxes[k]) <= overlap for k in kept):
            kept.append(i)
    return kept


def frames_of(name, *numbers):
    path = DATA / "clips" / name
    if not path.exists():
        pytest.skip(f"no {path}: set REID_TEST_DATA")
    with av.open(str(path)) as video:
        frames = itertools.islice(video.decode(video=0), max(numbers) + 1)
        return [f.to_ndarray(format="bgr24") for i, f in enumerate(frames) if i in numbers]


@pytest.fixture(scope="module")
def yolox():
    path = DATA / "models" / "yolox_nano.onnx"
    if not path.exists():
        pytest.skip(f"no {path}: set REID_TEST_DATA")
    return ONNXRuntimeEngine(path)


def plain_yolox(engine, image, least, overlap):
    """People by loops over cells, letterboxed by hand: what decoding must agree with."""
    scale = min(416 / image.shape[0], 416 / image.shape[1])
    wide, high = round(image.shape[1] * scale), round(image.shape[0] * scale)
    left, top = (416 - wide) // 2, (416 - high) // 2
    canvas = np.full((416, 416, 3), 114, np.uint8)
    canvas[top : top + high, left : left + wide] = cv2.resize(image, (wide, high))
    answer = engine.run({"images": canvas.transpose(2, 0, 1)[None].astype(np.float32)})["output"][0]
    boxes, scores, row = [], [], 0
    for stride in (8, 16, 32):
        for y in range(416 // stride):
            for x in range(416 // stride):
                dx, dy, w, h, objectness, person = answer[row, :6].astype(float)
                row += 1
                if objectness * person < least:
                    continue
                cx, cy = (x + dx) * stride, (y + dy) * stride
                w, h = np.exp(w) * stride, np.exp(h) * stride
                fx, fy = image.shape[1] / wide, image.shape[0] / high
                corners = [(cx - w / 2 - left) * fx, (cy - h / 2 - top) * fy]
                corners += [(cx + w / 2 - left) * fx, (cy + h / 2 - top) * fy]
                boxes.append(corners)
                scores.append(objectness * person)
    kept = plain_nms(boxes, scores, overlap)
    limits = [image.shape[1], image.shape[0]] * 2
    boxes, scores = np.array(boxes).reshape(-1, 4), np.array(scores)
    return np.clip(boxes[kept], 0, limits), scores[kept]


@pytest.mark.parametrize("crop", [(slice(None), slice(None)), (slice(3, 400), slice(11, 600))])
def test_a_real_network_on_real_frames(yolox, crop):
    spec = DetectorSpec(Head.YOLOX, (416, 416), rgb=False, scale=1.0, score=0.1)
    images = [
        frame[crop].copy() for frame in frames_of("people-detection.264", 0, 60, 210, 360, 370)
    ]
    found = Detector(yolox, spec)(images)
    assert len(found) == 5
    assert sum(map(len, found)) >= 8
    for image, detections in zip(images, found, strict=True):
        boxes, scores = plain_yolox(yolox, image, spec.score, spec.overlap)
        np.testing.assert_allclose(detections.scores, scores, atol=1e-5)
        np.testing.assert_allclose(detections.boxes, boxes, atol=0.02)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (37, 201), (1081, 1919), (5, 3)])
def test_letterbox_geometry_is_exact_at_odd_sizes(height, width):
    """A white rectangle is found in the batch where the returned geometry says it lies."""
    image = picture(height, width)
    image[height // 4 : height // 2 + 1, width // 3 : width // 2 + 1] = 255
    pixels, pasted = Letterbox(2, (64, 96))([image, image])
    left, top, wide, high = pasted[1]
    assert 0 <= left <= 96 - wide
    assert 0 <= top <= 64 - high
    assert wide == 96 or high == 64
    assert abs(wide / width - high / height) <= 0.5 / min(width, height) + 1e-6
    inside = np.zeros((64, 96), bool)
    inside[int(top) : int(top + high), int(left) : int(left + wide)] = True
    assert (pixels[1][~inside] == 114).all()
    reference = cv2.resize(image, (int(wide), int(high)), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(pixels[1][inside].reshape(int(high), int(wide), 3), reference)


def test_nothing_of_the_last_picture_remains_in_the_border():
    letterbox = Letterbox(1, (64, 96))
    letterbox([np.full((64, 96, 3), 255, np.uint8)])
    pixels, _ = letterbox([np.full((96, 64, 3), 7, np.uint8)])
    assert set(np.unique(pixels)) == {7, 114}


def test_ultralytics_raw_head_over_a_batch():
    """Expected by hand: 640×480 on 96×64 is shrunk by 7.5, with 5 pixels of border left, right."""
    answer = np.zeros((2, 4 + 3, 4), np.float32)
    answer[0, :, 0] = [48, 32, 20, 40, 0.9, 0.1, 0.1]
    answer[0, :, 1] = [49, 32, 20, 40, 0.8, 0.0, 0.0]  # lies on the first
    answer[0, :, 2] = [80, 32, 10, 20, 0.2, 0.9, 0.0]  # another class
    answer[0, :, 3] = [80, 32, 10, 20, 0.0, 0.0, 0.6]  # wanted too
    answer[1, :, 1] = [6, 2, 20, 40, 0.5, 0.0, 0.0]  # beyond the border
    spec = DetectorSpec(Head.ULTRALYTICS, (64, 96), classes=(0, 2), score=0.25)
    first, second = Detector(Answering(answer), spec)([picture(480, 640), picture(480, 640)])
    border = (96 - 85) // 2
    x, y = 640 / 85, 480 / 64
    expected = [[38 - border, 12, 58 - border, 52], [75 - border, 22, 85 - border, 42]]
    np.testing.assert_allclose(first.boxes, np.array(expected) * [x, y, x, y], rtol=1e-6)
    np.testing.assert_allclose(first.scores, [0.9, 0.6])
    np.testing.assert_allclose(second.boxes, [[0, 0, (16 - border) * x, 22 * y]], rtol=1e-6)


def test_end_to_end_head_asks_for_no_nms():
    answer = np.zeros((1, 300, 6), np.float32)
    answer[0, 0] = [10, 10, 30, 50, 0.9, 0]
    answer[0, 1] = [11, 10, 31, 50, 0.7, 0]
    answer[0, 2] = [11, 10, 31, 50, 0.7, 5]
    answer[0, 3] = [60, 10, 60, 50, 0.7, 0]  # no width
    (found,) = Detector(Answering(answer), DetectorSpec(Head.END_TO_END, (64, 96)))(
        [picture(64, 96)]
    )
    np.testing.assert_allclose(found.boxes, answer[0, :2, :4])


def test_more_pictures_than_a_batch_holds_and_frames_larger_than_pictures():
    answer = np.zeros((2, 1, 6), np.float32)
    answer[:, 0] = [10, 10, 30, 50, 0.9, 0]
    engine = Answering(answer)
    detector = Detector(engine, DetectorSpec(Head.END_TO_END, (64, 96)))
    found = detector([picture(64, 96)] * 5, sizes=[(192, 128)] * 5)
    assert [len(batch) for batch in engine.seen] == [2, 2, 1]
    for detections in found:
        np.testing.assert_allclose(detections.boxes, [[20, 20, 60, 100]])


def test_float_networks_get_planes_in_their_order_and_scale():
    image = picture(64, 96)
    image[:] = (255, 51, 0)
    engine = Answering(np.zeros((1, 1, 6), np.float32), (1, 3, 64, 96), "float32")
    Detector(engine, DetectorSpec(Head.END_TO_END, (64, 96)))([image])
    np.testing.assert_allclose(engine.seen[0][0, :, 5, 5], [0, 0.2, 1], atol=1e-6)


@pytest.mark.parametrize("by_class", [False, True])
def test_nms_of_many_boxes_is_the_plain_one(by_class):
    """Expected: a double loop in Python, group by group."""
    draw = np.random.default_rng(6)
    corner = draw.uniform(0, 200, (400, 2))
    boxes = np.hstack([corner, corner + draw.uniform(20, 90, (400, 2))]).astype(np.float32)
    scores = draw.random(400).astype(np.float32)
    group = draw.integers(0, 3 if by_class else 1, 400)
    expected = set()
    for g in set(group):
        mine = np.flatnonzero(group == g)
        expected |= {mine[k] for k in plain_nms(boxes[mine], scores[mine], 0.5)}
    found = suppress(boxes, scores, group, 0.5)
    assert set(found) == expected
    assert 20 < len(found) < 400


@pytest.mark.parametrize(
    ("head", "answer"),
    [
        (Head.ULTRALYTICS, np.zeros((1, 4, 90))),
        (Head.YOLOX, np.zeros((1, 125, 85))),
        (Head.END_TO_END, np.zeros((1, 300, 84))),
        (Head.END_TO_END, np.zeros((1, 300))),
    ],
)
def test_an_answer_of_another_head_is_refused_in_a_sentence(head, answer):
    with pytest.raises(DetectorError, match="head"):
        Detector(Answering(answer.astype(np.float32)), DetectorSpec(head, (64, 96)))(
            [picture(64, 96)]
        )


def test_a_network_of_another_size_and_a_picture_that_is_none_are_refused():
    engine = Answering(np.zeros((1, 1, 6), np.float32))
    with pytest.raises(DetectorError, match="pictures"):
        Detector(engine, DetectorSpec(Head.END_TO_END, (416, 416)))
    with pytest.raises(DetectorError, match="uint8"):
        Detector(engine, DetectorSpec(Head.END_TO_END, (64, 96)))([np.zeros((64, 96), np.uint8)])
