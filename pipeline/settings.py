"""What an operator writes down about a site: one TOML file, every field with a default.

[[camera]]
name = "entrance"
address = "rtsp://10.0.0.7/stream"

[detector]
package = "engines-here/people"

[embedder]
package = "engines-here/grl"
"""

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import TypeAlias, TypeVar, get_type_hints

from pipeline.errors import SettingsError
from pipeline.identify import IdentifySettings, Site
from pipeline.identify import Mapping as Similarity
from pipeline.tracklets import TrackletSettings
from pipeline.zones import Polygon, is_polygons

MODELS = Path(__file__).parent.parent / "models"


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """One camera."""

    address: str
    name: str | None = None
    max_rate: float | None = None
    """Frames per second that are looked at, at most."""
    ignore: tuple[Polygon, ...] = ()
    """Zones in which nobody is looked for: lists of corners [x, y] in shares of width and height, from 0 to 1.
    Who stands in one, judged by the middle of the box's lower edge, does not count."""


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


Pairs: TypeAlias = tuple[tuple[str, str], ...]
_GUESS = Similarity()


@dataclass(frozen=True, slots=True)
class MatchSettings:
    """What is known of this site's looks and cameras. Calibration finds out; until then these are guesses."""

    even: float = _GUESS.even
    """The cosine of two embeddings that speaks neither for nor against one person."""
    slope: float = _GUESS.slope
    """Evidence, in nats, per unit of cosine."""
    overlapping: Pairs = ()
    """Pairs of cameras that see common ground."""
    apart: Pairs = ()
    """Pairs of cameras that see none: nobody is in both at once."""
    retention_hours: float = 24.0
    """After this everything about a tracklet is forgotten."""

    def identify(self) -> IdentifySettings:
        """As the identities want it."""
        return IdentifySettings(
            mapping=Similarity(even=self.even, slope=self.slope),
            site=Site(overlapping=frozenset(self.overlapping), apart=frozenset(self.apart)),
            retention=3600 * self.retention_hours,
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """A site."""

    camera: tuple[CameraSettings, ...] = ()
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    embedder: EmbedderSettings = field(default_factory=EmbedderSettings)
    tracklets: TrackletSettings = field(default_factory=TrackletSettings)
    match: MatchSettings = field(default_factory=MatchSettings)


Section = TypeVar(
    "Section",
    DetectorSettings,
    EmbedderSettings,
    TrackletSettings,
    MatchSettings,
    CameraSettings,
)


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
        match=_section(MatchSettings, raw.get("match", {}), f"{path}, [match]"),
    )


def _section(kind: type[Section], raw: object, where: str) -> Section:
    if not isinstance(raw, Mapping):
        raise SettingsError(f"{where} must be a section, not {raw!r}")
    wanted = get_type_hints(kind)
    _refuse_unknown(raw, set(wanted), where)
    missing = [
        item.name for item in fields(kind) if item.default is MISSING and item.name not in raw
    ]
    if missing:
        raise SettingsError(f"{where} lacks '{missing[0]}'")
    return kind(
        **{name: _typed(value, wanted[name], f"{where} {name}") for name, value in raw.items()}  # type: ignore[arg-type]
    )


def _typed(value: object, kind: object, where: str) -> object:
    """The value as the field wants it: whole numbers may stand for broken ones, and lists for tuples."""
    value = _frozen(value)
    if kind in (float, float | None) and _is_whole(value):
        value = float(value)  # type: ignore[arg-type]
    wanted, fits = _ACCEPTED[kind]
    if not fits(value):
        raise SettingsError(f"{where} must be {wanted}, not {value!r}")
    return value


def _frozen(value: object) -> object:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _is_whole(value: object, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value) and value >= 0


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_text, value))


_ACCEPTED: dict[object, tuple[str, Callable[[object], bool]]] = {
    str: ("a text", _is_text),
    str | None: ("a text", _is_text),
    int: ("a whole number from 1 on", lambda value: _is_whole(value, 1)),
    float: ("a number from 0 on", _is_number),
    float | None: ("a number above 0", lambda value: _is_number(value) and value != 0),
    tuple[int, ...]: (
        "a list of whole numbers",
        lambda value: isinstance(value, tuple) and bool(value) and all(map(_is_whole, value)),
    ),
    tuple[Polygon, ...]: (
        "a list of polygons, each of at least three corners [x, y] between 0 and 1",
        is_polygons,
    ),
    Pairs: (
        "a list of pairs of cameras",
        lambda value: isinstance(value, tuple) and all(map(_is_pair, value)),
    ),
}
"""What may be written for a field, by its type."""


def _refuse_unknown(raw: Mapping[str, object], known: set[str], where: str) -> None:
    unknown = sorted(set(raw) - known)
    if unknown:
        raise SettingsError(f"{where} has no '{unknown[0]}'; there are {', '.join(sorted(known))}")
