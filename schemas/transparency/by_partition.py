"""What the last record of the audit log tells of each partition, as JSON by `<topic>:<partition>`.

Pure. `tests/schemas/transparency/test_by_partition.py`.
"""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec

from chimera.schemas.errors import EvidenceMalformed

T = TypeVar("T")


def key(topic: str, partition: int) -> str:
    """A partition's name, here and in the journal."""
    return f"{topic}:{partition}"


class ByPartition(Generic[T]):
    """How one such mapping is written and read; `what` stands in errors."""

    def __init__(self, what: str, kind: Any) -> None:
        """`kind` is T: a frozen struct."""
        self._what = what
        self._encoder = msgspec.json.Encoder(order="sorted")
        self._decoder: msgspec.json.Decoder[dict[str, T]] = msgspec.json.Decoder(dict[str, kind])

    def encode(self, found: Mapping[str, T]) -> bytes:
        """In order of the partitions' names."""
        return self._encoder.encode(found)

    def decode(self, raw: bytes) -> dict[str, T]:
        """Raises EvidenceMalformed: it is none."""
        try:
            return self._decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise EvidenceMalformed(f"audit.log: {self._what}: {error}") from None
