"""Runs of real networks over real footage, and the way a command line is refused."""

import json

import av
import pytest

from pipeline.cli import main


@pytest.fixture(scope="session")
def cut():
    return _cut


def _cut(source, target, first, last):
    """Frames first…last of a film, as another."""
    with av.open(str(source)) as film, av.open(str(target), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 768, 432, "yuv420p"
        stream.options = {"preset": "ultrafast"}
        for number, frame in enumerate(film.decode(video=0)):
            if number >= last:
                break
            if number >= first:
                picture = av.VideoFrame.from_ndarray(
                    frame.to_ndarray(format="bgr24"), format="bgr24"
                )
                out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return target


@pytest.fixture(scope="session")
def networks(test_data):
    models = test_data / "models"
    (embedder,) = sorted(models.rglob("person-reidentification-retail-0288.xml"))[:1]
    return {"detector": models / "yolox_nano.onnx", "embedder": embedder}


@pytest.fixture(scope="session")
def people(test_data, tmp_path_factory):
    """60 frames of a hall in which people walk."""
    folder = tmp_path_factory.mktemp("people")
    return _cut(test_data / "clips" / "people-detection.264", folder / "people.mp4", 200, 260)


@pytest.fixture(scope="session")
def site(networks, people, tmp_path_factory):
    """A site's file, with two cameras that see the same."""
    path = tmp_path_factory.mktemp("site") / "site.toml"
    path.write_text(
        f'[[camera]]\nname = "hall"\naddress = "{people}"\n'
        f'[[camera]]\nname = "<b>[i]"\naddress = "{people}"\n'
        f'[detector]\npackage = "{networks["detector"]}"\n'
        f'[embedder]\npackage = "{networks["embedder"]}"\nslots = 32\n'
    )
    return path


@pytest.fixture(scope="module")
def finished(site, tmp_path_factory):
    """The folder of a run over the whole site."""
    output = tmp_path_factory.mktemp("runs") / "site"
    words = ["--site", str(site), "--as-fast-as-possible", "--output", str(output)]
    assert main(words) == 0
    return output


@pytest.fixture(scope="session")
def words_for():
    """Options that name networks."""
    return lambda networks: [f"--{name}={path}" for name, path in networks.items()]


@pytest.fixture(scope="session")
def events_of():
    """All events of a run, in JSON and nothing but JSON."""

    def read(run):
        lines = (run / "events.jsonl").read_text().splitlines()
        return [json.loads(line, parse_constant=pytest.fail) for line in lines]

    return read


@pytest.fixture
def refused(capfd):
    """Runs a command line that must be refused; answers the one sentence."""

    def run(*words):
        assert main([str(word) for word in words]) == 2
        told = capfd.readouterr()
        assert told.out == ""
        assert "Traceback" not in told.err
        lines = [
            line for line in told.err.splitlines() if "absl" not in line and ".cc:" not in line
        ]
        assert len(lines) == 1, told.err  # but for what OpenVINO's readers write by themselves
        assert lines[0].startswith("error: "), told.err
        return lines[0]

    return run
