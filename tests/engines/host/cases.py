"""What must hold of Device, TensorRTEngine and DeviceRows, through a real CUDA library for Python.

Run by test_device.py in a process whose libcuda is cuda.c and whose `tensorrt` is the one here.
"""

import ctypes
import threading

import numpy as np
import onnx
import pytest
import tensorrt as host
from onnx import TensorProto, helper

from engines.cuda import Device
from engines.errors import (
    BackendError,
    BuildError,
    InputError,
    PackageMismatch,
    WrongThread,
)
from engines.package import Kind, Manifest
from engines.rows import STATE
from engines.tensorrt import TensorRTEngine, differences, open_plan, version
from engines.tensorrt_build import build_plan

MAX_BATCH = 7


@pytest.fixture(autouse=True)
def nothing_is_left():
    """Every test gives back all memory, streams and modules."""
    host.asked.clear()
    yield
    assert ctypes.c_int.in_dll(ctypes.CDLL("libcuda.so.1"), "live_objects").value == 0


def stream_graph(batch: str | int = "n") -> bytes:
    """count' = count + 1; memory' = memory + crops; half' = half + 1; embedding = memory' × count'.

    The size of next.memory is left open, as exporters do.
    """

    def value(name: str, *shape: int | str, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, [batch, *shape])

    half = TensorProto.FLOAT16
    constants = [
        helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
        helper.make_tensor("half_one", half, [1], [1.0]),
    ]
    nodes = [
        helper.make_node("Add", ["state.count", "one"], ["next.count"]),
        helper.make_node("Add", ["state.memory", "crops"], ["next.memory"]),
        helper.make_node("Add", ["state.half", "half_one"], ["next.half"]),
        helper.make_node("Mul", ["next.memory", "next.count"], ["embedding"]),
    ]
    inputs = [value("crops", 8), value("state.count", 1), value("state.memory", 8)]
    outputs = [value("embedding", 8), value("next.count", 1), value("next.memory", "open")]
    graph = helper.make_graph(
        nodes,
        "toy",
        [*inputs, value("state.half", 3, kind=half)],
        [*outputs, value("next.half", 3, kind=half)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


@pytest.fixture
def engine():
    plan = build_plan(stream_graph(), precision="f32", max_batch=MAX_BATCH)
    engine = TensorRTEngine(plan)
    yield engine
    engine.close()
    engine.close()


def test_a_step_gathers_runs_and_scatters_its_own_rows_only(engine):
    """Against a dictionary of rows in numpy, for random subsets in random order, with clearing."""
    random = np.random.default_rng(0)
    rows = engine.state_rows(capacity=12)
    counts, memories = np.zeros(12, np.float32), np.zeros((12, 8), np.float32)
    for _ in range(60):
        slots = random.permutation(12)[: random.integers(1, MAX_BATCH + 1)]
        crops = random.normal(size=(len(slots), 8)).astype(np.float32)
        answer = rows.step(slots, {"crops": crops})
        counts[slots] += 1
        memories[slots] += crops
        assert set(answer) == {"embedding"}
        np.testing.assert_allclose(
            answer["embedding"], memories[slots] * counts[slots, None], rtol=1e-6
        )
        if random.random() < 0.3:
            gone = random.permutation(12)[: random.integers(0, 4)]
            rows.clear(gone)
            counts[gone], memories[gone] = 0, 0
    assert rows.nbytes == 13 * (4 + 8 * 4 + 3 * 2)
    rows.close()
    rows.close()


def test_an_answer_is_the_callers_to_keep(engine):
    rows = engine.state_rows(capacity=2)
    crops = np.ones((1, 8), np.float32)
    first = rows.step(np.array([0]), {"crops": crops})["embedding"]
    rows.step(np.array([0]), {"crops": crops})
    assert first.tolist() == [[1.0] * 8]


@pytest.mark.parametrize(
    ("slots", "count", "complaint"),
    [
        ([0, 0], 2, "twice"),
        ([0, 5], 2, "0…4"),
        ([-1], 1, "0…4"),
        ([0, 1], 3, "2 slots were given with 3 crops"),
        ([], 0, "outside the 1…7"),
    ],
)
def test_slots_that_would_mix_people_up_are_refused_and_change_nothing(
    engine, slots, count, complaint
):
    rows = engine.state_rows(capacity=5)
    with pytest.raises(InputError, match=complaint):
        rows.step(np.array(slots, np.int64), {"crops": np.ones((count, 8), np.float32)})
    after = rows.step(np.arange(5), {"crops": np.zeros((5, 8), np.float32)})
    assert not after["embedding"].any()


def test_run_takes_any_batch_up_to_the_largest(engine):
    for batch in (1, 2, 5, MAX_BATCH, 3):
        crops = np.full((batch, 8), 2, np.float32)
        count = np.arange(batch, dtype=np.float32)[:, None]
        memory = np.ones((batch, 8), np.float32)
        half = np.zeros((batch, 3), np.float16)
        names = ("state.count", "state.memory", "state.half")
        state = dict(zip(names, (count, memory, half), strict=True))
        answer = engine.run({"crops": crops, **state})
        np.testing.assert_array_equal(answer["embedding"], 3 * (count + 1) * np.ones(8))
        assert answer["next.half"].dtype == np.float16
        assert (answer["next.half"] == 1).all()


def test_what_does_not_fit_is_refused(engine):
    good = {
        name: np.zeros((2, *spec.shape[1:]), spec.dtype) for name, spec in engine.inputs.items()
    }
    assert engine.max_batch == MAX_BATCH
    assert engine.outputs["next.memory"].shape == (-1, 8)
    with pytest.raises(InputError, match="float64"):
        engine.run({**good, "crops": np.zeros((2, 8))})
    with pytest.raises(InputError, match="takes crops"):
        engine.run({name: array for name, array in good.items() if name.startswith(STATE)})
    with pytest.raises(InputError, match="1…7"):
        engine.run({name: np.repeat(array, 4, axis=0) for name, array in good.items()})


def test_another_thread_is_turned_away_and_harms_nothing(engine):
    caught: list[BaseException] = []

    def intrude() -> None:
        for act in (lambda: engine.state_rows(3), engine.close):
            try:
                act()
            except WrongThread as error:
                caught.append(error)

    thread = threading.Thread(target=intrude, name="camera-3")
    thread.start()
    thread.join()
    assert len(caught) == 2
    assert "'camera-3'" in str(caught[0])
    assert engine.state_rows(2).step(np.array([1]), {"crops": np.ones((1, 8), np.float32)})


def test_the_builder_is_asked_for_what_was_wanted(tmp_path):
    seen: list[tuple[str, float]] = []
    cache = tmp_path / "new" / "timings"
    file = tmp_path / "graph.onnx"
    file.write_bytes(stream_graph())
    for graph in (file, stream_graph()):
        plan = build_plan(
            graph,
            precision="f32",
            max_batch=64,
            typical_batch=9,
            timing_cache=cache,
            workspace=1 << 20,
            progress=lambda phase, done: seen.append((phase, done)),
        )
    assert ("flags", 1 << host.NetworkDefinitionCreationFlag.STRONGLY_TYPED) in host.asked
    assert ("clear", host.BuilderFlag.TF32) in host.asked
    assert ("workspace", 1 << 20) in host.asked
    assert [value for key, value in host.asked if key == "timings"] == [b"", b"timings:+"]
    assert [file.name for file in cache.parent.iterdir()] == ["timings"]
    assert seen[:2] == [("Building", 0.5), ("Building", 1.0)]
    engine = TensorRTEngine(plan)
    assert engine.max_batch == 64
    assert engine.scratch_bytes == 1234
    assert host.Runtime(host.ILogger()).deserialize_cuda_engine(plan).shapes["crops"] == [
        [1, 8],
        [9, 8],
        [64, 8],
    ]
    engine.close()


def test_a_spoilt_timing_cache_is_replaced(tmp_path):
    cache = tmp_path / "timings"
    cache.write_bytes(b"not timings at all")
    build_plan(stream_graph(), precision="f16", max_batch=2, timing_cache=cache)
    assert cache.read_bytes() == b"timings:+"


def test_a_bad_graph_is_one_sentence():
    with pytest.raises(BuildError, match="cannot read the graph: ModelImporter: could not parse"):
        build_plan(b"no graph", precision="f32", max_batch=2)


def test_a_foreign_plan_is_a_mismatch_that_says_what_to_do():
    with pytest.raises(PackageMismatch, match=r"Host GPU .* not compatible; build it again"):
        TensorRTEngine(b"\0\1\2")


def test_a_fixed_batch_is_the_largest_batch():
    engine = TensorRTEngine(build_plan(stream_graph(3), precision="f32", max_batch=9))
    assert engine.max_batch == 3
    engine.close()


def origin(backend_version: str, device: str) -> Manifest:
    return Manifest(
        kind=Kind.GRL_STREAM,
        network="toy",
        backend="tensorrt",
        backend_version=backend_version,
        device=device,
        precision="f32",
        max_batch=4,
        input_size=(1, 8),
        inputs=(),
        outputs=(),
        source="",
        source_sha256="",
        licence="",
        command="",
        plan="model.plan",
    )


def test_a_plan_from_elsewhere_is_told_apart_before_it_is_opened(tmp_path):
    assert differences(origin(version(), "sm_87"), "cuda") == []
    version_differs, device_differs = differences(origin("10.16.1", "sm_90"), "cuda:0")
    assert "built with TensorRT 10.16.1, here is 0.0.host" in version_differs
    assert "built for sm_90, and Host GPU is sm_87" in device_differs
    plan = tmp_path / "model.plan"
    plan.write_bytes(build_plan(stream_graph(), precision="f32", max_batch=4))
    engine = open_plan(plan, origin(version(), "sm_87"), "cuda:0", None)
    assert engine.max_batch == 4
    engine.close()
    with pytest.raises(BackendError, match="GPU 1"):
        open_plan(plan, origin(version(), "sm_87"), "cuda:1", None)


def test_the_device_says_what_is_wrong():
    with pytest.raises(BackendError, match="GPU 3 was asked for, but this machine has 1"):
        Device(3)
    with Device() as device:
        with pytest.raises(BackendError, match="too little free memory"):
            device.allocate(1 << 40)
        assert device.elapsed(device.record(), device.record()) == pytest.approx(2.5e-3)
    with pytest.raises(BackendError, match="after its engine was closed"):
        device.synchronise()
