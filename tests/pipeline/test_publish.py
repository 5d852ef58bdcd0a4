"""What a run leaves behind, read back by others: json, PyAV and an HTML parser."""

import json
from html.parser import HTMLParser

import av
import numpy as np
import pytest

from pipeline.frames import EventKind, IdentityEvent
from pipeline.publish import AnnotatedVideos, EventLog, EverySink
from pipeline.publish.report import Journal, write_report
from pipeline.publish.video import colour_of
from tests.pipeline.sightings import event, sighting

# ---- events -------------------------------------------------------------------------------------


def test_events_are_json_lines_as_soon_as_they_are_known(tmp_path):
    log = EventLog(tmp_path / "events.jsonl")
    log.events([event("founded", 1, 4, time=2.5), event("corrected", 2, 4, previous=1)])
    lines = (tmp_path / "events.jsonl").read_text().splitlines()  # before it is closed
    log.close()
    first = {"kind": "founded", "identity": 1, "camera": "hall", "local_id": 4, "time": 2.5}
    assert json.loads(lines[0]) == first | {"score": 1.5, "previous": None}
    assert json.loads(lines[1])["previous"] == 1
    assert log.count == len(lines) == 2


def test_a_score_without_bounds_is_still_json(tmp_path):
    log = EventLog(tmp_path / "events.jsonl")
    log.events([IdentityEvent(EventKind.JOINED, 1, "hall", 1, 0.0, float("inf"))])
    log.close()
    text = (tmp_path / "events.jsonl").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["score"] is None


# ---- video --------------------------------------------------------------------------------------


def decoded(path):
    """(seconds, BGR image) of each picture."""
    with av.open(str(path)) as video:
        return [(float(f.time), f.to_ndarray(format="bgr24")) for f in video.decode(video=0)]


def test_videos_show_every_sighting_at_its_time_in_the_colour_of_the_identity(tmp_path):
    times = [1000.0, 1000.04, 1000.5, 1003.21, 1003.25]
    videos = AnnotatedVideos(tmp_path)
    for index, time in enumerate(times):
        videos.sighting(sighting(index, {1: 5, 2: 0}, time=time))
    videos.close()
    pictures = decoded(tmp_path / "hall.mp4")
    np.testing.assert_allclose([p[0] for p in pictures], np.array(times) - 1000.0, atol=1e-3)
    for _, image in pictures:
        assert image.shape == (240, 320, 3)
        np.testing.assert_allclose(image[130, 10], colour_of(5), atol=40)  # the left edge of a box
        np.testing.assert_allclose(image[130, 60], 160, atol=25)  # not known: grey
        np.testing.assert_allclose(image[130, 25], 60, atol=12)  # inside, the picture itself


@pytest.mark.parametrize("leap", [40 * 3600.0, -3600.0])
def test_a_leap_of_the_clock_passes_in_a_second(tmp_path, leap):
    steps = np.arange(10) * 0.2
    videos = AnnotatedVideos(tmp_path)
    for index, time in enumerate([*steps, *(leap + steps)]):
        videos.sighting(sighting(index, {}, time=1e9 + time))
    videos.close()
    shown = np.array([seconds for seconds, _ in decoded(tmp_path / "hall.mp4")])
    np.testing.assert_allclose(shown[:10], steps, atol=1e-3)
    np.testing.assert_allclose(shown[10:] - shown[9], 1 + steps, atol=1e-3)


