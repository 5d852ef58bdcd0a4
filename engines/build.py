"""Make packages: from GRL weights, from Ultralytics detectors, from foreign ONNX graphs and OpenVINO IR."""

import importlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from engines import openvino
from engines.adopt import NORMALISATIONS, Adopted, adopt, openvino_model
from engines.engine import Engine
from engines.errors import ExportError, PackageError
from engines.opening import is_foreign, load_backend, open_engine
from engines.package import (
    Head,
    Kind,
    Manifest,
    Quantisation,
    draft,
    read_manifest,
    seal,
    sha256,
)
from engines.parity import RawGraph, compare

GRL_SUFFIX = ".safetensors"
LIKENESS = ".likeness.json"
"""How the file ends that says what a likeness is worth: it lies beside weights and packages alike."""
ULTRALYTICS_SUFFIXES = (".pt", ".yaml")
OURS = "AGPL-3.0-or-later"
STRIDE = 32
"""Of a detector's coarsest level."""
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Request:
    """What to build."""

    source: Path
    output: Path
    kind: Kind | None = None
    """Told from the source where it is None; GRL weights become stream engines."""
    backend: str = "openvino"
    precision: str = "f32"
    max_batch: int = 64
    size: tuple[int, int] | None = None
    """Height and width of an Ultralytics detector's pictures."""
    end_to_end: bool = False
    compact: bool = False
    """Weights of an OpenVINO package are kept in half precision: half the size, computed as before."""
    normalisation: str | None = None
    """What a foreign network wants of its pixels: one of `NORMALISATIONS`; None: as its kind usually does."""
    licence: str | None = None
    sure: float | None = None
    """What the manifest is to say of a detector's scores."""

    @property
    def command(self) -> str:
        """What to type to ask for the same again."""
        words = ["python -m engines build", str(self.source), f"-o {self.output}"]
        words += [f"--kind {self.kind}"] if self.kind else []
        words += [
            f"--backend {self.backend} --precision {self.precision} --max-batch {self.max_batch}"
        ]
        words += [f"--size {self.size[0]}x{self.size[1]}"] if self.size else []
        words += ["--end-to-end"] if self.end_to_end else []
        words += [f"--normalisation {self.normalisation}"] if self.normalisation else []
        words += ["--compact"] if self.compact else []
        words += [f"--licence {self.licence}"] if self.licence else []
        words += [f"--sure {self.sure:g}"] if self.sure is not None else []
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class Graph:
    """A network on its way into a package."""

    path: Path | None
    """The ONNX graph; None where the backend reads the source itself."""
    kind: Kind
    network: str
    size: tuple[int, int]
    head: Head | None
    macs: int | None
    any_batch: bool


def build(
    request: Request, report: Report = lambda text: None, *, force: bool = False
) -> tuple[Manifest, bool]:
    """Build a package at `request.output`. Answers its manifest, and whether it had to be built at all.

    A package there with the same key is left as it is unless `force`. `report` is told what is being done.
    """
    _check(request)
    with tempfile.TemporaryDirectory() as scratch:
        report(f"reading {request.source.name}")
        graph = float_graph(request, Path(scratch))
        if request.precision == "f16" and graph.path and not _is_grl(request.source):
            importlib.import_module("engines.graphs").halve(graph.path)
        manifest = _manifest(request, graph)
        if not force and _is_there(request.output, manifest):
            carry_likeness(request)
            return read_manifest(request.output), False
        return package(request, graph, report), True


def package(
    request: Request,
    graph: Graph,
    report: Report = lambda text: None,
    *,
    quantisation: Quantisation | None = None,
    command: str | None = None,
) -> Manifest:
    """Compile `graph`, made from what `request` asks for, into a package at `request.output`."""
    backend = load_backend(request.backend)
    manifest = replace(_manifest(request, graph), quantisation=quantisation)
    manifest = replace(manifest, command=command or manifest.command)
    before = source_of(request.output)
    with draft(request.output) as folder:
        report(f"compiling for {request.backend} in {request.precision}")
        plan = _compile(request, graph, folder)
        manifest = replace(manifest, plan=plan.name)
        engine = backend.open_plan(
            plan, manifest, "cpu" if manifest.device == "cpu" else "cuda", None
        )
        report("comparing it with the network that it was made from")
        parity = _parity(request, graph, engine)
        manifest = replace(
            manifest,
            inputs=tuple(engine.inputs.values()),
            outputs=tuple(engine.outputs.values()),
            max_batch=engine.max_batch,
            parity=parity,
        )
        engine.close()
        sealed = seal(folder, manifest, request.output)
    carry_likeness(request, stale=before not in ("", sealed.source_sha256))
    return sealed


