"""Which version gave each answer, told by the digest that it names, in the order of reading.

`tests/cli/demoing/test_served.py` counts.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from chimera.cli.asking.results import Record
from chimera.schemas import headers as names


class Served:
    """Counts as answers come; times are those at which they were seen."""

    def __init__(self, digests: Mapping[str, str], start: int = 0) -> None:
        """`digests`: by version; `start`: the first answer that counts."""
        self.counts: Counter[str] = Counter()
        self.first_s: dict[str, float] = {}  # of a version's first answer
        self.since_s = 0.0  # when the version that answers now began to
        self._versions = {digest: version for version, digest in digests.items()}
        self._at, self._now, self._in_a_row = start, "", 0

    def read(self, answers: Sequence[Record], seen_s: Sequence[float]) -> "Served":
        """Take what has come since the last time."""
        end = len(answers)
        for at in range(self._at, end):
            digest = (dict(answers[at].headers).get(names.MODEL_DIGEST) or b"").decode()
            self._take(self._versions.get(digest, "none"), seen_s[at])
        self._at = end
        return self

    def in_a_row(self, version: str) -> int:
        """How many of the latest answers are this version's."""
        return self._in_a_row if self._now == version else 0

    def _take(self, version: str, seen_s: float) -> None:
        self.counts[version] += 1
        self.first_s.setdefault(version, seen_s)
        if version != self._now:
            self._now, self._in_a_row, self.since_s = version, 0, seen_s
        self._in_a_row += 1
