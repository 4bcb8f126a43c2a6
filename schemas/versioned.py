"""Forms of the records that Chimera writes for itself: JSON, each with `v`, the version of its form.

A reader takes the present version and the one before, ignores fields that it does not know, and
refuses the rest, so that nodes of two neighbouring releases can share a cluster.
`tests/schemas/golden` keeps a file of every version ever written; the tests of each record read
them all.
"""

from typing import Any, Generic, TypeVar

import msgspec

from chimera.schemas.errors import Malformed, RequestError, SchemaInvalid

T = TypeVar("T")


class _Versioned(msgspec.Struct):
    v: int


_VERSIONED = msgspec.json.Decoder(_Versioned)


class Form(Generic[T]):
    """How one kind of record is written and read; `name` stands in errors."""

    def __init__(self, name: str, kind: Any, version: int) -> None:
        """`kind` is T: a frozen struct with a field `v`, or a union of such."""
        self.version = version
        self._name = name
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)

    def encode(self, record: T) -> bytes:
        """The record's value, as JSON."""
        return msgspec.json.encode(record)

    def decode(self, value: bytes) -> T:
        """Read a value of this version or the one before.

        Raises:
            Malformed: not JSON.
            SchemaInvalid: another version, or a field is missing or of the wrong type.
        """
        try:
            version = _VERSIONED.decode(value).v
            if version not in (self.version, self.version - 1) or version < 1:
                raise SchemaInvalid(
                    f"{self._name}: version {version}, this release reads up to {self.version}"
                )
            return self._decoder.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._refusal(error) from None

    def _refusal(self, error: Exception) -> RequestError:
        kind = SchemaInvalid if isinstance(error, msgspec.ValidationError) else Malformed
        return kind(f"{self._name}: {error}")