def source_of(path: Path) -> str:
    """Which weights the package that is there was made from; none: no such thing."""
    try:
        return read_manifest(path).source_sha256
    except PackageError:
        return ""


def carry_likeness(request: Request, *, stale: bool = False) -> None:
    """What a likeness of these weights says, if that is written down beside them, to beside the package.

    `stale`: what is there was said of other weights, and goes.
    """
    told = request.source.with_suffix(LIKENESS)
    target = request.output.with_name(request.output.name + LIKENESS)
    if stale and told.resolve() != target.resolve():
        target.unlink(missing_ok=True)
    if (
        request.kind in (None, Kind.GRL_STREAM)
        and told.is_file()
        and told.resolve() != target.resolve()
    ):
        shutil.copyfile(told, target)


def _manifest(request: Request, graph: Graph) -> Manifest:
    return Manifest(
        kind=graph.kind,
        network=graph.network,
        backend=request.backend,
        backend_version=load_backend(request.backend).version(),
        device=_device(request.backend),
        precision=request.precision,
        max_batch=request.max_batch if graph.any_batch else 1,
        input_size=graph.size,
        inputs=(),
        outputs=(),
        source=request.source.name,
        source_sha256=sha256(request.source) if request.source.is_file() else "",
        licence=request.licence or (OURS if _is_grl(request.source) else "as its makers say"),
        command=request.command,
        plan="",
        head=graph.head,
        sure=request.sure,
        normalisation=request.normalisation,
        compact=request.compact,
        macs=graph.macs,
    )


def reference(
    source: Path,
    kind: Kind,
    *,
    size: tuple[int, int] = (640, 640),
    head: Head | None = None,
    normalisation: str | None = None,
) -> Engine:
    """The network as it was before any backend touched it, in float32 on the CPU.

    `size` and `head` say which form of an Ultralytics detector is meant.
    """
    judge: Engine
    detects = source.suffix in ULTRALYTICS_SUFFIXES
    if (_is_grl(source) and kind is Kind.DETECTOR) or (detects and kind is not Kind.DETECTOR):
        raise PackageError(
            f"{source} is no {kind}, as the package is: it was made from other weights"
        )
    if _is_grl(source):
        judge = importlib.import_module("engines.torch").TorchEngine(source, kind)
    elif detects:
        detectors = importlib.import_module("engines.detectors")
        judge = detectors.TorchDetector(source, size, end_to_end=head is Head.END_TO_END)
    else:
        judge = RawGraph(_adopted(source, normalisation))
    return judge


