"""What a run has spent, over all of its attempts: time, and energy where the machine tells it.

Energy is what the processors' packages have used while it ran, whoever used them: RAPL's counters in
`/sys/class/powercap`, which on most machines root alone may read. They begin again within the hour, so
a thread reads them each minute. An attempt that was not measured leaves the run without a figure.
`tests/workers/training/test_spending.py` has counters of its own: on real ones it was never run.
"""

import re
import threading
import time
from pathlib import Path
from typing import Any, Self

POWERCAP = Path("/sys/class/powercap")
LOOK_EVERY_S = 60.0
PACKAGE = re.compile(r"intel-rapl:\d+")  # AMD's are called so, too; parts of it have a second colon


class _Counter:
    """Of one package, in microjoules."""

    def __init__(self, zone: Path) -> None:
        self._file = zone / "energy_uj"
        self._range = int((zone / "max_energy_range_uj").read_text()) + 1
        self._last = int(self._file.read_text())
        self.used = 0

    def look(self) -> None:
        try:
            now = int(self._file.read_text())
        except (OSError, ValueError):
            return  # the next time it will have counted this, too
        self.used += (now - self._last) % self._range
        self._last = now


class Spending:
    """Since it was made, and before."""

    def __init__(self, powercap: Path = POWERCAP) -> None:
        self.started_ms = time.time_ns() // 1_000_000
        self._since_s = time.monotonic()
        self._before_s, self._before_j = 0.0, 0.0
        self._counters = _counters(powercap)
        self._is_measured = bool(self._counters)
        self._lock, self._ending = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="energy", daemon=True)

    def __enter__(self) -> Self:
        if self._counters:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        if self._counters:
            self._thread.join()

    def go_on(self, started_ms: int, elapsed_s: float, energy_j: float | None) -> None:
        """From what an attempt before had spent at its last checkpoint."""
        self.started_ms = started_ms or self.started_ms
        self._before_s, self._before_j = elapsed_s, energy_j or 0.0
        self._is_measured = self._is_measured and energy_j is not None

    def told(self) -> dict[str, Any]:
        """As `Progress` keeps it."""
        elapsed_s = self._before_s + time.monotonic() - self._since_s
        return {
            "started_ms": self.started_ms,
            "elapsed_s": round(elapsed_s, 3),
            "energy_j": self._energy_j(),
        }

    @property
    def seen_j(self) -> float:
        """As of the last look, which is a minute ago at most."""
        return self._before_j + sum(one.used for one in self._counters) / 1e6

    def _energy_j(self) -> float | None:
        if not self._is_measured:
            return None
        self._look()
        return round(self.seen_j, 3)

    def _watch(self) -> None:
        while not self._ending.wait(LOOK_EVERY_S):
            self._look()

    def _look(self) -> None:
        with self._lock:
            for one in self._counters:
                one.look()


def _counters(powercap: Path) -> list[_Counter]:
    """Of all packages; none, where one cannot be read."""
    try:
        zones = [one for one in sorted(powercap.iterdir()) if PACKAGE.fullmatch(one.name)]
        packages = [one for one in zones if (one / "name").read_text().startswith("package")]
        return [_Counter(one) for one in packages]
    except (OSError, ValueError):
        return []
