"""Records that Chimera writes for itself: each carries `v`, the version of its form.

A reader takes the present version and the one before, ignores fields that it does not know, and
refuses the rest, so that nodes of two neighbouring releases can share a cluster.
`tests/schemas/golden` keeps a file of every version ever written; `test_internal.py` reads them all.
"""

from typing import Annotated

import msgspec

from chimera.schemas.errors import Malformed, SchemaInvalid

ATTEMPT_VERSION = 1


class Attempt(msgspec.Struct, frozen=True):
    """`inference.attempts`: how many executors a request has killed, and how the last one died."""

    deaths: Annotated[int, msgspec.Meta(ge=1)]
    reason: str  # crashed, hung or out_of_memory
    v: int = ATTEMPT_VERSION


class _Versioned(msgspec.Struct):
    v: int


_VERSIONED = msgspec.json.Decoder(_Versioned)
_ATTEMPT = msgspec.json.Decoder(Attempt)


def encode_attempt(attempt: Attempt) -> bytes:
    """The record's value, as JSON."""
    return msgspec.json.encode(attempt)


def decode_attempt(value: bytes) -> Attempt:
    """Read a value of this version or the one before.

    Raises:
        Malformed: not JSON.
        SchemaInvalid: another version, or a field is missing or of the wrong type.
    """
    _require_version("attempt", value, ATTEMPT_VERSION)
    try:
        return _ATTEMPT.decode(value)
    except msgspec.ValidationError as error:
        raise SchemaInvalid(f"attempt: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"attempt: {error}") from None


def _require_version(record: str, value: bytes, current: int) -> None:
    try:
        version = _VERSIONED.decode(value).v
    except msgspec.ValidationError as error:
        raise SchemaInvalid(f"{record}: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"{record}: {error}") from None
    if version not in (current, current - 1) or version < 1:
        raise SchemaInvalid(f"{record}: version {version}, this release reads up to {current}")
