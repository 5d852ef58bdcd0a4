"""What an operator writes down about a site: one TOML file, every field with a default.

[[camera]]
name = "entrance"
address = "rtsp://10.0.0.7/stream"

[detector]
package = "engines-here/people"

[embedder]
package = "engines-here/grl"
"""

import itertools
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from engines.package import FASTEST, PRECISIONS
from pipeline.errors import SettingsError
from pipeline.folder import FileSettings
from pipeline.ground import METRES, FloorMap, GroundSettings, OverlapSettings
from pipeline.identify import FloorSettings, Ground, IdentifySettings, Site, Travel
from pipeline.identify import Mapping as Similarity
from pipeline.sections import Evidence, Outline, Pairs, refuse_unknown, section, sections
from pipeline.tracklets import TrackletSettings
from pipeline.zones import Polygon

MODELS = Path(__file__).parent.parent / "models"
_LONGEST_NAME = 200
"""Bytes of a camera's name: file systems take 255, and some is added."""


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
    sure: float | None = None
    """Boxes of this score may be of somebody new: unless told, what the package says, or 0.5."""
    precision: str = FASTEST
    """What it computes in: int8, bf16, f16, f32, or the fastest that the package and this processor have."""

    def __post_init__(self) -> None:
        if self.precision not in (FASTEST, *PRECISIONS):
            known = ", ".join((FASTEST, *PRECISIONS))
            raise SettingsError(f"detector.precision is one of {known}, not '{self.precision}'")
        for name, value in (("score", self.score), ("sure", self.sure)):
            if value is not None and not 0 <= value <= 1:
                raise SettingsError(f"detector.{name} is a score from 0 to 1, not {value}")


MOST_SLOTS = 65536
"""Of an embedder: memory for all of them is taken at the start."""


@dataclass(frozen=True, slots=True)
class EmbedderSettings:
    """What tells people apart."""

    package: str = str(MODELS / "grl-edge")
    """Engine package, or a foreign ONNX graph or OpenVINO IR that embeds single crops."""
    slots: int = 256
    """Tracklets that can be followed at once, over all cameras."""

    def __post_init__(self) -> None:
        if not 1 <= self.slots <= MOST_SLOTS:
            raise SettingsError(f"embedder.slots is from 1 to {MOST_SLOTS}, not {self.slots}")


_GUESS = Similarity()


@dataclass(frozen=True, slots=True)
class MatchSettings:
    """What is known of this site's looks and cameras. Calibration finds out; until then these are guesses."""

    even: float = _GUESS.even
    """The cosine of two embeddings that speaks neither for nor against one person."""
    slope: float = _GUESS.slope
    """Evidence, in nats, per unit of cosine."""
    noise: float = _GUESS.noise
    """What one frame alone adds to the variance, over what no number of frames removes."""
    young: float = _GUESS.young
    """How much less alike one frame alone is to its own person."""
    curve: Outline = ()
    """Points (cosine, nats) of a polygon, instead of `even` and `slope`."""
    known: float | None = None
    """Chance that a tracklet is of somebody known, before anything is known of it: less makes fewer wrong links. By
    default what the embedder's makers measured beside its `even` and `slope`, or 0.5."""
    overlapping: Pairs = ()
    """Pairs of cameras that see common ground."""
    apart: Pairs = ()
    """Pairs of cameras that see none: nobody is in both at once."""
    retention_hours: float = 24.0
    """After this everything about a tracklet is forgotten."""

    def __post_init__(self) -> None:
        if not self.retention_hours > 0:
            raise SettingsError(f"match.retention_hours is above 0, not {self.retention_hours:g}")

    def identify(self, travel: Sequence["TravelSettings"] = ()) -> IdentifySettings:
        """As the identities want it."""
        return IdentifySettings(
            mapping=Similarity(
                even=self.even,
                slope=self.slope,
                noise=self.noise,
                young=self.young,
                curve=self.curve,
            ),
            site=Site(
                overlapping=frozenset(self.overlapping),
                apart=frozenset(self.apart),
                travel={(t.origin, t.target): Travel(t.median, t.spread) for t in travel},
            ),
            known=IdentifySettings().known if self.known is None else self.known,
            retention=3600 * self.retention_hours,
        )


