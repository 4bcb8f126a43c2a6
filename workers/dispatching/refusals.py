"""Requests that a tier failed one after the other, with none computed in between. Pure.

A runtime raises one error for a request that it refuses and for a library that is broken, so one
request says nothing of its tier, however often it is tried. So many different ones in a row do: each
alone, days apart, or a few in a minute, which is too little for a rate over a window of time.
`tests/workers/dispatching/test_refusals.py`.
"""

from collections.abc import Hashable


class Refusals:
    """By one tier."""

    def __init__(self, limit: int) -> None:
        """From `limit` on they are an outage."""
        self._limit = limit
        self._requests: set[Hashable] = set()

    def __len__(self) -> int:
        return len(self._requests)

    @property
    def are_outage(self) -> bool:
        return len(self._requests) >= self._limit

    def add(self, request: Hashable) -> None:
        """It failed; a batch goes by the name of its first."""
        if not self.are_outage:
            self._requests.add(request)

    def clear(self) -> None:
        """A request was computed."""
        self._requests.clear()
