"""What an operator writes down about a site: one TOML file, every field with a default.

[[camera]]
name = "entrance"
address = "rtsp://10.0.0.7/stream"

[detector]
package = "engines-here/people"

[embedder]
package = "engines-here/grl"
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TypeVar

from pipeline.errors import SettingsError
from pipeline.tracklets import TrackletSettings

MODELS = Path(__file__).parent.parent / "models"


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """One camera."""

    address: str
    name: str | None = None
    max_rate: float | None = None
    """Frames per second that are looked at, at most."""


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """What finds people."""

    package: str = str(MODELS / "person-detector")
    """Engine package, or a foreign ONNX graph."""
    score: float = 0.1
    """Less sure boxes are dropped. Low: the tracker makes use of doubtful ones."""
    classes: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class EmbedderSettings:
    """What tells people apart."""

    package: str = str(MODELS / "grl-edge")
    """Engine package, or a foreign ONNX graph or OpenVINO IR that embeds single crops."""
    slots: int = 256
    """Tracklets that can be followed at once, over all cameras."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A site."""

    camera: tuple[CameraSettings, ...] = ()
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    embedder: EmbedderSettings = field(default_factory=EmbedderSettings)
    tracklets: TrackletSettings = field(default_factory=TrackletSettings)


Section = TypeVar("Section", DetectorSettings, EmbedderSettings, TrackletSettings, CameraSettings)


def load_settings(path: Path) -> Settings:
    """Read a site's file, or say in one sentence what is wrong with it."""
    try:
        raw = tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error
    known = {item.name for item in fields(Settings)}
    _refuse_unknown(raw, known, str(path))
    cameras = raw.get("camera", [])
    if not isinstance(cameras, list):
        raise SettingsError(f"{path}: cameras are written as [[camera]], one a section")
    return Settings(
        camera=tuple(_section(CameraSettings, camera, f"{path}, [[camera]]") for camera in cameras),
        detector=_section(DetectorSettings, raw.get("detector", {}), f"{path}, [detector]"),
        embedder=_section(EmbedderSettings, raw.get("embedder", {}), f"{path}, [embedder]"),
        tracklets=_section(TrackletSettings, raw.get("tracklets", {}), f"{path}, [tracklets]"),
    )


def _section(kind: type[Section], raw: object, where: str) -> Section:
    if not isinstance(raw, Mapping):
        raise SettingsError(f"{where} must be a section, not {raw!r}")
    wanted = {item.name: item for item in fields(kind)}
    _refuse_unknown(raw, set(wanted), where)
    values: dict[str, object] = {}
    for name, value in raw.items():
        values[name] = _typed(value, str(wanted[name].type), f"{where} {name}")
    try:
        return kind(**values)  # type: ignore[arg-type]
    except TypeError as error:
        raise SettingsError(f"{where}: {str(error).partition(') ')[2]}") from error


def _typed(value: object, wanted: str, where: str) -> object:
    """The value as the field wants it: whole numbers may stand for broken ones, and lists for tuples."""
    if isinstance(value, list):
        value = tuple(value)
    if isinstance(value, int) and not isinstance(value, bool) and "float" in wanted:
        value = float(value)
    accepted = {"str": str, "float": float, "int": int, "tuple": tuple}
    fits = any(name in wanted and isinstance(value, kind) for name, kind in accepted.items())
    if not fits or isinstance(value, bool):
        raise SettingsError(f"{where} must be {wanted}, not {value!r}")
    return value


def _refuse_unknown(raw: Mapping[str, object], known: set[str], where: str) -> None:
    unknown = sorted(set(raw) - known)
    if unknown:
        raise SettingsError(f"{where} has no '{unknown[0]}'; there are {', '.join(sorted(known))}")
