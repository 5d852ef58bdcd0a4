"""The command line, as a person or a script uses it."""

import functools
import hashlib
import http.server
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from engines.__main__ import main
from engines.errors import FetchError
from engines.fetch import Weights, fetch
from pipeline.settings import MODELS
from trainer.model import load_model, save_model


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "engines", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_build_inspect_bench_verify(edge_weights, tmp_path, capsys):
    package = str(tmp_path / "p")
    assert main(["build", str(edge_weights), "-o", package, "--max-batch", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["built"] is True
    assert main(["inspect", package, "--check", "--json"]) == 0
    manifest = json.loads(capsys.readouterr().out)
    assert (manifest["network"], manifest["max_batch"]) == ("grl-edge", 4)
    assert main(["bench", package, "--batches", "1,4,16", "--seconds", "0.1", "--json"]) == 0
    bench = json.loads(capsys.readouterr().out)
    assert [row["batch"] for row in bench["rows"]] == [1, 4]
    assert all(
        0 < row["share_of_peak"] < 1.5 and row["p50_ms"] <= row["p99_ms"] for row in bench["rows"]
    )
    assert main(["verify", package, "--source", str(edge_weights), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sound"] is True


def test_a_detector_is_verified_against_ultralytics_itself(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    package = str(tmp_path / "p")
    words = [
        "build",
        "yolo11n.yaml",
        "-o",
        package,
        "--size",
        "96x128",
        "--max-batch",
        "2",
        "--sure",
        "0.6",
        "--json",
    ]
    assert main(words) == 0
    manifest = json.loads(capsys.readouterr().out)
    assert (manifest["kind"], manifest["head"], manifest["input_size"], manifest["sure"]) == (
        "detector",
        "ultralytics",
        [96, 128],
        0.6,
    )
    assert manifest["command"].endswith("--sure 0.6")
    assert main(["verify", package, "--source", "yolo11n.yaml", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["output"], row["batch"]) for row in rows] == [
        ("predictions", 1),
        ("predictions", 2),
    ]
    assert all(row["largest"] < 1e-2 for row in rows)


def test_verify_names_weights_of_another_kind(edge_stream, tmp_path, capsys):
    detector = str(tmp_path / "people.pt")
    assert main(["verify", str(edge_stream), "--source", detector]) == 2
    assert "people.pt is no grl-stream, as the package is" in capsys.readouterr().err
    shipped = str(MODELS / "person-detector")
    assert main(["verify", shipped, "--source", str(MODELS / "grl-edge.safetensors")]) == 2
    assert "grl-edge.safetensors is no detector, as the package is" in capsys.readouterr().err


def test_verify_notices_other_weights(edge_stream, tmp_path, capsys):
    import torch

    from trainer.model import create_model, save_model

    torch.manual_seed(99)
    save_model(create_model("grl-edge"), "grl-edge", tmp_path / "other.safetensors")
    assert (
        main(
            ["verify", str(edge_stream), "--source", str(tmp_path / "other.safetensors"), "--json"]
        )
        == 1
    )
    assert json.loads(capsys.readouterr().out)["sound"] is False


def test_export_writes_a_graph_that_opens(edge_weights, tmp_path, capsys):
    import onnxruntime as ort

    path = tmp_path / "edge.onnx"
    assert main(["export", str(edge_weights), "-o", str(path), "--precision", "f16", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == path.stat().st_size
    names = [node.name for node in ort.InferenceSession(str(path)).get_inputs()]
    assert names[0] == "crops"
    assert names[1:] == [f"state.{n}" for n in ("count", "context", "memory", "high", "mean")]


EDGE, PEOPLE = "models/grl-edge.safetensors", "models/person-detector.pt"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["inspect", "/nowhere"], "is not an engine package"),
        (["build", "/nowhere.safetensors", "-o", "x"], "nothing at /nowhere.safetensors"),
        (["build", "README.md", "-o", "x"], "none of what can be built"),
        (
            ["build", "models/grl-edge.safetensors", "-o", "x", "--backend", "tensorrt"],
            "pip install 'throughline[tensorrt]'",
        ),
        (["fetch", "yolo99"], "no weights are called 'yolo99'"),
        (["build", EDGE, "-o", "x", "--size", "64x64"], "--size is not for models/grl-edge.safet"),
        (["build", EDGE, "-o", "x", "--sure", "0.5"], "--sure is not for"),
        (["build", PEOPLE, "-o", "x", "--kind", "grl-stream"], "--kind is not for"),
        (
            ["build", EDGE, "-o", "x", "--max-batch", "-1"],
            "must be a whole number from 1 on, not -1",
        ),
        (["bench", "models/grl-edge", "--batches", "0"], "must be a whole number from 1 on, not 0"),
        (["bench", "models/grl-edge", "--batches", "9999"], "takes 64 pictures at once, at most"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(words, says):
    answer = run(*words)
    assert answer.returncode == 2
    assert says in answer.stderr
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""


def test_bad_weights_are_one_sentence(tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"not weights at all")
    answer = run("build", tmp_path / "bad.safetensors", "-o", tmp_path / "p")
    assert answer.returncode == 2
    assert "not a whole safetensors file" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not (tmp_path / "p").exists()


def test_help_has_examples():
    answer = run("--help")
    assert answer.returncode == 0
    assert "python -m engines build yolo11n.pt" in answer.stdout


# ---- fetch, from a real server ----------------------------------------------------------------------


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


@pytest.fixture
def server(tmp_path):
    (tmp_path / "site").mkdir()
    handler = functools.partial(Quiet, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}", tmp_path / "site"
        running.shutdown()


def test_fetch_checks_what_it_was_sent(server, tmp_path):
    url, site = server
    content = bytes(range(256)) * 4000
    (site / "net.pt").write_bytes(content)
    good = {"net": Weights(f"{url}/net.pt", hashlib.sha256(content).hexdigest(), "MIT")}
    told: list[tuple[int, int]] = []
    path = fetch("net", tmp_path / "w", lambda done, total: told.append((done, total)), good)
    assert path.read_bytes() == content
    assert told[-1] == (len(content), len(content))
    bad = {"net": Weights(f"{url}/net.pt", "0" * 64, "MIT")}
    with pytest.raises(FetchError, match="not what its makers published"):
        fetch("net", tmp_path / "v", catalogue=bad)
    assert list((tmp_path / "v").iterdir()) == []


class Short(Quiet):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"ff\r\nand then nothing")


def test_an_answer_that_breaks_off_is_a_network_that_failed(tmp_path):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Short) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{running.server_address[1]}/net.pt"
        with pytest.raises(FetchError, match=f"cannot reach {url}"):
            fetch("net", tmp_path / "w", catalogue={"net": Weights(url, "0" * 64, "MIT")})
        running.shutdown()
    assert list((tmp_path / "w").iterdir()) == []


def test_what_a_likeness_says_goes_with_the_weights(edge_weights, tmp_path):
    weights = Path(shutil.copy(edge_weights, tmp_path / "net.safetensors"))
    (tmp_path / "net.likeness.json").write_text('{"even": 0.4, "slope": 9.0}')
    for _ in range(2):  # built, and there already
        assert main(["build", str(weights), "-o", str(tmp_path / "to" / "package")]) == 0
        told = tmp_path / "to" / "package.likeness.json"
        assert told.read_text() == '{"even": 0.4, "slope": 9.0}'
        told.unlink()


def test_what_a_likeness_says_of_other_weights_goes(edge_weights, tmp_path):
    weights = Path(shutil.copy(edge_weights, tmp_path / "net.safetensors"))
    told = tmp_path / "package.likeness.json"
    words = ["-o", str(tmp_path / "package")]
    assert main(["build", str(weights), *words]) == 0
    told.write_text('{"even": 0.4, "slope": 9.0}')  # of these weights, measured by somebody
    assert main(["build", str(weights), *words, "--max-batch", "2"]) == 0
    assert told.exists()
    other = tmp_path / "other.safetensors"
    model = load_model(weights)
    with torch.no_grad():
        next(model.parameters()).add_(0.01)
    save_model(model, "grl-edge", other, {})
    assert main(["build", str(other), *words]) == 0
    assert not told.exists()


def test_a_package_needs_a_name(edge_weights, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["build", str(edge_weights), "-o", "."]) == 2
    assert "no name for a package" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_fetch_without_a_network_says_what_to_do(tmp_path):
    nobody = {"net": Weights("http://127.0.0.1:9/net.pt", "0" * 64, "MIT")}
    with pytest.raises(
        FetchError, match=r"cannot reach http://127.0.0.1:9/net.pt .* put the file at"
    ):
        fetch("net", tmp_path, catalogue=nobody)


def test_fetch_takes_what_is_there_already(tmp_path):
    (tmp_path / "net.pt").write_bytes(b"weights")
    there = {
        "net": Weights("http://127.0.0.1:9/net.pt", hashlib.sha256(b"weights").hexdigest(), "MIT")
    }
    assert fetch("net", tmp_path, catalogue=there) == Path(tmp_path / "net.pt")
