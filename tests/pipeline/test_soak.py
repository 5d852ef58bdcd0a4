"""The soak, shortened: limits are set so low that all of them are reached at once."""

import pytest

from benchmarks.soak import Bounds, Soak, soak
from pipeline.publish.sink import Sighting

SHORT = Bounds(retention=40.0, rows=40, journal=60, reach=40)


class Leak:
    """A sink that forgets nothing. Its module counts as one of ours."""

    __module__ = "pipeline.leak"

    def __init__(self):
        self.places = []

    def sighting(self, sighting: Sighting):
        self.places += sighting.identities.tolist()

    def events(self, events): ...

    def passed(self, tracks): ...

    def ended(self, tracklets): ...

    def close(self): ...


def test_no_table_grows_and_a_leak_would_be_seen(tmp_path):
    seen = soak(4000, tmp_path, SHORT, extra=[Leak()])
    assert set(seen.grown()) == {"Leak.places"}
    assert seen.founded > 3 * SHORT.rows, "many more came than are kept"
    assert max(seen.tables["Gallery._row_of"]) <= SHORT.rows + 16
    assert max(seen.tables["Journal._stays"]) <= SHORT.journal + 16
    assert max(seen.tables["identities.db: tracklets"]) <= 2 * SHORT.rows
    assert seen.growth() < 4, "megabytes"
    assert (tmp_path / "tracks" / "a.txt").stat().st_size > 10_000


def test_growth_is_what_the_last_third_has_over_the_second():
    flat = [7, 20, 11, 19, 20, 18, 20, 17, 20]
    seen = Soak(
        list(range(9)),
        [1, 2, 3, 5, 5, 5, 6, 6, 6.5],
        {"flat": flat, "up": [i * 30 for i in range(9)]},
    )
    assert seen.grown() == {"up": (150, 240)}
    assert seen.growth() == pytest.approx(1.0)
