"""TensorRT for a machine without a GPU: a plan is the ONNX graph, run by ONNX Runtime in cuda.c's
memory. Has only what our code uses; that the real one has that too is another test."""

import ctypes
import json
from enum import IntEnum
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

__version__ = "0.0.host"
TAG = 1 << 62
asked: list[object] = []
"""What the builder was told, for tests to look at."""


class ILogger:
    class Severity(IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2


class IProgressMonitor:
    pass


NetworkDefinitionCreationFlag = IntEnum("NetworkDefinitionCreationFlag", {"STRONGLY_TYPED": 1})
BuilderFlag = IntEnum("BuilderFlag", {"TF32": 7})
MemoryPoolType = IntEnum("MemoryPoolType", {"WORKSPACE": 0})
TensorIOMode = IntEnum("TensorIOMode", {"NONE": 0, "INPUT": 1, "OUTPUT": 2})
DataType = IntEnum("DataType", {"FLOAT": 1, "HALF": 10, "INT64": 7, "UINT8": 2})  # as in ONNX
NUMPY = {"FLOAT": np.float32, "HALF": np.float16, "INT64": np.int64, "UINT8": np.uint8}


class Tensor:
    def __init__(self, value: onnx.ValueInfoProto) -> None:
        kind = value.type.tensor_type
        self.name = value.name
        self.shape = [d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim]
        self.dtype = DataType(kind.elem_type)


class Network:
    graph: bytes

    @property
    def num_inputs(self) -> int:
        return len(onnx.load_from_string(self.graph).graph.input)

    def get_input(self, index: int) -> Tensor:
        return Tensor(onnx.load_from_string(self.graph).graph.input[index])


class OnnxParser:
    def __init__(self, network: Network, logger: ILogger) -> None:
        self.network = network
        self.complaint: str | None = None

    def parse(self, model: bytes) -> bool:
        try:
            onnx.load_from_string(model)
        except Exception:
            self.complaint = "ModelImporter: could not parse"
            return False
        graph = onnx.load_from_string(model).graph
        pictures = {i.name for i in graph.input if Tensor(i).dtype == DataType.UINT8}
        users = {node.op_type for node in graph.node if pictures & set(node.input)}
        if users - {"Cast"}:  # NVIDIA/TensorRT#3985: not even a transpose
            self.complaint = f"UINT8 inputs must feed a Cast, and feed {', '.join(users)}"
            return False
        self.network.graph = model
        return True

    def parse_from_file(self, model: str) -> bool:
        return self.parse(Path(model).read_bytes())

    @property
    def num_errors(self) -> int:
        return 1

    def get_error(self, index: int) -> "OnnxParser":
        return self

    def desc(self) -> str | None:
        return self.complaint


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, input: str, min: tuple, opt: tuple, max: tuple) -> None:
        self.shapes[input] = [list(min), list(opt), list(max)]


class TimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return b"timings:" + self.content[8:] + b"+"


class Config:
    def __init__(self) -> None:
        self.progress_monitor = None

    def clear_flag(self, flag: int) -> None:
        asked.append(("clear", flag))

    def set_memory_pool_limit(self, pool: int, pool_size: int) -> None:
        asked.append(("workspace", pool_size))

    def add_optimization_profile(self, profile: Profile) -> int:
        self.profile = profile
        return 0

    def create_timing_cache(self, serialized: bytes) -> TimingCache | None:
        return TimingCache(serialized) if serialized[:8] in (b"", b"timings:") else None

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        asked.append(("timings", cache.content))
        return True


class Builder:
    def __init__(self, logger: ILogger) -> None:
        self.logger = logger

    def create_network(self, flags: int = 0) -> Network:
        asked.append(("flags", flags))
        return Network()

    def create_builder_config(self) -> Config:
        return Config()

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Network, config: Config) -> bytes:
        monitor = config.progress_monitor
        if monitor:
            monitor.phase_start("Building", None, 2)
            monitor.phase_start("Tactics", "Building", 9)
            monitor.step_complete("Tactics", 0)
            monitor.step_complete("Building", 0)
            monitor.phase_finish("Tactics")
            monitor.phase_finish("Building")
        return json.dumps([config.profile.shapes, network.graph.hex()]).encode()


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        self.logger = logger

    def deserialize_cuda_engine(self, plan: bytes) -> "CudaEngine | None":
        try:
            shapes, graph = json.loads(plan)
        except ValueError:
            self.logger.log(ILogger.Severity.ERROR, "The engine plan file is not compatible")
            return None
        return CudaEngine(shapes, bytes.fromhex(graph))


class CudaEngine:
    device_memory_size_v2 = 1234

    def __init__(self, shapes: dict[str, list[list[int]]], graph: bytes) -> None:
        self.shapes = shapes
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # its other threads would spin beside torch's
        self.session = onnxruntime.InferenceSession(graph, options, ["CPUExecutionProvider"])
        model = onnx.load_from_string(graph).graph
        self.tensors = {value.name: Tensor(value) for value in (*model.input, *model.output)}
        self.input_names = [value.name for value in model.input]

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> int:
        return TensorIOMode.INPUT if name in self.input_names else TensorIOMode.OUTPUT

    def get_tensor_shape(self, name: str) -> list[int]:
        return self.tensors[name].shape

    def get_tensor_dtype(self, name: str) -> DataType:
        return self.tensors[name].dtype

    def get_tensor_profile_shape(self, name: str, index: int) -> list[list[int]]:
        return self.shapes[name]

    def create_execution_context(self) -> "Context":
        return Context(self)


class Context:
    def __init__(self, engine: CudaEngine) -> None:
        self.engine = engine
        self.addresses: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.addresses[name] = memory
        return bool(memory & TAG)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self.engine.shapes[name]
        self.shapes[name] = shape
        return all(a <= b <= c for a, b, c in zip(least, shape, most, strict=True))

    def get_tensor_shape(self, name: str) -> list[int]:
        nothing = {
            n: np.zeros(shape, NUMPY[self.engine.tensors[n].dtype.name])
            for n, shape in self.shapes.items()
        }
        return list(self.engine.session.run([name], nothing)[0].shape)

    def execute_async_v3(self, stream_handle: int) -> bool:
        given = {name: self.view(name, shape) for name, shape in self.shapes.items()}
        names = [name for name in self.engine.tensors if name not in given]
        for name, answer in zip(names, self.engine.session.run(names, given), strict=True):
            self.view(name, answer.shape)[...] = answer
        return True

    def view(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        kind = np.dtype(NUMPY[self.engine.tensors[name].dtype.name])
        size = int(np.prod(shape)) * kind.itemsize
        memory = (ctypes.c_uint8 * size).from_address(self.addresses[name] & ~TAG)
        return np.frombuffer(memory, kind).reshape(shape)
