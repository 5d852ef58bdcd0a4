"""Camera addresses: what may be asked for, and how it may be shown.

rtsp://user:password@host:554/path     rtsps://…   http://…   https://…
clip.mp4   folder/of/pictures          webcam:0    /dev/video0
synthetic:mall/cam1?seed=7             a rendered camera of a synthetic site
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from pipeline.errors import AddressError
from pipeline.ingest.redact import HIDDEN, redact, redact_address, redact_rest

PICTURES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_ACCEPTED = (
    "rtsp://, rtsps://, http:// and https:// addresses, video files, folders of pictures, "
    "webcam:N, /dev/videoN and synthetic:SITE/CAMERA"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(.*)", re.DOTALL)
_AT_LATER = re.compile(r"://[^/?#@]*[/?#].*@")
_CUT = "seems to have /, ? or # in its password: write them as %2F, %3F and %23; and a @ that is in the path as %40."
_HOST = re.compile(r"[\w.-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[\w.-]+)?")
_SYNTHETIC = re.compile(r"(?P<site>[\w./-]+)/(?P<camera>[\w-]+)(\?(?P<query>.*))?")


class AddressKind(StrEnum):
    """Where pictures come from."""

    RTSP = "rtsp"
    HTTP = "http"
    WEBCAM = "webcam"
    FILE = "file"
    FOLDER = "folder"
    SYNTHETIC = "synthetic"


@dataclass(frozen=True, slots=True)
class Address:
    """A valid address. Only `display` may be shown: `location` can hold a password."""

    kind: AddressKind
    display: str
    location: str = field(repr=False)
    """What the reader opens: a URL in canonical encoding, a path, a device, or SITE/CAMERA?query."""
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def live(self) -> bool:
        """Whether its end is a disconnect rather than the end."""
        return self.kind in (AddressKind.RTSP, AddressKind.HTTP, AddressKind.WEBCAM)

    def redact(self, text: str) -> str:
        """`text` with nothing of this address in it that might let somebody in."""
        text = text.replace(self.location, self.display)
        for secret in self.secrets:
            if len(secret) > 3:  # shorter ones would hit innocent words; the URL rules catch them
                text = text.replace(secret, HIDDEN)
        return redact(text)


@dataclass(frozen=True, slots=True)
class SyntheticCamera:
    """What a synthetic address asks for."""

    site: str
    camera: str
    seed: int = 0
    duration: float | None = None
    """Seconds until it ends; None: never."""


def parse_address(text: str) -> Address:
    """The address in `text`; raises AddressError with the reason, never with a password."""
    text = text.strip()
    if not text:
        raise AddressError(f"A camera address is empty; accepted are {_ACCEPTED}.")
    found = _SCHEME.fullmatch(text)
    scheme, rest = (found[1].lower(), found[2]) if found else ("", text)
    if text.startswith("/dev/video"):
        address = Address(AddressKind.WEBCAM, text, text)
    elif scheme in ("rtsp", "rtsps", "http", "https"):
        address = _network(text, scheme)
    elif scheme == "webcam":
        address = _webcam(text, rest)
    elif scheme == "synthetic":
        parse_synthetic(rest)
        address = Address(AddressKind.SYNTHETIC, f"synthetic:{rest}", rest)
    elif scheme == "file":
        address = _path(text, unquote(rest.removeprefix("//")))
    elif not rest.startswith("//"):
        address = _path(text, text)
    else:
        raise AddressError(
            f"{redact_address(text)} is of the kind {scheme}, which cannot be read; accepted are {_ACCEPTED}."
        )
    return address


def parse_synthetic(location: str) -> SyntheticCamera:
    """SITE/CAMERA?seed=N&duration=SECONDS."""
    found = _SYNTHETIC.fullmatch(location)
    if found is None:
        raise AddressError(
            f"synthetic:{location} does not name a site and a camera like synthetic:mall/cam1?seed=7."
        )
    query = dict(parse_qsl(found["query"] or "", keep_blank_values=True))
    if unknown := sorted(query.keys() - {"seed", "duration"}):
        raise AddressError(
            f"synthetic:{location} asks for {', '.join(unknown)}; it may ask for seed and duration."
        )
    try:
        seed, duration = int(query.get("seed", "0")), float(query.get("duration", "inf"))
    except ValueError:
        raise AddressError(
            f"synthetic:{location} has a seed or duration that is no number."
        ) from None
    if seed < 0 or not duration > 0:
        raise AddressError(
            f"synthetic:{location} has a negative seed or a duration that is not above 0."
        )
    limit = None if duration == float("inf") else duration
    return SyntheticCamera(found["site"], found["camera"], seed, limit)


def name_cameras(addresses: Sequence[Address]) -> list[str]:
    """A name for each camera: the file's stem, or cam1, cam2, … by position; unique, fit for a file."""
    taken: set[str] = set()
    names = []
    for position, address in enumerate(addresses, 1):
        wanted = re.sub(r"[^\w.-]+", "_", _natural_name(address)).strip("._") or f"cam{position}"
        if address.live:
            wanted = f"cam{position}"
        name, repeat = wanted, 2
        while name.casefold() in taken:
            name, repeat = f"{wanted}-{repeat}", repeat + 1
        taken.add(name.casefold())
        names.append(name)
    return names


