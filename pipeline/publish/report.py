"""The report of a run: one HTML file that needs nothing else. Who was where and when; how the cameras did."""

import html
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from pipeline.folder import write_whole
from pipeline.frames import EventKind, IdentityEvent
from pipeline.publish.sink import Passed, Sighting
from pipeline.publish.video import colour_of

_GAP = 2.0
"""Seconds out of sight that are still drawn as one stay."""
_WIDTH, _ROW, _LEFT = 900, 22, 60
_MOST_ROWS = 200
_MOST_TRACKLETS = 20_000


@dataclass(slots=True)
class _Stay:
    camera: str
    start: float
    end: float


class Journal:
    """Remembers stays: which identity was in front of which camera from when to when."""

    def __init__(self, most: int = _MOST_TRACKLETS) -> None:
        """`most` tracklets: a report of weeks is one of their last part."""
        self._most = most
        self._stays: dict[tuple[str, int], list[_Stay]] = defaultdict(list)
        self._names: dict[tuple[str, int], int] = {}
        self._events: Counter[str] = Counter()
        self.start: float | None = None
        self.end = 0.0

    def sighting(self, sighting: Sighting) -> None:
        frame = sighting.frame
        self.start = frame.time if self.start is None else min(self.start, frame.time)
        self.end = max(self.end, frame.time)
        named = zip(sighting.tracks.ids.tolist(), sighting.identities.tolist(), strict=True)
        for local, identity in named:
            if identity:  # somebody may have got his name before this journal began
                self._names[frame.camera, local] = identity
            stays = self._stays[frame.camera, local]
            if stays and frame.time - stays[-1].end <= _GAP:
                stays[-1].end = frame.time
            else:
                stays.append(_Stay(frame.camera, frame.time, frame.time))

    def events(self, events: Sequence[IdentityEvent]) -> None:
        for event in events:
            self._events[str(event.kind)] += 1
            if event.kind is EventKind.FORGOTTEN:
                self._erase(event.identity)
            elif event.kind is not EventKind.LEFT:
                self._names[event.camera, event.local_id] = event.identity

    def passed(self, tracks: Sequence[Passed]) -> None:
        for track in tracks:
            stays = self._stays.get((track.camera, track.local_id), [])
            late = [stay for stay in stays if stay.end > track.since]
            if late:
                self._stays[track.camera, track.local_id] = [
                    replace(stay, end=min(stay.end, track.since))
                    for stay in stays
                    if stay.start <= track.since
                ]
                self._stays[track.camera, track.goes_on_as] = [
                    replace(stay, start=max(stay.start, track.since)) for stay in late
                ]

    def ended(self, tracklets: Sequence[tuple[str, int]]) -> None:
        for key in tracklets:
            if key not in self._names:
                self._stays.pop(key, None)
        while len(self._stays) > self._most:
            oldest = next(iter(self._stays))
            del self._stays[oldest]
            self._names.pop(oldest, None)

    def _erase(self, identity: int) -> None:
        for key in [key for key, name in self._names.items() if name == identity]:
            del self._names[key]
            self._stays.pop(key, None)

    def close(self) -> None:
        """Nothing is open."""

    def event_counts(self) -> dict[str, int]:
        return dict(self._events)

    def by_identity(self) -> dict[int, list[_Stay]]:
        """Stays of each identity, in order of time."""
        found: dict[int, list[_Stay]] = defaultdict(list)
        for key, stays in self._stays.items():
            if key in self._names:
                found[self._names[key]] += stays
        return {k: sorted(v, key=lambda stay: stay.start) for k, v in sorted(found.items())}

    def journeys(self) -> Counter[tuple[str, str]]:
        """How often somebody went from one camera to another."""
        found: Counter[tuple[str, str]] = Counter()
        for stays in self.by_identity().values():
            for before, after in pairwise(stays):
                if before.camera != after.camera:
                    found[before.camera, after.camera] += 1
        return found