@dataclass(frozen=True, slots=True)
class TravelSettings:
    """How long people take from leaving one camera's view until entering another's. One [[travel]] a way."""

    origin: str
    target: str
    median: float
    """Seconds."""
    spread: float
    """Standard deviation of the logarithm."""

    def __post_init__(self) -> None:
        if not (0 < self.median < math.inf and 0 < self.spread < math.inf):
            raise SettingsError(
                f"travel from {self.origin} to {self.target}: median and spread are above 0, "
                f"not {self.median:g} and {self.spread:g}"
            )


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where calibrated numbers come from: [calibration.<command>]. For people to read; nothing depends on it."""

    command: str
    date: str
    version: str
    source: str
    amount: str
    """How much data it was."""
    evidence: Evidence = field(default_factory=dict)
    """Figures that say how good the result is."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A site."""

    camera: tuple[CameraSettings, ...] = ()
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    embedder: EmbedderSettings = field(default_factory=EmbedderSettings)
    tracklets: TrackletSettings = field(default_factory=TrackletSettings)
    match: MatchSettings = field(default_factory=MatchSettings)
    files: FileSettings = field(default_factory=FileSettings)
    travel: tuple[TravelSettings, ...] = ()
    ground: tuple[GroundSettings, ...] = ()
    overlap: tuple[OverlapSettings, ...] = ()
    calibration: Mapping[str, Provenance] = field(default_factory=dict)
    """By command."""

    def identify(self) -> IdentifySettings:
        """As the identities want it."""
        known = self._informed().identify(self.travel)
        if not self.ground:
            return known
        grounds = {
            ground.camera: Ground(
                ground.frame, ground.error, _area(ground.view), ground.frame == METRES
            )
            for ground in self.ground
        }
        return replace(
            known,
            site=self._sight(known.site),
            floor=FloorSettings(grounds=grounds),
        )

    def _informed(self) -> MatchSettings:
        """What is known of looks; where the site says nothing, what its makers measured of the embedder."""
        match, guess = self.match, MatchSettings()
        said = (match.even, match.slope, match.curve) != (guess.even, guess.slope, guess.curve)
        told = Path(f"{self.embedder.package}.likeness.json")
        if said or not told.is_file():
            return match
        try:
            likeness = json.loads(told.read_text())
            known = match.known
            if known is None and "known" in likeness:
                known = float(likeness["known"])
            even, slope = float(likeness["even"]), float(likeness["slope"])
            young = match.young
            if young == guess.young:
                young = float(likeness.get("young", young))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SettingsError(f"{told} does not say what a likeness is worth: {error}") from error
        if not 0 < slope < math.inf:
            raise SettingsError(f"{told} is no likeness: its slope is above 0, not {slope:g}")
        return replace(match, even=even, slope=slope, young=young, known=known)

    def names(self, defaults: Sequence[str]) -> list[str]:
        """Of the cameras, in their order: those that have none get the default. Files are named after them."""
        pairs = zip(self.camera, defaults, strict=True)
        names = [camera.name or default for camera, default in pairs]
        twice = _twice(names)
        if twice:
            raise SettingsError(f"two cameras are called '{twice[0]}'")
        for name in names:
            if name != Path(name).name or not name.isprintable():
                raise SettingsError(f"a camera cannot be called '{name}': files are named after it")
            if len(name.encode()) > _LONGEST_NAME:
                raise SettingsError(
                    f"a camera cannot be called '{name[:40]}…': files are named after it, and "
                    f"{_LONGEST_NAME} bytes is as long as that may be"
                )
        return names

    def mentioned(self) -> set[str]:
        """Cameras that anything is said about."""
        pairs = [*self.match.overlapping, *self.match.apart]
        pairs += [overlap.cameras for overlap in self.overlap]
        pairs += [(travel.origin, travel.target) for travel in self.travel]
        return {*itertools.chain(*pairs), *(ground.camera for ground in self.ground)}

    def floors(self) -> dict[str, FloorMap]:
        """Of the cameras that know their floor."""
        return {ground.camera: FloorMap(ground) for ground in self.ground}

    def _sight(self, site: Site) -> Site:
        """Who sees common floor and who none, where the operator did not say it: geometry tells.

        Without both views, nothing tells that there is none.
        """
        said = {frozenset(pair) for pair in site.overlapping | site.apart}
        shared = {frozenset(overlap.cameras) for overlap in self.overlap}
        together: set[tuple[str, str]] = set()
        apart: set[tuple[str, str]] = set()
        for a, b in itertools.combinations(self.ground, 2):
            pair = a.camera, b.camera
            if a.frame != b.frame or frozenset(pair) in said:
                continue
            if frozenset(pair) in shared:
                together.add(pair)
            elif min(len(a.view), len(b.view)) >= 3:
                apart.add(pair)
        return replace(site, overlapping=site.overlapping | together, apart=site.apart | apart)

    @property
    def uncalibrated(self) -> str | None:
        """What calibration would add, in a line; None where nothing is missing."""
        missing = [
            told
            for command, told in (
                ("threshold", "how much a likeness says here (python -m calibration threshold)"),
                ("travel", "how people go from camera to camera (python -m calibration travel)"),
            )
            if command not in self.calibration
        ]
        if not missing or self.match != MatchSettings():
            return None
        return f"this site is not calibrated: it guesses {', and '.join(missing)}; record with --record"