def test_a_change_of_resolution_does_not_end_a_video(tmp_path):
    """The whole picture is shown: a box at the right border stays at the right border."""
    videos = AnnotatedVideos(tmp_path)
    for index, size in enumerate([(320, 240), (640, 480), (161, 121)]):
        shown = sighting(index, {}, size=size)
        shown.frame.image[:, -size[0] // 8 :] = 250
        videos.sighting(shown)
    videos.close()
    pictures = decoded(tmp_path / "hall.mp4")
    assert len(pictures) == 3
    for _, image in pictures:
        assert image.shape == (240, 320, 3)
        assert image[:, 300:].min() > 200
        assert image[:, :260].max() < 90


@pytest.mark.parametrize("size", [(320, 242), (322, 240), (96, 54), (480, 270)])
def test_colours_stay_where_they_are_in_pictures_of_any_even_size(tmp_path, size):
    """Red above blue, with a border that is one row wide in samples of colour."""
    shown, (width, height) = sighting(0, {}, size=size), size
    middle = height // 4 * 2
    shown.frame.image[:middle] = (30, 30, 200)
    shown.frame.image[middle:] = (200, 30, 30)
    videos = AnnotatedVideos(tmp_path)
    videos.sighting(shown)
    videos.close()
    ((_, image),) = decoded(tmp_path / "hall.mp4")
    assert image.shape == (height, width, 3)
    np.testing.assert_allclose(image[: middle - 2].mean(axis=(0, 1)), (30, 30, 200), atol=12)
    np.testing.assert_allclose(image[middle + 2 :].mean(axis=(0, 1)), (200, 30, 30), atol=12)
    assert np.abs(image[: middle - 2].astype(int) - (30, 30, 200)).max() < 40
    assert np.abs(image[middle + 2 :].astype(int) - (200, 30, 30)).max() < 40


def test_a_video_whose_run_was_killed_can_be_played(tmp_path):
    """All but the last fragment, and what the encoder still holds."""
    videos = AnnotatedVideos(tmp_path)
    for index in range(600):
        videos.sighting(sighting(index, {1: 5}, size=(64, 48), time=index / 25))
    left_behind = tmp_path / "killed.mp4"
    left_behind.write_bytes((tmp_path / "hall.mp4").read_bytes())
    videos.close()
    assert len(decoded(left_behind)) >= 400
    assert len(decoded(tmp_path / "hall.mp4")) == 600


def test_neighbouring_identities_have_different_colours():
    colours = np.array([colour_of(n) for n in range(1, 40)], float)
    assert np.abs(np.diff(colours, axis=0)).max(axis=1).min() > 60
    assert colour_of(7) == colour_of(7)


# ---- report -------------------------------------------------------------------------------------

NASTY = "<script>alert('x')</script>&{0}"


class Page(HTMLParser):
    """Tags, attributes and visible words of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_data(self, data):
        self.words.append(data.strip())


def camera_health(**changes):
    health = {"state": "ended", "frames": 9, "drops": 0, "damaged": 0, "reconnects": 0}
    return health | {"mean_fps": 10.0, "error": None} | changes


def report_of(tmp_path, journal, cameras):
    summary = {"cameras": cameras, "frames": 9, "seconds": 2.0, "latency_seconds": {"p95": 0.123}}
    write_report(tmp_path / "report.html", summary, journal)
    return (tmp_path / "report.html").read_text()


def journey(cameras, identities):
    """Each identity is in front of each camera in turn for a second."""
    journal = Journal()
    for place, camera in enumerate(cameras):
        for index in range(10):
            people = dict.fromkeys(identities, 0)
            journal.sighting(
                sighting(index, people, camera=camera, time=100 + 10 * place + index / 10)
            )
        journal.events([event("joined", n, n, camera=camera) for n in identities])
    return journal


def test_the_report_is_one_page_that_needs_nothing_and_names_everybody(tmp_path):
    journal = journey(["hall", NASTY], [3, 41, 500])
    trouble = "refused <b>by</b> the camera"
    text = report_of(
        tmp_path, journal, {"hall": camera_health(), NASTY: camera_health(error=trouble)}
    )
    page = Page(text)
    assert page.links == []
    assert "http" not in text
    assert "url(" not in text
    assert not {"script", "b", "link", "img", "iframe"} & set(page.tags)
    assert {"3", "41", "500", "hall", NASTY, trouble} <= set(page.words)
    assert any("3 people" in words for words in page.words)
    assert page.tags.count("rect") == 6, "three people before two cameras"


def test_journeys_count_who_went_from_where_to_where():
    journal = journey(["hall", "court", "hall2"], [1, 2])
    assert journal.journeys() == {("hall", "court"): 2, ("court", "hall2"): 2}
    stays = journal.by_identity()[2]
    assert [(s.camera, s.start, round(s.end, 1)) for s in stays][:2] == [
        ("hall", 100.0, 100.9),
        ("court", 110.0, 110.9),
    ]


def test_a_report_of_a_run_that_saw_nothing(tmp_path):
    text = report_of(tmp_path, Journal(), {"hall": camera_health(frames=0)})
    assert "0 people" in text
    assert "hall" in Page(text).words


def test_a_journal_of_weeks_is_bounded():
    journal = Journal()
    for number in range(1, 30_001):
        journal.sighting(sighting(number, {number: 0}, time=float(number), size=(8, 8)))
        if number % 2:
            journal.events([event("founded", number, number)])
        journal.ended([("hall", number)])
    assert len(journal.by_identity()) == 15_000, "who was never named is not remembered"
    for number in range(30_001, 60_001):
        journal.sighting(sighting(number, {number: 0}, time=float(number), size=(8, 8)))
        journal.events([event("founded", number, number)])
        journal.ended([("hall", number)])
    assert len(journal.by_identity()) == 20_000
    assert max(journal.by_identity()) == 60_000


# ---- all of them ----------------------------------------------------------------------------------


class Recorder:
    """A sink that keeps what it is told, and fails at the named news."""

    def __init__(self, fails=""):
        self.told, self._fails = [], fails

    def _hear(self, news):
        self.told.append(news)
        if news == self._fails:
            raise OSError(28, "No space left on device")

    def sighting(self, sighting):
        self._hear("sighting")

    def events(self, events):
        self._hear("events")

    def passed(self, tracks):
        self._hear("passed")

    def ended(self, tracklets):
        self._hear("ended")

    def close(self):
        self._hear("close")


class BrokenRecorder(Recorder):
    """Told apart from the others by its name."""


@pytest.mark.parametrize("fails", ["sighting", "events", "passed", "ended", "close"])
def test_a_failing_sink_is_left_out_and_no_other(fails, caplog):
    before, broken, after = Recorder(), BrokenRecorder(fails), Recorder()
    sinks = EverySink([before, broken, after])
    for index in range(3):
        sinks.events([])
        sinks.sighting(sighting(index, {}))
        sinks.passed([])
        sinks.ended([])
    sinks.close()
    assert before.told == after.told == ["events", "sighting", "passed", "ended"] * 3 + ["close"]
    assert "close" in broken.told, "what it has is completed as well as it can be"
    assert broken.told.count(fails) == (2 if fails == "close" else 1)
    assert sinks.failures == {"BrokenRecorder": "[Errno 28] No space left on device"}
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert (
        line
        == "BrokenRecorder failed and is left out from now on: [Errno 28] No space left on device"
    )
