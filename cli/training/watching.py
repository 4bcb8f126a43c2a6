"""A run on the terminal while it goes on: where it is, its loss as a curve, and what happened to it.

    update 420 of 1,900   loss 0.2131   lr 0.0012   18,400 samples/s   0:01:12 left   512 MB
    ▇▆▅▄▃▃▂▂▂▁▁

Without a terminal each event is a line. `tests/cli/test_train_watch.py`.
"""

from collections.abc import Sequence
from contextlib import aclosing
from itertools import pairwise

from rich.console import Console
from rich.live import Live
from rich.text import Text

from chimera.cli.training.triggering import events
from chimera.schemas.settings import Settings
from chimera.schemas.training_events import (
    CheckpointSaved,
    DriftFound,
    Event,
    EventOmitted,
    RunCancelled,
    RunEvaluated,
    RunFailed,
    RunFinished,
    RunInterrupted,
    RunProgressed,
    RunQueued,
    RunStarted,
    ServedDriftFound,
    VersionCompiled,
    VersionPromoted,
    VersionRegistered,
    VersionReplayed,
    VersionWithheld,
)

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 72
LAST: dict[str, type[Event]] = {
    "registered": VersionRegistered,
    "compiled": VersionCompiled,
    "promoted": VersionPromoted,
}


async def follow(settings: Settings, bootstrap: str, run_id: str) -> bool:
    """From its first event to its last; whether it ended well. Raises KafkaUnavailable."""
    watched = Watched()
    with Live(console=Console(), transient=True, auto_refresh=False) as live:
        async with aclosing(events(settings, bootstrap, run_id)) as told:
            async for found, is_all in told:
                _show(live, watched, found)
                if is_all and watched.ended is not None:
                    return watched.ended
    raise AssertionError("events do not end by themselves")


def _show(live: Live, watched: "Watched", found: Sequence[Event]) -> None:
    for event in found:
        if text := line(event):
            live.console.print(text, highlight=False, markup=False)
        watched.hear(event)
    if found and watched.last is not None:
        live.update(Text(f"{progress(watched.last)}\n{curve(watched.losses)}"), refresh=True)


class Watched:
    """What is known of a run by the events so far."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.last: RunProgressed | None = None
        self.ended: bool | None = None  # whether well; None: it goes on
        self._until: type[Event] = VersionRegistered

    def hear(self, event: Event) -> None:
        match event:
            case RunQueued():
                self.ended, self._until = None, LAST[event.until]
            case RunProgressed():
                self.last = event
                self.losses += [] if event.loss is None else [event.loss]
            case RunFailed() | RunCancelled() | VersionWithheld():
                self.ended = False
            case _:
                self.ended = True if isinstance(event, self._until) else self.ended


def progress(event: RunProgressed) -> str:
    loss = "no number" if event.loss is None else f"{event.loss:.4g}"
    left = "" if event.eta_s is None else f"   {duration(event.eta_s)} left"
    return (
        f"update {event.update:,} of {event.updates:,}   loss {loss}   lr {event.lr:.3g}   "
        f"{event.samples_per_s:,.0f} samples/s{left}   {event.memory_bytes / 1e6:,.0f} MB"
    )


def curve(values: Sequence[float], width: int = WIDTH) -> str:
    """The values as bars, several to a bar where they are many: each bar is their mean."""
    if not values:
        return ""
    count = min(width, len(values))
    cuts = [round(at * len(values) / count) for at in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(cuts)]
    low, high = min(means), max(means)
    spread = (high - low) or 1.0
    return "".join(BARS[round((one - low) / spread * (len(BARS) - 1))] for one in means)


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def columns(event: DriftFound | ServedDriftFound) -> str:
    """Their names, and how many the event has not."""
    names = ", ".join(one.column for one in event.columns)
    more = event.drifted - len(event.columns)
    return f"{names} and {more:,} more" if more else names


def line(event: Event) -> str:
    """What a person reads of an event; empty: nothing."""
    match event:
        case RunQueued():
            return f"queued by {event.actor}, priority {event.priority}"
        case RunStarted():
            return f"attempt {event.attempt} on {event.device}"
        case RunEvaluated():
            values = ", ".join(f"{name} {value:.4g}" for name, value in event.metrics.items())
            return f"epoch {event.epoch + 1}: {values}{' *' if event.is_best else ''}"
        case CheckpointSaved():
            return ""
        case RunInterrupted():
            return f"interrupted: {event.error}"
        case DriftFound():
            return f"its data have drifted in {columns(event)}"
        case ServedDriftFound():
            where = columns(event)
            return f"what is served has drifted from its data in {where}, by {event.rows:,} rows"
        case RunFinished():
            found = event.manifest
            values = ", ".join(f"{name} {value:.4g}" for name, value in found.metrics.items())
            return f"finished in {found.duration_s:.1f} s: {values}"
        case RunFailed():
            return f"failed ({event.code}): {event.error}"
        case RunCancelled():
            return f"cancelled by {event.actor}"
        case VersionRegistered():
            return f"registered as {event.model} {event.version}"
        case VersionCompiled():
            return f"compiled {event.model} {event.version}"
        case VersionReplayed():
            return f"replayed {event.requests:,} requests, {event.verdict}: {event.reason}"
        case VersionPromoted():
            return f"promoted {event.model} {event.version}, revision {event.revision}"
        case VersionWithheld():
            return f"withheld ({event.step}): {event.error}"
        case EventOmitted():
            return f"{event.kind}: not told, since it has {event.size_bytes:,} bytes"
        case _:
            return ""
