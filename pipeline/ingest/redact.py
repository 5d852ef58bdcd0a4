"""Keeps passwords and tokens out of everything that a person or a log can read."""

import re

HIDDEN = "***"

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)(\S+)")
_HARMLESS_KEYS = frozenset(
    {"camera", "channel", "codec", "fps", "profile", "proto", "real_stream", "resolution", "size"}
    | {"stream", "subtype", "unicast"}
)
_HARMLESS_VALUE = re.compile(r"[A-Za-z0-9_.,:x-]{0,16}")
_LOOKS_LIKE_A_TOKEN = re.compile(r"(?=[^\d]*\d)(?=[^A-Za-z]*[A-Za-z])[\w.~+%-]{16,}={0,2}")


def redact(text: str) -> str:
    """The same text with everything in its URLs hidden that might let somebody in.

    Errs on the side of hiding: all before the last @ goes, even if that @ belongs to a path.
    """
    return _URL.sub(lambda found: found[1] + _without_secrets(found[2]), text)


def redact_address(text: str) -> str:
    """For a text that is one address as a whole, however malformed: blanks end no password here."""
    scheme, separator, rest = text.partition("://")
    if separator:
        return scheme + separator + _without_secrets(rest)
    before, at, after = text.rpartition("@")
    shown = HIDDEN + at + after if ":" in before else text
    return re.sub(r"[^/?&]+=[^/?&]*", lambda found: _pair(found[0]), shown)


def redact_rest(rest: str) -> str:
    """A URL's path and query without passwords, tokens and fragments."""
    path, question, query = rest.partition("#")[0].partition("?")
    shown = "/".join(_segment(segment) for segment in path.split("/"))
    return shown + question + "&".join(_pair(pair) for pair in query.split("&"))


def _without_secrets(rest: str) -> str:
    _, at, after = rest.rpartition("@")
    host, slash, path = after.partition("/")
    if not slash:
        host, question, query = after.partition("?")
        return (HIDDEN + at if at else "") + host + redact_rest(question + query)
    return (HIDDEN + at if at else "") + host + redact_rest(slash + path)


def _segment(segment: str) -> str:
    """One step of a path. Some cameras take `/user=admin_password=…`, others a token as the path."""
    if "=" in segment:
        return _pair(segment)
    return HIDDEN if _LOOKS_LIKE_A_TOKEN.fullmatch(segment) else segment


def _pair(pair: str) -> str:
    key, equals, value = pair.partition("=")
    harmless = key.lower() in _HARMLESS_KEYS and _HARMLESS_VALUE.fullmatch(value)
    if not pair or harmless:
        return pair
    return key + equals + HIDDEN if equals else HIDDEN
