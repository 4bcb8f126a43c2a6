"""Records of a batch that was not unpacked, since it becomes too large: nobody knows but their offsets.

Each stands for one request, which is answered `too_large`. Their number is what their batch's
header says of its offsets, and a hostile one says millions: they are made when they are asked for.
A broker lets no producer leave out an offset; where compaction has, its offset is answered, too.
`tests/schemas/test_stored.py`, `tests/agents/test_fetched.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload


@dataclass(frozen=True, slots=True)
class Withheld:
    """Looks like one record of `schemas.stored`; key, value and headers are not known."""

    offset: int
    timestamp: int
    key: None = None
    value: None = None

    @property
    def headers(self) -> list[tuple[str, bytes | None]]:
        return []


class WithheldBatch(Sequence[Withheld]):
    """Records of consecutive offsets, all of one time (ms since the epoch)."""

    def __init__(self, offsets: range, timestamp: int) -> None:
        self._offsets, self._timestamp = offsets, timestamp

    def __len__(self) -> int:
        return len(self._offsets)

    @overload
    def __getitem__(self, at: int) -> Withheld: ...
    @overload
    def __getitem__(self, at: slice) -> "WithheldBatch": ...
    def __getitem__(self, at: int | slice) -> "Withheld | WithheldBatch":
        if isinstance(at, slice):
            return WithheldBatch(self._offsets[at], self._timestamp)
        return Withheld(self._offsets[at], self._timestamp)
