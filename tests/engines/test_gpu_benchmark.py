"""`python -m benchmarks.gpu`: without a GPU, and with the host's stand-ins for one."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOST = Path(__file__).with_name("host")


def benchmark(*arguments: str, **environment: str):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *arguments],
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_a_gpu_it_says_so_and_is_content(tmp_path):
    (tmp_path / "cuda.py").write_text('raise ModuleNotFoundError("not here")')
    answer = benchmark(PYTHONPATH=str(tmp_path), CUDA_VISIBLE_DEVICES="")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("no NVIDIA GPU to measure: ")
    assert answer.stdout.count("\n") == 1


def test_networks_go_all_the_way_through_tensorrt(tmp_path, wheels, host_driver):
    """From weights to a package, an engine, rows on the device and parity with torch.

    The stand-in for TensorRT holds the graph to what the real one demands of pictures.
    """
    places = (HOST, wheels("cuda-bindings==13.5.0", "cuda-pathfinder==1.9.0"), ROOT)
    answer = benchmark(
        *("--networks", "grl-edge", "--backends", "tensorrt", "--seconds", "0.05"),
        *("--batches", "2", "--output", str(tmp_path)),
        PYTHONPATH=os.pathsep.join(map(str, places)),
        LD_LIBRARY_PATH=str(host_driver),
    )
    assert answer.returncode == 0, answer.stderr
    report = json.loads((tmp_path / "gpu-host-gpu.json").read_text())
    assert report["not_measured"] == {}
    found = {result["precision"]: result for result in report["results"]}
    assert found["f32"]["smallest_cosine"] > 0.999999
    assert found["f16"]["smallest_cosine"] > 0.999
    assert found["f16"]["bytes_per_slot"] < found["f32"]["bytes_per_slot"]
    assert [timing["batch"] for timing in found["f16"]["timings"]] == [2]
