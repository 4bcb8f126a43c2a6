"""Canonical JSON: one spelling of a value, after RFC 8785.

Only who writes a leaf needs it. The bytes are stored as they were written, and hashed as they are
stored: nobody who verifies parses and writes them again. Integers past 2^53 - 1 are refused, so
64-bit ones are strings. `tests/schemas/transparency/test_canonical.py` has the vectors of the RFC.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
import rfc8785

from chimera.schemas.errors import SchemaInvalid

MAX_INTEGER = 2**53 - 1

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]


def encode(value: Json) -> bytes:
    """The one spelling of a value.

    Raises:
        SchemaInvalid: it has none: an integer too large, NaN, half of a surrogate pair, too deep.
    """
    try:
        return rfc8785.dumps(cast("Any", value))  # its own type knows no Sequence
    except (rfc8785.CanonicalizationError, UnicodeError, RecursionError) as error:
        raise SchemaInvalid(f"canonical JSON: {error}") from None


def is_canonical(raw: bytes) -> bool:
    """Whether these bytes are the one spelling of what they say."""
    try:
        return encode(msgspec.json.decode(raw)) == raw
    except (msgspec.DecodeError, UnicodeError, RecursionError, SchemaInvalid):
        return False
