"""Cameras of a rendered site in the live loop's hands."""

import numpy as np
import pytest

from pipeline.errors import AddressError
from pipeline.ingest import CameraState, IngestOptions, open_sources, parse_address
from synthetic import Feed, load_site


def test_a_rendered_camera_gives_the_pictures_of_its_site_with_their_times():
    site = load_site("mall")
    camera = site.cameras[0].name
    sources = open_sources(
        [parse_address(f"synthetic:mall/{camera}?seed=7&duration=0.4")],
        options=IngestOptions(every_frame=True, start=100.0),
    )
    assert sources.cameras == [camera]
    sources.start()
    frames = []
    while not sources.finished:
        frames += sources.wait(60)
    assert sources.stop()
    truth = Feed(site, camera, 7)
    assert len(frames) == round(0.4 * site.fps)
    for index, frame in enumerate(frames):
        assert frame.time == pytest.approx(100 + index / site.fps)
        assert np.array_equal(frame.image, truth.frame(index).rendered.image)
    assert sources.health()[camera].state is CameraState.ENDED


@pytest.mark.parametrize(
    ("address", "says"), [("nosuchsite/cam1", "nosuchsite"), ("mall/nosuchcamera", "nosuchcamera")]
)
def test_what_the_site_does_not_have_is_refused_before_anything_starts(address, says):
    with pytest.raises(AddressError, match=says):
        open_sources([parse_address(f"synthetic:{address}")])
