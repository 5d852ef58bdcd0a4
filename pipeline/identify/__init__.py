"""Identities out of tracklets: who is the same person, across cameras, absences and restarts.

    identifier = Identifier(IdentifySettings(), GalleryStore(Path("identities.db"), "grl-edge"))
    for updates, ended, now in ticks:
        for event in identifier.update(updates, ended, now):
            print(event.kind, event.identity, event.camera, event.local_id)
    identifier.close()

Read in this order: `identifier` (a tick), `matcher` (who is who), `similarity` and `prior` (what
counts as evidence), `corrections` (what is taken back), `gallery` (the table behind it all), `store`
and `merged` (the table on disk, and numbers that are one person's), `lookup` (questions to the table).
"""

from pipeline.identify.floor import FloorSettings, Ground
from pipeline.identify.identifier import Identifier, IdentifyCounts
from pipeline.identify.lookup import Match, Person
from pipeline.identify.matcher import warm_up
from pipeline.identify.prior import Site, Travel
from pipeline.identify.settings import IdentifySettings
from pipeline.identify.similarity import Mapping
from pipeline.identify.store import GalleryStore

__all__ = [
    "FloorSettings",
    "GalleryStore",
    "Ground",
    "Identifier",
    "IdentifyCounts",
    "IdentifySettings",
    "Mapping",
    "Match",
    "Person",
    "Site",
    "Travel",
    "warm_up",
]