def _area(outline: Outline) -> float:
    """Of a view; where that is not written down, a guess."""
    if len(outline) < 3:
        return 150.0
    x, y = zip(*outline, strict=True)
    turned = [*zip(x, y[1:] + y[:1], x[1:] + x[:1], y, strict=True)]
    doubled: float = sum(a * b - c * d for a, b, c, d in turned)
    return max(abs(doubled) / 2, 1.0)


def load_settings(path: Path) -> Settings:
    """Read a site's file, or say in one sentence what is wrong with it."""
    try:
        raw = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error
    known = {item.name for item in fields(Settings)}
    refuse_unknown(raw, known, str(path))
    calibration = raw.get("calibration", {})
    if not isinstance(calibration, Mapping):
        raise SettingsError(f"{path}: calibration is written as [calibration.<command>]")
    settings = Settings(
        camera=sections(CameraSettings, raw, "camera", path),
        detector=section(DetectorSettings, raw.get("detector", {}), f"{path}, [detector]"),
        embedder=section(EmbedderSettings, raw.get("embedder", {}), f"{path}, [embedder]"),
        tracklets=section(TrackletSettings, raw.get("tracklets", {}), f"{path}, [tracklets]"),
        match=section(MatchSettings, raw.get("match", {}), f"{path}, [match]"),
        files=section(FileSettings, raw.get("files", {}), f"{path}, [files]"),
        travel=sections(TravelSettings, raw, "travel", path),
        ground=sections(GroundSettings, raw, "ground", path),
        overlap=sections(OverlapSettings, raw, "overlap", path),
        calibration={
            name: section(Provenance, origin, f"{path}, [calibration.{name}]")
            for name, origin in calibration.items()
        },
    )
    try:
        settings.floors()
        _check_pairs(settings)
    except SettingsError as error:
        raise SettingsError(f"{path}, {error}") from error
    return settings


def _check_pairs(settings: Settings) -> None:
    """That nothing is said twice, or of a camera and itself."""
    match, ways = settings.match, [(way.origin, way.target) for way in settings.travel]
    shared = [overlap.cameras for overlap in settings.overlap]
    for where, pairs in (
        ("[match] overlapping", match.overlapping),
        ("[match] apart", match.apart),
        ("[[travel]]", ways),
        ("[[overlap]]", shared),
    ):
        alone = [a for a, b in pairs if a == b]
        if alone:
            raise SettingsError(f"{where} pairs camera '{alone[0]}' with itself")
    for where, said in (
        ("[[travel]]", [f"from '{a}' to '{b}'" for a, b in ways]),
        ("[[ground]]", [f"of camera '{ground.camera}'" for ground in settings.ground]),
    ):
        twice = _twice(said)
        if twice:
            raise SettingsError(f"there are two {where} {twice[0]}")


def _twice(said: Sequence[str]) -> list[str]:
    return sorted({word for word in said if said.count(word) > 1})
