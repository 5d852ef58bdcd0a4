"""Cameras in: addresses, readers that never give up, and the newest frame of each."""

from pipeline.ingest.addresses import Address, AddressKind, name_cameras, parse_address
from pipeline.ingest.health import CameraHealth, CameraState
from pipeline.ingest.options import IngestOptions, RestartPolicy
from pipeline.ingest.redact import redact
from pipeline.ingest.source import Sources, open_sources

__all__ = [
    "Address",
    "AddressKind",
    "CameraHealth",
    "CameraState",
    "IngestOptions",
    "RestartPolicy",
    "Sources",
    "name_cameras",
    "open_sources",
    "parse_address",
    "redact",
]
