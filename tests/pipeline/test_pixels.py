"""Frames as a decoder leaves them, against the same frames converted whole by PyAV alone."""

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from pipeline.frames import Frame, Tracks
from pipeline.ingest.decoded import Converters, DecodedPixels
from pipeline.pixels import ArrayPixels
from pipeline.publish import Sighting
from pipeline.publish.video import annotate, colour_of

SIZES = [(768, 432), (320, 240), (322, 242), (161, 121)]
FORMATS = ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "nv12", "gray", "yuv420p10le"]


def decoded(size=(320, 240), form="yuv420p", seed=0, converters=None, space=None):
    """A soft coloured picture in a decoder's format, and all of it in BGR as PyAV converts it."""
    width, height = size
    tiles = np.random.default_rng(seed).integers(50, 210, (6, 8, 3), np.uint8)
    image = cv2.resize(tiles, (width, height), interpolation=cv2.INTER_CUBIC)
    frame = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format=form)
    if space is not None:
        frame.colorspace, frame.color_range = space
    whole = frame.to_ndarray(format="bgr24")
    return DecodedPixels(frame, converters or Converters()), whole


def parts(size, count=40):
    """Boxes of all sizes, some of them at the borders."""
    rng = np.random.default_rng(1)
    width, height = size
    for _ in range(count):
        (left, right), (top, bottom) = (np.sort(rng.choice(n + 1, 2, False)) for n in size)
        yield int(left), int(top), int(right), int(bottom)
    yield from [(0, 0, 1, 1), (width - 1, height - 1, width, height), (0, 0, width, height)]
    yield from [(0, height - 31, 17, height), (width - 17, 0, width, 31)]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("size", SIZES)
def test_a_part_is_that_part_of_the_whole(size, form):
    """To the bit at even heights. At odd ones swscale smooths the colour of the whole, but not its brightness."""
    pixels, whole = decoded(size, form)
    assert pixels.size == size
    np.testing.assert_array_equal(pixels.whole(), whole)
    for left, top, right, bottom in parts(size):
        part, expected = pixels.part(left, top, right, bottom), whole[top:bottom, left:right]
        assert part.shape == expected.shape
        if size[1] % 2 == 0:
            np.testing.assert_array_equal(part, expected)
        else:
            assert np.abs(part.astype(int) - expected).mean() <= 10
            grey = [
                cv2.cvtColor(np.ascontiguousarray(i), cv2.COLOR_BGR2GRAY) for i in (part, expected)
            ]
            assert np.abs(grey[0].astype(int) - grey[1]).mean() <= 3


@pytest.mark.parametrize("space", [Colorspace.ITU709, Colorspace.ITU601])
@pytest.mark.parametrize("range_", [ColorRange.MPEG, ColorRange.JPEG])
def test_colours_follow_what_the_stream_says_of_them(space, range_):
    pixels, whole = decoded(space=(space, range_))
    np.testing.assert_array_equal(pixels.part(30, 40, 91, 171), whole[40:171, 30:91])


def assert_alike(shrunk, expected):
    """In brightness; colour may have half the resolution."""
    assert np.abs(shrunk.astype(int) - expected).mean() < 4
    grey = [cv2.cvtColor(np.ascontiguousarray(i), cv2.COLOR_BGR2GRAY) for i in (shrunk, expected)]
    assert np.abs(grey[0].astype(int) - grey[1]).mean() < 2.5


def test_sizes_in_turn_do_not_disturb_each_other():
    """A camera that changes its resolution, or its format, goes on with the same converters."""
    converters = Converters()
    for seed, (size, form) in enumerate(
        [((320, 240), "yuv420p"), ((640, 360), "yuv420p"), ((320, 240), "yuvj420p")] * 2
    ):
        pixels, whole = decoded(size, form, seed, converters)
        target = np.empty((90, 160, 3), np.uint8)
        pixels.fill(target)
        np.testing.assert_array_equal(pixels.part(11, 13, 99, 201), whole[13:201, 11:99])
        expected = cv2.resize(whole, (160, 90), interpolation=cv2.INTER_AREA)
        assert_alike(target, expected)


@pytest.mark.parametrize("form", ["yuv420p", "yuvj420p"])
@pytest.mark.parametrize("size", [(768, 432), (161, 121), (2000, 1100)])
def test_shrunk_is_what_shrinking_the_whole_gives(size, form):
    """Against OpenCV's area averaging; and only the part of the batch that is meant is written."""
    pixels, whole = decoded(size, form)
    batch = np.full((80, 100, 3), 114, np.uint8)
    pixels.fill(batch[10:70, 10:90])
    expected = cv2.resize(whole, (80, 60), interpolation=cv2.INTER_AREA)
    assert_alike(batch[10:70, 10:90], expected)
    edge = np.ones((80, 100), bool)
    edge[10:70, 10:90] = False
    assert (batch[edge] == 114).all()


def test_an_array_is_a_picture_too():
    _, whole = decoded()
    pixels = ArrayPixels(whole)
    assert Frame("hall", 0, 0.0, whole).image is whole
    np.testing.assert_array_equal(pixels.part(3, 5, 70, 90), whole[5:90, 3:70])
    luma = cv2.cvtColor(whole, cv2.COLOR_BGR2GRAY).astype(int)
    assert np.corrcoef(luma.ravel(), pixels.luma().ravel())[0, 1] > 0.8


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("form", ["array", *FORMATS])
def test_what_the_encoder_gets_shows_the_picture_and_is_the_callers_own(size, form):
    """Back to BGR by OpenCV: colours are halved in resolution, nothing else."""
    pixels, whole = decoded(size, "yuv420p" if form == "array" else form)
    pixels = ArrayPixels(whole) if form == "array" else pixels
    planes = pixels.yuv420()
    back = cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420)
    assert back.shape[:2] == (size[1] & ~1, size[0] & ~1)
    difference = np.abs(back.astype(int) - whole[: back.shape[0], : back.shape[1]])
    assert difference.mean() < 4
    planes[:] = 0
    np.testing.assert_array_equal(pixels.whole(), whole)


def test_boxes_in_a_video_lie_where_the_people_are():
    image = np.full((240, 320, 3), 60, np.uint8)
    boxes = np.array([[40, 60, 100, 200], [-20, -10, 30, 90], [280, 150, 400, 300]], np.float32)
    tracks = Tracks(np.arange(3), boxes, np.ones(3, np.float32), np.zeros(3, np.float32))
    shown = annotate(Sighting(Frame("hall", 0, 0.0, image), tracks, np.array([7, 0, 9])))
    seen = cv2.cvtColor(shown, cv2.COLOR_YUV2BGR_I420).astype(int)
    for row, column in ((130, 40), (130, 101), (201, 70), (61, 70)):
        np.testing.assert_allclose(seen[row, column], colour_of(7), atol=30)
    np.testing.assert_allclose(seen[50, 30], 160, atol=25)
    np.testing.assert_allclose(seen[200, 280], colour_of(9), atol=30)
    for row, column in ((130, 70), (130, 36), (215, 70)):
        np.testing.assert_allclose(seen[row, column], 60, atol=3)
