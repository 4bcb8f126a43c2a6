"""Requests and their outcomes, joined by offset while both are read in step. Pure.

Results stand in the order of their requests, but for those that were retried, which come later. So
requests wait until results have passed them, and results wait for requests only as long as one piece
of them is ahead: `wants_requests` says whose turn it is. What waits is bounded; the oldest request is
given up for a new one, and counts as unanswered. A dead letter speaks for a request whose result is
gone. `tests/agents/replaying/test_joining.py` joins what was dealt at random.
"""

from collections.abc import Iterable
from typing import NamedTuple

from chimera.schemas.outcomes import Outcome
from chimera.schemas.stored import Stored

MAX_WAITING_BYTES = 64 << 20  # of requests whose results lie far behind
MAX_LETTERS = 100_000


class Pair(NamedTuple):
    """A request, and what it was answered."""

    request: Stored
    outcome: Outcome


class Joining:
    """Of one partition."""

    def __init__(self, max_waiting_bytes: int = MAX_WAITING_BYTES) -> None:
        self.unanswered = 0  # given up, or left at the end
        self._max_bytes = max_waiting_bytes
        self._bytes = 0
        self._waiting: dict[int, Stored] = {}
        self._ahead: dict[int, Outcome] = {}
        self._letters: dict[int, str] = {}
        self._reached = 0  # requests below it were read

    def __len__(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    @property
    def wants_requests(self) -> bool:
        """Whether outcomes are known of requests that were not read; or nothing waits for any."""
        return bool(self._ahead) or not self._waiting

    def add_requests(self, requests: Iterable[Stored], reached: int) -> list[Pair]:
        """Requests that are to be joined, of all up to `reached`; those whose outcome is known."""
        found: list[Pair] = []
        for request in requests:
            outcome = self._ahead.pop(request.offset, None)
            if outcome is not None:
                found.append(Pair(request, outcome))
            else:
                self._waiting[request.offset] = request
                self._bytes += len(request.value or b"")
        self._reached = reached
        self._ahead = {offset: one for offset, one in self._ahead.items() if offset >= reached}
        while self._bytes > self._max_bytes:
            found += self._give_up(next(iter(self._waiting)))
        return found

    def add_outcomes(self, outcomes: Iterable[tuple[int, Outcome]], before: int) -> list[Pair]:
        """Outcomes by their requests' offsets; none is wanted from `before` on. Those that waited."""
        found: list[Pair] = []
        for offset, outcome in outcomes:
            request = self._waiting.pop(offset, None)
            if request is not None:
                self._bytes -= len(request.value or b"")
                found.append(Pair(request, outcome))
            elif self._reached <= offset < before:
                self._ahead.setdefault(offset, outcome)
        return found

    def add_letters(self, letters: Iterable[tuple[int, str]]) -> None:
        """Error codes of dead letters, by their requests' offsets."""
        for offset, code in letters:
            if len(self._letters) < MAX_LETTERS:
                self._letters[offset] = code

    def finish(self) -> list[Pair]:
        """No more outcomes will come: those that a dead letter speaks for."""
        return [pair for offset in list(self._waiting) for pair in self._give_up(offset)]

    def _give_up(self, offset: int) -> list[Pair]:
        request = self._waiting.pop(offset)
        self._bytes -= len(request.value or b"")
        code = self._letters.pop(offset, None)
        if code is not None:
            return [Pair(request, Outcome(code, b"of a dead letter"))]
        self.unanswered += 1
        return []
