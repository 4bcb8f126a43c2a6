"""One sitting: contenders take turns for several rounds on one broker, with one model.

The order is turned by one each round, so that nobody always follows the same neighbour. A
contender that cannot run is left out from then on, with its reason. Figures are medians over the
rounds; the spread is (largest - smallest) / median. `tests/benchmarks/test_sitting.py` holds both.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.broker import Broker
from benchmarks.contenders import Contender
from benchmarks.environments import NotRun
from benchmarks.trial import Trial, trial

Report = dict[str, Any]

WARM_UP_TURNS = (
    4  # of five, the broker's time for a request fell until the fourth: 5.1, 3.7, 3.7, 2.9, 2.9 us
)
WARM_UP_REQUESTS = 200_000


@dataclass(frozen=True)
class Sitting:
    broker: Broker
    models_dir: Path
    work: Path  # logs and raw files
    rounds: int
    say: Callable[[str], None]  # progress, for a person

    def head(self, kind: str) -> Report:
        return {"kind": kind, "rounds": self.rounds, "machine": machine.describe(self.broker)}

    def play(
        self,
        contenders: Sequence[Contender],
        one: Callable[[Trial], Report],
        warm_up: int = WARM_UP_REQUESTS,
    ) -> tuple[dict[str, list[Report]], dict[str, str]]:
        """All rounds; returns each contender's reports, and the reasons of those left out.

        `warm_up`: requests of each turn that does not count.
        """
        self._prepare(contenders)
        self._warm_up(contenders, warm_up)
        reports: dict[str, list[Report]] = {contender.name: [] for contender in contenders}
        left_out: dict[str, str] = {}
        for number, contender in turns(contenders, self.rounds):
            if contender.name in left_out:
                continue
            self.say(f"round {number + 1} of {self.rounds}: {contender.name}")
            try:
                with trial(
                    self.broker, contender, models_dir=self.models_dir, work=self.work
                ) as running:
                    reports[contender.name].append(one(running))
            except NotRun as error:
                left_out[contender.name] = f"not run: {error}"
                self.say(f"{contender.name}: {left_out[contender.name]}")
        return reports, left_out

    def _prepare(self, contenders: Sequence[Contender]) -> None:
        """Install environments before anything is timed; failures show up in the first round."""
        for contender in contenders:
            if contender.environment is not None:
                self.say(f"environment of {contender.rival}")
                try:
                    contender.environment.interpreter()
                except NotRun as error:
                    self.say(str(error))

    def _warm_up(self, contenders: Sequence[Contender], requests: int) -> None:
        """Turns of everybody that do not count: a broker compiles what each asks of it.

        The slow ones are left out, and who answers none; one that cannot run says so in the first round.
        """
        quick = [one for one in contenders if one.share == 1.0 and one.answers]
        for _, contender in turns(quick, WARM_UP_TURNS):
            self.say(f"warm-up: {contender.name}")
            with (
                suppress(NotRun),
                trial(
                    self.broker, contender, models_dir=self.models_dir, work=self.work
                ) as running,
            ):
                running.throughput(requests, 60.0)


def turns(contenders: Sequence[Contender], rounds: int) -> Iterator[tuple[int, Contender]]:
    """(round, contender) in the order they run."""
    for number in range(rounds):
        first = number % len(contenders)
        for contender in (*contenders[first:], *contenders[:first]):
            yield number, contender


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest, largest and spread in percent of the median."""
    middle = statistics.median(values)
    spread = (max(values) - min(values)) / middle * 100 if middle else 0.0
    return {
        "median": round(middle, 2),
        "min": round(min(values), 2),
        "max": round(max(values), 2),
        "spread_pct": round(spread, 1),
    }


def ratio(mine: Sequence[float], other: Sequence[float]) -> Report:
    """One contender's rates over another's: of the medians, and the range over single rounds."""
    each = [one / beside for one, beside in zip(mine, other, strict=False) if beside]
    middle = statistics.median(other)
    return {
        "of_medians": round(statistics.median(mine) / middle, 3) if middle else None,
        "rounds": [round(min(each), 3), round(max(each), 3)] if each else [],
    }


def best(medians: dict[str, float], names: Sequence[str], *, least: bool = False) -> str | None:
    """Which of the names has the best median; None where none has one."""
    present = [name for name in names if name in medians]
    if not present:
        return None
    return (min if least else max)(present, key=lambda name: medians[name])