def write_report(path: Path, summary: Mapping[str, object], journal: Journal) -> None:
    """One self-contained page."""
    people = journal.by_identity()
    cameras = summary["cameras"]
    assert isinstance(cameras, dict)
    latency = summary["latency_seconds"]
    assert isinstance(latency, dict)
    facts = [
        f"{len(people)} people",
        f"{summary['frames']} frames in {summary['seconds']:.0f} s",
        *(f"latency {name} {1000 * value:.0f} ms" for name, value in latency.items()),
    ]
    page = _PAGE.format(
        facts=" · ".join(map(html.escape, facts)),
        timeline=_timeline(people, list(cameras), journal),
        cameras=_camera_table(cameras),
        journeys=_journey_table(journal.journeys(), list(cameras)),
    )
    write_whole(path, page)


def _timeline(
    people: Mapping[int, Sequence[_Stay]], cameras: Sequence[str], journal: Journal
) -> str:
    """A row for each person, a bar for each stay, its height on the row telling the camera."""
    start, span = journal.start or 0.0, max(journal.end - (journal.start or 0.0), 1e-6)
    shown = list(people.items())[:_MOST_ROWS]
    lane = _ROW / max(len(cameras), 1)
    parts = []
    for row, (identity, stays) in enumerate(shown):
        top = row * _ROW
        blue, green, red = colour_of(identity)
        parts.append(f'\n<g id="person-{identity}">')  # a line each: `erase` takes it out
        parts.append(f'<text x="{_LEFT - 8}" y="{top + 15}" text-anchor="end">{identity}</text>')
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{top + _ROW}" y2="{top + _ROW}" stroke="#eee"/>'
        )
        for stay in stays:
            x = _LEFT + (stay.start - start) / span * (_WIDTH - _LEFT)
            width = max((stay.end - stay.start) / span * (_WIDTH - _LEFT), 2)
            y = top + cameras.index(stay.camera) * lane + 1
            title = (
                f"{identity} at {stay.camera}, {stay.start - start:.1f}–{stay.end - start:.1f} s"
            )
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{max(lane - 1, 2):.1f}" '
                f'fill="rgb({red},{green},{blue})"><title>{html.escape(title)}</title></rect>'
            )
        parts.append("</g>\n")
    height = len(shown) * _ROW + 20
    for tick in range(6):
        x = _LEFT + tick / 5 * (_WIDTH - _LEFT)
        anchor = "end" if tick == 5 else "middle"
        parts.append(
            f'<text x="{x:.0f}" y="{height - 4}" text-anchor="{anchor}">{tick / 5 * span:.0f} s</text>'
        )
    more = f"<p>…and {len(people) - len(shown)} more.</p>" if len(people) > len(shown) else ""
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img">{"".join(parts)}</svg>{more}'


def _camera_table(cameras: Mapping[str, Mapping[str, object]]) -> str:
    columns = ("state", "frames", "drops", "damaged", "reconnects", "mean_fps", "error")
    head = "".join(f"<th>{column.replace('_', ' ')}</th>" for column in columns)
    rows = "".join(
        f"<tr><th>{html.escape(name)}</th>"
        + "".join(f"<td>{_cell(camera[c])}</td>" for c in columns)
        + "</tr>"
        for name, camera in cameras.items()
    )
    return f"<table><tr><th></th>{head}</tr>{rows}</table>"


def _journey_table(journeys: Mapping[tuple[str, str], int], cameras: Sequence[str]) -> str:
    head = "".join(f"<th>{html.escape(camera)}</th>" for camera in cameras)
    rows = "".join(
        f"<tr><th>{html.escape(a)}</th>"
        + "".join(f"<td>{journeys.get((a, b), '')}</td>" for b in cameras)
        + "</tr>"
        for a in cameras
    )
    return f"<table><tr><th>from \\ to</th>{head}</tr>{rows}</table>"


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.1f}" if isinstance(value, float) else html.escape(str(value))


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Throughline: a run</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; color: #223; }}
h1 {{ font-size: 1.5rem; }} h2 {{ font-size: 1.1rem; margin-top: 2rem; }}
svg {{ width: 100%; font-size: 11px; fill: #556; }}
table {{ border-collapse: collapse; }} th, td {{ padding: .25rem .7rem; text-align: right; }}
tr + tr {{ border-top: 1px solid #ddd; }} th {{ font-weight: 600; }}
</style>
<h1>Who was where</h1><p>{facts}</p>
<h2>People over time</h2>
<p>A row for each person; within a row, a higher bar is an earlier camera of the list below.</p>
{timeline}
<h2>Journeys</h2>{journeys}
<h2>Cameras</h2>{cameras}
</html>
"""
