"""Claim checks on their way into an executor: fetched by a few threads, beside its loop.

The loop hands requests over and takes them back when their data have come, or when they turned out
to be no request. Data count against a budget until their memory is free again, wherever they went;
a fetch waits for room. `tests/workers/test_settling.py`.
"""

import threading
import weakref
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue

from chimera.schemas.errors import OutOfMemory, RequestError
from chimera.schemas.inference import Request
from chimera.workers.claims import Claims
from chimera.workers.tasks import Held

THREADS = 4
BUDGET_BYTES = 256 << 20

Wanted = tuple[Held, int, Request]
Settled = tuple[Held, int, Request | RequestError]


class Settling:
    """Of one executor; `wake` is called from threads when something has been settled."""

    def __init__(
        self, claims: Claims, wake: Callable[[], None], budget_bytes: int = BUDGET_BYTES
    ) -> None:
        """A single request over the budget is still fetched, when nothing else is held."""
        self._claims = claims
        self._wake = wake
        self._wanted: SimpleQueue[Wanted] = SimpleQueue()
        self._settled: SimpleQueue[Settled] = SimpleQueue()
        self._budget_bytes = budget_bytes
        self._held_bytes = 0
        self._freed = threading.Condition()
        self._is_started = False

    def settle(self, held: Held, index: int, request: Request) -> None:
        """Fetch what a request claims; it comes back from `settled`."""
        if not self._is_started:
            self._is_started = True
            for number in range(THREADS):
                threading.Thread(target=self._work, name=f"claims-{number}", daemon=True).start()
        self._wanted.put((held, index, request))

    def settled(self) -> Iterator[Settled]:
        """What has been settled since; never waits."""
        while self._is_started:
            try:
                yield self._settled.get_nowait()
            except Empty:
                return

    def _work(self) -> None:
        while True:
            held, index, request = self._wanted.get()
            self._settled.put((held, index, self._fetch(request)))
            del held, request  # else they would keep their data until the next one comes
            self._wake()

    def _fetch(self, request: Request) -> Request | RequestError:
        size = sum(claim.size for claim in request.claims)
        self._take(size)
        try:
            settled = self._claims.settle(request)
        except RequestError as error:
            self._free(size)
            return error
        except MemoryError:
            self._free(size)
            return OutOfMemory("the claimed data do not fit into memory")
        for claim in request.claims:
            flat = settled.inputs[claim.name].flat
            weakref.finalize(flat, self._free, claim.size).atexit = False
        return settled

    def _take(self, size: int) -> None:
        with self._freed:
            while self._held_bytes and self._held_bytes + size > self._budget_bytes:
                self._freed.wait()
            self._held_bytes += size

    def _free(self, size: int) -> None:
        with self._freed:
            self._held_bytes -= size
            self._freed.notify_all()