def _natural_name(address: Address) -> str:
    if address.kind is AddressKind.SYNTHETIC:
        return parse_synthetic(address.location).camera
    path = Path(address.location).resolve()
    if address.kind is AddressKind.FOLDER:
        return path.parent.name if path.name == "img1" else path.name  # as MOTChallenge lays it out
    return path.stem


def _path(text: str, location: str) -> Address:
    path = Path(location)
    if not _exists(path):
        shown = redact_address(text)
        hint = "" if "." in path.name or "/" in location else f"; accepted are {_ACCEPTED}"
        if "@" in text or re.match(r"[\w.-]+:\d+(/|$)", text):
            hint = "; if it is a network address, it must begin like rtsp://"
        raise AddressError(f"There is no file or folder {shown}{hint}.")
    if not path.is_dir():
        return Address(AddressKind.FILE, location, location)
    try:
        pictures = any(item.suffix.lower() in PICTURES for item in path.iterdir())
    except OSError as error:
        raise AddressError(f"The folder {location} cannot be read: {error.strerror}.") from error
    if not pictures:
        raise AddressError(
            f"The folder {location} holds no pictures ({', '.join(sorted(PICTURES))})."
        )
    return Address(AddressKind.FOLDER, location, location)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # no name that a file can have
        return False


def _webcam(text: str, rest: str) -> Address:
    if not (rest.isascii() and rest.isdigit()):
        raise AddressError(f"{redact_address(text)} does not number a webcam like webcam:0.")
    device = f"/dev/video{int(rest)}" if sys.platform.startswith("linux") else str(int(rest))
    return Address(AddressKind.WEBCAM, f"webcam:{int(rest)}", device)


def _network(text: str, scheme: str) -> Address:
    shown = redact_address(text)
    if any(mark.isspace() or not mark.isprintable() for mark in text):
        raise AddressError(f"{shown} holds a blank or control character; write a blank as %20.")
    parts, port = _split(text, shown)
    host = parts.hostname or ""
    if not _HOST.fullmatch(host):
        raise AddressError(f"{shown} has no valid host name.")
    netloc = (f"[{host}]" if ":" in host else host) + ("" if port is None else f":{port}")
    rest = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    plain = {user, password, parts.username or "", parts.password or ""}
    plain |= {value for _, value in parse_qsl(parts.query) if value not in redact_rest(rest)}
    secrets = plain | {quote(secret, safe="") for secret in plain}
    return Address(
        AddressKind.RTSP if scheme.startswith("rtsp") else AddressKind.HTTP,
        f"{scheme}://{HIDDEN + '@' if login else ''}{netloc}{redact_rest(rest)}",
        f"{scheme}://{login + '@' if login else ''}{netloc}{rest}",
        tuple(sorted(secrets - {""}, key=len, reverse=True)),
    )


def _split(text: str, shown: str) -> tuple[SplitResult, int | None]:
    """The parts of a URL. Its login may hold @ and :, but /, ? and # end it."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        if _AT_LATER.search(text):
            raise AddressError(f"{shown} {_CUT}") from None
        raise AddressError(f"{shown} has a malformed host or port; a port is 1 to 65535.") from None
    # A number before the / of a password is no port, and what follows is no path that may be shown.
    if (port is not None or parts.netloc.endswith(":")) and _AT_LATER.search(text):
        raise AddressError(f"{shown} {_CUT}")
    if port == 0:
        raise AddressError(f"{shown} has the port 0; a port is 1 to 65535.")
    return parts, port
