"""URLs that a stranger may name: under prefixes that settings allow, and plain enough to compare as text.

One that two readers could understand differently (`..`, `//`, `::`, `%`, `@`, `?`, `#`, `~`, `*`,
backslashes) is refused rather than normalised. `tests/schemas/test_claims.py` tries the ways around.
"""

import re
from collections.abc import Iterable

from chimera.schemas.errors import ConfigurationError, SchemaInvalid
from chimera.schemas.tensors import quoted

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://")
_PATH = re.compile(r"[A-Za-z0-9._=+,:/-]+")


def require_under(url: str, prefixes: Iterable[str], where: str) -> None:
    """Refuse a URL that is under none of the prefixes, as `folder` makes them; `where` names it.

    Raises:
        SchemaInvalid: two readers could understand the URL differently, or it is not allowed.
    """
    scheme = _SCHEME.match(url)
    path = url[scheme.end() :] if scheme else ""
    if not _PATH.fullmatch(path) or "::" in path:
        raise SchemaInvalid(f"{where} is not a plain URL")
    if not {"", ".", ".."}.isdisjoint(path.removeprefix("/").split("/")):
        raise SchemaInvalid(f"{where} has an empty or a dotted part")
    if not any(url.startswith(prefix) for prefix in prefixes):
        raise SchemaInvalid(f"{where} is under no prefix that is allowed here")


def folder(prefix: str, setting: str) -> str:
    """An allowed prefix as URLs have to begin: with the `/` that ends it.

    Raises:
        ConfigurationError: it is no `<scheme>://<something>`, and would allow too much or nothing.
    """
    scheme = _SCHEME.match(prefix)
    if not scheme or not prefix[scheme.end() :].strip("/"):
        raise ConfigurationError(f"{quoted(prefix)} in {setting} names no place below a scheme")
    return prefix.rstrip("/") + "/"
