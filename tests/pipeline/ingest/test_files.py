"""Films and folders of pictures: every frame in order, real time, damage. Each picture tells its number."""

import logging
import time

import av
import cv2
import numpy as np
import pytest

from pipeline.ingest import CameraState, IngestOptions, open_sources, parse_address

EVERY = IngestOptions(every_frame=True, start=1000.0, folder_rate=10)


def opened(*paths, options=EVERY, **more):
    return open_sources([parse_address(str(path)) for path in paths], options=options, **more)


def watched(run, sources, limit=10.0):
    viewer = run(sources)
    viewer.watch(lambda: sources.finished, limit)
    return viewer


def test_every_frame_of_every_film_comes_once_in_order_with_its_own_time(films, run):
    paths = films.make("fast.mp4", 120, fps=30), films.make("slow.mkv", 50, fps=12)
    sources = opened(*paths)
    viewer = watched(run, sources)
    assert viewer.stamps == {"fast": list(range(120)), "slow": list(range(50))}
    assert viewer.indices == viewer.stamps
    assert viewer.times["fast"] == pytest.approx(1000 + np.arange(120) / 30, abs=1e-3)
    assert viewer.times["slow"] == pytest.approx(1000 + np.arange(50) / 12, abs=1e-3)
    for health in sources.health().values():
        assert (health.state, health.drops, health.error) == (CameraState.ENDED, 0, None)
    assert sources.health()["slow"].resolution == (160, 120)


def test_films_of_different_rates_advance_together_in_capture_time(films, run):
    sources = opened(films.make("fast.mp4", 120, fps=30), films.make("slow.mkv", 50, fps=12))
    run(sources)
    times = []
    while not sources.finished:
        frames = sources.wait(5)
        times += [frame.time for frame in frames]
        assert len(frames) <= 2
    assert len(times) == 170
    assert np.diff(times).min() > -0.01  # frames of one moment come in the order of the cameras


def test_two_runs_over_the_same_films_give_the_same_batches(films, run):
    paths = films.make("fast.mp4", 120, fps=30), films.make("slow.mkv", 50, fps=12)
    batches = []
    for _ in range(2):
        sources = opened(*paths)
        run(sources)
        batches.append([])
        while not sources.finished:
            batches[-1].append(
                [(frame.camera, frame.index, frame.time) for frame in sources.wait(5)]
            )
    first, second = ([batch for batch in run if batch] for run in batches)
    assert first == second


def test_films_in_real_time_take_their_time_and_start_together(films, run):
    sources = opened(
        films.make("calm.mp4", 10, fps=10),
        films.make("other.ts", 10, fps=10),
        options=IngestOptions(start=500.0),
    )
    viewer = watched(run, sources)
    for name in sources.cameras:
        assert viewer.stamps[name] == list(range(10))
        assert viewer.arrivals[name][-1] - viewer.arrivals[name][0] == pytest.approx(0.9, abs=0.2)
        assert viewer.times[name] == pytest.approx(500 + np.arange(10) / 10, abs=1e-3)
    assert viewer.arrivals["calm"][0] == pytest.approx(viewer.arrivals["other"][0], abs=0.15)
    assert sum(health.drops for health in sources.health().values()) == 0


def test_a_slow_consumer_gets_the_newest_frames_and_the_others_are_counted(films, run):
    sources = opened(films.make("short.mp4", 25), options=IngestOptions())
    run(sources)
    indices, ages = [], []
    while not sources.finished:
        for frame in sources.wait(1):
            indices.append(frame.index)
            ages.append(time.time() - frame.time)
            time.sleep(0.15)  # this is the slow consumer
    health = sources.health()["short"]
    assert health.frames == 25
    assert 5 <= len(indices) <= 9
    assert len(indices) + health.drops == 25
    assert indices[-1] == 24
    assert np.all(np.diff(indices) > 0)
    assert max(ages) < 0.3


def test_where_not_all_can_be_looked_at_every_camera_has_its_turn(films, run):
    names = ["one.mp4", "two.mp4", "three.mp4"]
    sources = opened(*(films.make(name, 40) for name in names), options=IngestOptions())
    run(sources)
    counts = dict.fromkeys(sources.cameras, 0)
    while not sources.finished:
        frames = sources.wait(1, most=2)
        assert len(frames) <= 2
        for frame in frames:
            counts[frame.camera] += 1
        time.sleep(0.1)  # 75 pictures a second come, and twenty are looked at
    assert min(counts.values()) >= 8
    assert max(counts.values()) - min(counts.values()) <= 4


def test_a_maximum_rate_leaves_frames_out_evenly_and_calls_none_a_drop(films, run):
    sources = opened(films.make("short.mp4", 25), max_rates={"short": 5})
    viewer = watched(run, sources)
    assert viewer.stamps["short"] == viewer.indices["short"] == [0, 5, 10, 15, 20]
    assert sources.health()["short"].drops == 0


def test_the_size_may_change_within_a_stream(films, run):
    path = films.join("sizes.ts", [(20, (160, 120)), (20, (240, 128)), (10, (160, 120))])
    sources = opened(path)
    viewer = watched(run, sources)
    assert viewer.stamps["sizes"] == list(range(50))
    assert viewer.sizes["sizes"] == [(160, 120)] * 20 + [(240, 128)] * 20 + [(160, 120)] * 10


