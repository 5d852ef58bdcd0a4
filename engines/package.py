"""An engine on disk: a folder with the compiled network and a manifest that says what it is and for whom.

The manifest is written last and the folder is moved into place whole, so a build that is killed at any moment
leaves nothing that opens.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from engines.engine import TensorSpec
from engines.errors import PackageError, PackageMismatch

FORMAT = 1
PRECISIONS = ("f32", "bf16", "f16", "int8")
FASTEST = "fastest"
"""Whichever of them a package and this machine have."""
MANIFEST = "manifest.json"
RANGES = "ranges.json"
"""How large values become: what a float plan lacks to be computed in eight bits."""
_CHUNK = 1 << 20


class Kind(StrEnum):
    """What a graph does."""

    GRL_STREAM = "grl-stream"
    GRL_CLIP = "grl-clip"
    DETECTOR = "detector"
    FRAME_EMBEDDER = "frame-embedder"


class Head(StrEnum):
    """How a detector says what it found."""

    ULTRALYTICS = "ultralytics"
    """(B, 4 + classes, N): centre, size and class scores in pixels; overlapping boxes remain."""
    END_TO_END = "end-to-end"
    """(B, N, 6): corners in pixels, score, class; done."""
    YOLOX = "yolox"
    """(B, N, 5 + classes): offsets in cells of strides 8, 16, 32; objectness and class scores."""


@dataclass(frozen=True, slots=True)
class Quantisation:
    """How a network was brought to eight bits, and what that cost it."""

    method: str
    data: str
    """What its ranges were measured on."""
    layers: int
    """That compute in eight bits."""
    kept: tuple[str, ...]
    """Layers that could, but were kept in floating point for accuracy."""
    measure: str
    """mAP or AP50 where there were labels, otherwise cosine or agreement with the network itself."""
    judged_on: str
    before: float
    after: float
    allowed: float
    """How much the measure may fall."""
    forced: bool
    """Written although it fell by more."""
    drift: Mapping[str, float] = field(default_factory=dict)
    """Of a stream: mean cosine with the network's own embedding, by number of steps."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that is known of a package without opening its plan."""

    kind: Kind
    network: str
    backend: str
    backend_version: str
    device: str
    """cpu, or the compute capability of a GPU, as in sm_90."""
    precision: str
    max_batch: int
    input_size: tuple[int, int]
    """Height and width of the pictures it takes: uint8 BGR, normalised inside the graph."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    source: str
    source_sha256: str
    licence: str
    command: str
    """What to type to build it again."""
    plan: str
    """The file to open."""
    head: Head | None = None
    sure: float | None = None
    """Of a detector: the score from which on a box may be of somebody new, where its makers say."""
    normalisation: str | None = None
    """What a foreign network wants of its pixels, where that was said."""
    compact: bool = False
    """Whether weights are kept in half precision."""
    parity: Mapping[str, float] = field(default_factory=dict)
    """Largest absolute difference per output from the network that it was made from."""
    macs: int | None = None
    """Multiply-accumulate operations for one picture."""
    quantisation: Quantisation | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of every file beside the manifest."""
    format: int = FORMAT

    @property
    def has_ranges(self) -> bool:
        """Whether it can compute in eight bits beside the precision of its plan."""
        return RANGES in self.files

    @property
    def key(self) -> str:
        """Equal for packages that need not be built again."""
        parts = [self.source_sha256, self.kind, self.backend, self.backend_version, self.device]
        parts += [self.precision, str(self.max_batch), str(list(self.input_size))]
        parts += [str(self.head), str(self.sure), str(self.normalisation), str(self.compact)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@contextmanager
def draft(path: Path) -> Iterator[Path]:
    """A folder to build in, beside where the package will be. `seal` turns it into the package."""
    if path.name in ("", ".."):
        raise PackageError(f"{path} is no name for a package")
    folder = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        folder.mkdir(parents=True)
        yield folder
    except OSError as error:
        raise PackageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def seal(folder: Path, manifest: Manifest, path: Path) -> Manifest:
    """Complete a draft and put it in its place, whole."""
    files = {file.name: sha256(file) for file in sorted(folder.iterdir())}
    complete = replace(manifest, files=files)
    with (folder / MANIFEST).open("w") as out:
        json.dump(asdict(complete) | {"key": complete.key}, out, indent=2)
        out.flush()
        os.fsync(out.fileno())
    if not path.exists():
        folder.rename(path)
        return complete
    if not (path / MANIFEST).exists():
        raise PackageError(f"{path} exists and is not an engine package: it is left as it is")
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.old")
    path.rename(aside)
    try:
        folder.rename(path)
    except BaseException:
        if not path.exists():
            aside.rename(path)
        raise
    shutil.rmtree(aside, ignore_errors=True)
    return complete


def reissue(
    package: Path, manifest: Manifest, path: Path, beside: Mapping[str, str] | None = None
) -> Manifest:
    """The same plan at `path`, under a manifest that says more, with these texts beside it."""
    with draft(path) as folder:
        for name in manifest.files:
            shutil.copy(package / name, folder / name)
        for name, text in (beside or {}).items():
            (folder / name).write_text(text)
        return seal(folder, manifest, path)


def read_manifest(path: Path) -> Manifest:
    """What a package says of itself, without a look at its other files."""
    file = path / MANIFEST
    try:
        raw = json.loads(file.read_text())
    except FileNotFoundError as error:
        raise PackageError(f"{path} is not an engine package: it has no {MANIFEST}") from error
    except NotADirectoryError as error:
        raise PackageError(f"{path} is a file, not an engine package") from error
    except (OSError, ValueError) as error:
        raise PackageError(f"{file} cannot be read ({error}): build the package again") from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        found = raw.get("format") if isinstance(raw, dict) else None
        command = raw.get("command") if isinstance(raw, dict) else None
        advice = f": build it again with `{command}`" if command else ": build it again"
        raise PackageMismatch(
            f"{path} is a package of format {found}, and this version reads {FORMAT}{advice}"
        )
    raw.pop("key", None)
    try:
        return Manifest(
            **raw
            | {
                "kind": Kind(raw["kind"]),
                "head": Head(raw["head"]) if raw["head"] else None,
                "input_size": tuple(raw["input_size"]),
                "inputs": tuple(_spec(s) for s in raw["inputs"]),
                "outputs": tuple(_spec(s) for s in raw["outputs"]),
                "quantisation": _quantisation(raw.get("quantisation")),
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        raise PackageError(
            f"{file} is not a manifest of ours ({error}): build the package again"
        ) from error


def check_files(path: Path, manifest: Manifest) -> None:
    """Every file is there, whole and unaltered, or `PackageError`."""
    for name, digest in manifest.files.items():
        file = path / name
        if not file.is_file():
            raise PackageError(f"{path} lacks {name}: build it again with `{manifest.command}`")
        if sha256(file) != digest:
            raise PackageError(
                f"{file} was cut short or altered since it was built: build it again with `{manifest.command}`"
            )


def sha256(path: Path) -> str:
    """Of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _spec(raw: Mapping[str, object]) -> TensorSpec:
    shape = raw["shape"]
    if not isinstance(shape, list):
        raise TypeError("a shape is not a list")
    return TensorSpec(str(raw["name"]), tuple(int(n) for n in shape), str(raw["dtype"]))


def _quantisation(raw: Mapping[str, Any] | None) -> Quantisation | None:
    return None if raw is None else Quantisation(**{**raw, "kept": tuple(raw["kept"])})


def older_than(installed: str, wanted: str) -> bool:
    """Whether one version of a library comes before another."""
    first, second = (
        tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
        for version in (installed, wanted)
    )
    return first < second
