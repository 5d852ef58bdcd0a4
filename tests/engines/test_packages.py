"""What is on disk is whole, ours and fit for this machine, or does not open."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engines import open_engine
from engines import openvino as openvino_backend
from engines.build import Request, build
from engines.errors import BackendError, PackageError, PackageMismatch
from engines.package import MANIFEST, read_manifest, reissue


def edited(package: Path, copy: Path, **changes: object) -> Path:
    """A copy of a package whose manifest says something else."""
    copy.mkdir()
    for file in package.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    manifest = json.loads((copy / MANIFEST).read_text()) | changes
    (copy / MANIFEST).write_text(json.dumps(manifest))
    return copy


def test_manifest_says_what_it_is(edge_stream, edge_weights):
    manifest = read_manifest(edge_stream)
    assert (manifest.kind, manifest.network, manifest.backend) == (
        "grl-stream",
        "grl-edge",
        "openvino",
    )
    assert (manifest.input_size, manifest.max_batch) == ((256, 128), 24)
    assert manifest.licence == "AGPL-3.0-or-later"
    assert 0.2e9 < manifest.macs < 0.3e9
    assert manifest.parity["embedding"] < 1e-4
    assert str(edge_weights) in manifest.command
    assert set(manifest.files) == {"model.xml", "model.bin"}


def test_the_same_is_not_built_twice_but_anything_else_is(edge_weights, tmp_path):
    request = Request(edge_weights, tmp_path / "p", max_batch=4)
    assert build(request)[1] is True
    stamp = (tmp_path / "p" / MANIFEST).stat().st_mtime_ns
    assert build(request)[1] is False
    assert (tmp_path / "p" / MANIFEST).stat().st_mtime_ns == stamp
    other, rebuilt = build(Request(edge_weights, tmp_path / "p", max_batch=2))
    assert rebuilt
    assert read_manifest(tmp_path / "p").max_batch == other.max_batch == 2


@pytest.mark.parametrize("keep", [0, 1000, -1])
def test_a_plan_cut_short_does_not_open(edge_stream, tmp_path, keep):
    package = edited(edge_stream, tmp_path / "cut")
    plan = package / "model.bin"
    plan.write_bytes(plan.read_bytes()[:keep])
    with pytest.raises(
        PackageError, match=r"model.bin was cut short or altered .* `python -m engines build"
    ):
        open_engine(package)


def test_one_flipped_bit_does_not_open(edge_stream, tmp_path):
    package = edited(edge_stream, tmp_path / "flipped")
    content = bytearray((package / "model.bin").read_bytes())
    content[len(content) // 2] ^= 1
    (package / "model.bin").write_bytes(content)
    with pytest.raises(PackageError, match="altered"):
        open_engine(package)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        (
            {"backend_version": "2099.1.0"},
            PackageMismatch,
            "built with OpenVINO 2099.1.0, and here is the older",
        ),
        ({"format": 0}, PackageMismatch, "a package of format 0, and this version reads 1"),
        ({"backend": "tensorrt", "device": "sm_90"}, BackendError, "TensorRT"),
        ({"backend": "abacus"}, BackendError, "no backend is called 'abacus'"),
        ({"kind": "toaster"}, PackageError, "not a manifest of ours"),
        ({"inputs": 3}, PackageError, "not a manifest of ours"),
    ],
)
def test_misfits_say_what_differs(edge_stream, tmp_path, changes, error, says):
    package = edited(edge_stream, tmp_path / "other", **changes)
    with pytest.raises(error, match=says) as caught:
        open_engine(package)
    assert "\n" not in str(caught.value)
    if error is PackageMismatch:
        assert "`python -m engines build" in str(caught.value)


def test_precisions_that_the_cpu_lacks_do_not_open(edge_stream, tmp_path):
    lacking = next((p for p in ("f16", "bf16") if not openvino_backend.offers(p)), None)
    if lacking is None:
        pytest.skip("this CPU computes in every precision")
    says = f"computes in {lacking}, which this CPU does not offer"
    with pytest.raises(PackageMismatch, match=f"{says}.*`python -m engines build"):
        open_engine(edited(edge_stream, tmp_path / "other", precision=lacking))
    with pytest.raises(PackageMismatch, match=says):
        open_engine(edge_stream, precision=lacking)


def test_foreign_folders_and_files_do_not_open(tmp_path):
    with pytest.raises(PackageError, match="it has no manifest"):
        open_engine(tmp_path / "nowhere")
    (tmp_path / "file").write_text("hello")
    with pytest.raises(PackageError, match="is a file, not an engine package"):
        open_engine(tmp_path / "file")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / MANIFEST).write_text('{"format": 1, "kind"')
    with pytest.raises(PackageError, match="cannot be read"):
        open_engine(tmp_path / "broken")
    (tmp_path / "noise.onnx").write_bytes(os.urandom(1000))
    with pytest.raises(PackageError, match="not a graph"):
        open_engine(tmp_path / "noise.onnx")


def test_a_folder_that_is_not_a_package_is_never_replaced(edge_weights, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "letter.txt").write_text("keep me")
    with pytest.raises(PackageError, match="left as it is"):
        build(Request(edge_weights, tmp_path / "precious"))
    assert (tmp_path / "precious" / "letter.txt").read_text() == "keep me"


def test_a_build_killed_at_any_moment_leaves_nothing_that_opens(edge_weights, tmp_path):
    """Real processes, really killed, at moments spread over what a whole build takes."""
    command = [sys.executable, "-m", "engines", "build", str(edge_weights)]
    start = time.monotonic()
    subprocess.run([*command, "-o", str(tmp_path / "whole")], check=True, capture_output=True)
    whole = time.monotonic() - start
    killed = 0
    for i, share in enumerate((0.5, 0.8, 0.95)):
        package = tmp_path / f"killed{i}"
        process = subprocess.Popen([*command, "-o", str(package)], stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=whole * share)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
        if package.exists():  # it was quicker this time: then it must be whole
            open_engine(package).close()
        else:
            with pytest.raises(PackageError):
                open_engine(package)
    assert killed


def test_a_stop_between_the_old_package_and_the_new_one_leaves_the_old_one(
    edge_stream, tmp_path, monkeypatch
):
    package = Path(shutil.copytree(edge_stream, tmp_path / "package"))
    before = (package / "manifest.json").read_text()
    renames, rename = [], Path.rename

    def interrupted(path, target):
        renames.append(path)
        if len(renames) == 2:
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        reissue(package, read_manifest(package), package)
    assert (package / "manifest.json").read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["package"]


def test_an_unwritable_place_is_one_sentence(edge_weights):
    with pytest.raises(PackageError, match=r"cannot write /proc/here"):
        build(Request(edge_weights, Path("/proc/here")))


def test_a_whole_package_computes_in_any_precision_that_the_cpu_offers(edge_stream, built):
    open_engine(edge_stream, precision="fastest").close()
    with pytest.raises(PackageMismatch, match="computes in f16, not in f32"):
        open_engine(built("onnxruntime", "f16"), precision="f32")