@pytest.mark.parametrize(
    ("name", "says"), [("cut.mp4", "cut short"), ("cut.mkv", "cut short"), ("cut.ts", "")]
)
def test_a_film_cut_short_gives_its_whole_frames_and_says_so(films, run, tmp_path, name, says):
    whole = films.make(f"whole{name[3:]}", 60).read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[: int(len(whole) * 0.6)])
    sources = opened(path)
    viewer = watched(run, sources)
    stamps = viewer.stamps["cut"]
    assert 25 <= len(stamps) < 45
    assert stamps == list(range(len(stamps)))
    health = sources.health()["cut"]
    assert health.state is CameraState.ENDED
    assert says in (health.error or "")  # a .ts does not say how long it should have been
    assert "\n" not in (health.error or "")


def test_a_few_frames_missing_at_the_end_are_noticed_too(films, run, tmp_path):
    path = tmp_path / "cut.mp4"
    path.write_bytes(films.make("whole.mp4", 60).read_bytes()[:-300])
    sources = opened(path)
    viewer = watched(run, sources)
    assert 50 < len(viewer.stamps["cut"]) < 60
    assert "of 60 frames" in sources.health()["cut"].error


def test_a_picture_that_the_decoder_had_to_complete_is_left_out(tmp_path):
    path = tmp_path / "noise.264"
    random = np.random.default_rng(6)
    with av.open(str(path), "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=25, options={"tune": "zerolatency", "g": "1"})
        stream.width, stream.height = 160, 120
        for _ in range(10):
            image = random.integers(0, 256, (120, 160, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - len(data) // 20])  # half of the last picture is gone
    sources = opened(path)
    sources.start()
    while not sources.finished:
        sources.wait(1)
    assert sources.stop()
    health = sources.health()["noise"]
    assert (health.frames, health.damaged) == (9, 1)
    assert "1 damaged frame" in health.error


def test_garbage_in_the_middle_of_a_film_costs_no_more_than_its_place(films, run, tmp_path):
    data = bytearray(films.make("whole.mp4", 60).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = np.random.default_rng(1).bytes(400)
    path = tmp_path / "hurt.mp4"
    path.write_bytes(data)
    sources = opened(path)
    viewer = watched(run, sources)
    health = sources.health()["hurt"]
    assert 40 < health.frames < 60
    assert viewer.stamps["hurt"] == viewer.indices["hurt"]
    assert health.frames + health.damaged == 60
    assert health.state is CameraState.ENDED
    assert "damaged" in health.error


@pytest.mark.parametrize(
    "content",
    [b"", b"just some text\n" * 400, bytes(range(256)) * 40, "cut"],
    ids=["empty", "text", "bytes", "without its index"],
)
def test_what_is_no_video_fails_in_one_line_while_the_others_go_on(
    films, run, tmp_path, caplog, content
):
    path = tmp_path / "bad.mp4"
    if content == "cut":
        content = films.make("whole.mkv", 60).read_bytes()[200:9000]
    path.write_bytes(content)
    sources = opened(path, films.make("short.mp4", 25))
    viewer = watched(run, sources)
    health = sources.health()["bad"]
    assert health.state is CameraState.FAILED
    assert health.error.startswith(str(path))
    assert "not a video" in health.error
    assert viewer.stamps["short"] == list(range(25))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_text_file_is_not_taken_for_a_film(run, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("just some text\n" * 4000)
    sources = opened(path)
    watched(run, sources)
    assert sources.health()["notes"].state is CameraState.FAILED
    assert sources.health()["notes"].frames == 0


def test_a_folder_of_pictures_comes_in_counting_order_and_names_what_is_unreadable(
    stamped, run, tmp_path
):
    folder = tmp_path / "walk"
    folder.mkdir()
    for number in range(12):
        size = (160, 120) if number % 2 else (96, 64)
        cv2.imwrite(str(folder / f"frame{number}.png"), stamped(number, *size))
    (folder / "frame4.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not one of them")
    sources = opened(folder)
    viewer = watched(run, sources)
    expected = [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11]
    assert viewer.stamps["walk"] == viewer.indices["walk"] == expected
    assert viewer.times["walk"] == pytest.approx(1000 + np.array(expected) / 10)
    health = sources.health()["walk"]
    assert health.damaged == 1
    assert "1 of 12 pictures" in health.error
    assert "frame4.png" in health.error


def test_stopping_in_the_middle_ends_every_thread_at_once(films, run):
    path = films.make("whole.mp4", 60)
    for options in (EVERY, IngestOptions()):
        sources = opened(path, path, path, options=options)
        run(sources)
        assert sources.wait(5)
        before = time.monotonic()
        assert sources.stop()
        assert time.monotonic() - before < 0.5
        assert sources.finished
        assert sources.wait(5) == [] or sources.finished


def test_missing_hardware_is_one_warning_and_software(films, run, caplog):
    path = films.make("short.mp4", 25)
    options = IngestOptions(every_frame=True, hardware="nosuch")
    sources = opened(path, path, options=options)
    viewer = watched(run, sources)
    assert viewer.stamps["short"] == list(range(25))
    assert [record.getMessage().count("nosuch") for record in caplog.records] == [1]
