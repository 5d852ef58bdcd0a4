"""Download official detector weights. Happens only when somebody asks for it by name."""

import hashlib
import shutil
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from types import MappingProxyType
from urllib.error import URLError

from engines.errors import FetchError

_TIMEOUT_S = 20.0
_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class Weights:
    """A file that its makers publish."""

    url: str
    sha256: str
    licence: str

    @property
    def file_name(self) -> str:
        return self.url.rpartition("/")[2]


def _ultralytics(release: str, name: str, sha256: str) -> Weights:
    base = "https://github.com/ultralytics/assets/releases/download"
    return Weights(f"{base}/{release}/{name}.pt", sha256, "AGPL-3.0")


CATALOGUE: Mapping[str, Weights] = MappingProxyType(
    {
        "yolo11n": _ultralytics(
            "v8.3.0", "yolo11n", "0ebbc80d4a7680d14987a577cd21342b65ecfd94632bd9a8da63ae6417644ee1"
        ),
        "yolo11s": _ultralytics(
            "v8.3.0", "yolo11s", "85a76fe86dd8afe384648546b56a7a78580c7cb7b404fc595f97969322d502d5"
        ),
        "yolo11m": _ultralytics(
            "v8.3.0", "yolo11m", "d5ffc1a674953a08e11a8d21e022781b1b23a19b730afc309290bd9fb5305b95"
        ),
        "yolo26n": _ultralytics(
            "v8.4.0", "yolo26n", "9b09cc8bf347f0fc8a5f7657480587f25db09b34bf33b0652110fb03a8ad4fef"
        ),
        "yolo26s": _ultralytics(
            "v8.4.0", "yolo26s", "646f8bc3fe0a656803d95c294f7852321748cb29d13466a1af8862e2db384a1b"
        ),
        "yolo26m": _ultralytics(
            "v8.4.0", "yolo26m", "401cea9ab23ad19246ff7744859816bc599f350e93c9dd30367b6f0a0745d0b7"
        ),
        "yolox-nano": Weights(
            "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0/yolox_nano.onnx",
            "d39bee73564e338080378b0ad567fbb40e818b55bbfaf971de82a0267ed16b8a",
            "Apache-2.0",
        ),
    }
)


def fetch(
    name: str,
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    catalogue: Mapping[str, Weights] = CATALOGUE,
) -> Path:
    """Download `name` into `folder` and check it. `progress` is told bytes done and bytes in all (0: unknown).

    What is there already and has the right checksum is not fetched again.
    """
    if name not in catalogue:
        raise FetchError(f"no weights are called '{name}'; there are {', '.join(catalogue)}")
    weights = catalogue[name]
    target = folder / weights.file_name
    if target.is_file() and _digest(target) == weights.sha256:
        return target
    draft = target.with_name(target.name + ".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _download(weights.url, draft, progress)
        found = _digest(draft)
        if found != weights.sha256:
            raise FetchError(
                f"what {weights.url} sent is not what its makers published: "
                f"SHA-256 {found}, and should be {weights.sha256}; nothing was kept"
            )
        draft.replace(target)
    except (URLError, HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise FetchError(
            f"cannot reach {weights.url} ({reason}): without a network, put the file at {target} by hand"
        ) from error
    except OSError as error:
        raise FetchError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            draft.unlink()
    return target


def _download(url: str, path: Path, progress: Callable[[int, int], None]) -> None:
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer, path.open("wb") as out:
        total, done = int(answer.headers.get("Content-Length") or 0), 0
        free = shutil.disk_usage(path.parent).free
        if total > free:
            raise FetchError(
                f"{url} has {total:,} bytes, and only {free:,} are free in {path.parent}"
            )
        while chunk := answer.read(_CHUNK):
            out.write(chunk)
            done += len(chunk)
            progress(done, total)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