def float_graph(request: Request, scratch: Path) -> Graph:
    """The network that `request` names, as the ONNX graph that its backend takes, if it takes one."""
    source, path = request.source, scratch / "graph.onnx"
    if not source.exists() and source.suffix != ".yaml":
        raise PackageError(f"there is nothing at {source} to build from")
    if _is_grl(source):
        return _grl_graph(request, path)
    if source.suffix in ULTRALYTICS_SUFFIXES:
        size = request.size or (640, 640)
        if any(n < STRIDE or n % STRIDE for n in size):
            fitting = "x".join(str(max(-(-n // STRIDE), 1) * STRIDE) for n in size)
            raise PackageError(
                f"a detector's pictures are multiples of {STRIDE} high and wide, not "
                f"{size[0]}x{size[1]}: choose --size {fitting}"
            )
        detectors = importlib.import_module("engines.detectors")
        detectors.export_detector(source, path, size, end_to_end=request.end_to_end)
        head = Head.END_TO_END if request.end_to_end else Head.ULTRALYTICS
        counted = openvino.macs(openvino.read(path))
        return Graph(path, Kind.DETECTOR, source.stem, size, head, counted, any_batch=True)
    if is_foreign(source):
        adopted = _adopted(source, request.normalisation)
        if request.backend == "openvino":
            path_or_none = None
        elif source.suffix == ".onnx":
            path.write_bytes(importlib.import_module("engines.graphs").adopted_onnx(adopted))
            path_or_none = path
        else:
            raise ExportError(
                f"{source} is OpenVINO's own format: build it with --backend openvino"
            )
        return Graph(
            path_or_none,
            adopted.kind,
            source.stem,
            adopted.size,
            adopted.head,
            openvino.macs(openvino_model(adopted)),
            adopted.any_batch,
        )
    raise PackageError(
        f"{source} is none of what can be built: GRL weights ({GRL_SUFFIX}), Ultralytics .pt or .yaml, .onnx, .xml"
    )


def _grl_graph(request: Request, path: Path) -> Graph:
    kind = request.kind or Kind.GRL_STREAM
    export = importlib.import_module("engines.export")
    registry = importlib.import_module("trainer.model.registry")
    model = registry.load_model(request.source)
    half = request.precision == "f16"
    if request.backend == "torch":
        exported = None
    elif kind is Kind.GRL_STREAM:
        export.export_stream(model, exported := path, half=half)
    elif kind is Kind.GRL_CLIP:
        export.export_clip(model, exported := path, half=half)
    elif kind is Kind.FRAME_EMBEDDER:
        export.export_backbone(model, exported := path, half=half)
    else:
        raise ExportError(f"GRL weights cannot become a {kind}")
    network = registry.network_name(request.source)
    macs = export.macs(model, kind)
    return Graph(exported, kind, network, model.size, None, macs, any_batch=True)


def _compile(request: Request, graph: Graph, folder: Path) -> Path:
    """The plan, written into the draft of the package."""
    if request.backend == "openvino":
        ov = importlib.import_module("openvino")
        model = (
            openvino_model(_adopted(request.source, request.normalisation))
            if graph.path is None
            else graph.path
        )
        if isinstance(model, Path):
            model = openvino.read(model)
        try:
            ov.save_model(model, folder / "model.xml", compress_to_fp16=request.compact)
        except RuntimeError as error:  # of a full disk it says no more
            reason = str(error).strip().splitlines()[-1]
            raise PackageError(f"cannot write {request.output}: {reason}") from error
        return folder / "model.xml"
    if request.backend == "torch":
        shutil.copy(request.source, folder / "weights.safetensors")
        return folder / "weights.safetensors"
    assert graph.path is not None
    if request.backend == "onnxruntime":
        shutil.copy(graph.path, folder / "model.onnx")
        return folder / "model.onnx"
    builder = importlib.import_module("engines.tensorrt_build")
    plan: bytes = builder.build_plan(
        graph.path,
        precision=request.precision,
        max_batch=request.max_batch,
        timing_cache=request.output.parent / "tensorrt-timings.cache",
    )
    (folder / "model.plan").write_bytes(plan)
    return folder / "model.plan"


def _parity(request: Request, graph: Graph, engine: Engine) -> dict[str, float]:
    judge = reference(
        request.source,
        graph.kind,
        size=graph.size,
        head=graph.head,
        normalisation=request.normalisation,
    )
    return compare(engine, judge, batches=(min(2, engine.max_batch),)).largest


def _adopted(source: Path, normalisation: str | None) -> Adopted:
    return adopt(source, NORMALISATIONS[normalisation] if normalisation else None)


def _check(request: Request) -> None:
    """That the package will be what its manifest says, and that every option says something of it."""
    backend, precision = request.backend, request.precision
    is_detector = request.source.suffix in ULTRALYTICS_SUFFIXES
    for option, given, fits in (
        ("--size", request.size, is_detector),
        ("--end-to-end", request.end_to_end, is_detector),
        ("--sure", request.sure is not None, not _is_grl(request.source)),
        ("--normalisation", request.normalisation, is_foreign(request.source)),
        (
            "--kind",
            request.kind,
            is_detector if request.kind is Kind.DETECTOR else _is_grl(request.source),
        ),
    ):
        if given and not fits:
            raise PackageError(f"{option} is not for {request.source}")
    if precision == "int8":
        raise PackageError(
            "int8 needs ranges measured on pictures: `python -m calibration int8` builds such packages"
        )
    if backend != "openvino" and precision == "bf16":
        raise PackageError(f"bf16 is for OpenVINO: for {backend} choose f32 or f16")
    if backend == "openvino" and not importlib.import_module("engines.openvino").offers(precision):
        raise PackageError(f"this CPU does not compute in {precision}: choose f32")


def _is_there(output: Path, manifest: Manifest) -> bool:
    try:
        found = read_manifest(output)
        open_engine(output).close()
    except PackageError:
        return False
    return found.key == manifest.key


def _is_grl(source: Path) -> bool:
    return source.suffix == GRL_SUFFIX


def _device(backend: str) -> str:
    """What a package built here is tied to: a GPU's plans run on no other sort of GPU."""
    if backend != "tensorrt":
        return "cpu"
    with importlib.import_module("engines.cuda").Device(0) as device:
        major, minor = device.capability
        return f"sm_{major}{minor}"
