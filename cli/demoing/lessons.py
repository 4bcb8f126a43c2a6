"""One run of the demo as its events tell it: in the queue, trained, registered, compiled, promoted.

`tests/cli/demoing/test_lessons.py`.
"""

from collections.abc import Sequence

from chimera.cli.demoing.failure import DemoFailed
from chimera.cli.training.watching import Watched, curve, line, progress
from chimera.schemas.training_events import (
    DriftFound,
    Event,
    RunCancelled,
    RunFailed,
    RunFinished,
    VersionCompiled,
    VersionPromoted,
    VersionRegistered,
    VersionWithheld,
)
from chimera.schemas.training_manifest import TrainingManifest

WIDTH = 60  # of a curve: beside a stage's name there is room for no more


class Lesson:
    """Grows as its events are heard."""

    def __init__(self, version: str) -> None:
        self.version = version  # and its run's id
        self.manifest: TrainingManifest | None = None  # once it is trained
        self.drift: DriftFound | None = None
        self.digest = ""  # once its version is registered
        self.is_compiled = False
        self.promoted: VersionPromoted | None = None
        self.told: list[str] = []  # for people, of what becomes of it
        self._watched = Watched()
        self._heard = 0

    @property
    def live(self) -> str:
        """Where it is, and its loss as a curve; nothing before its first step."""
        last = self._watched.last
        return "" if last is None else f"{progress(last)}\n{self.curve}"

    @property
    def curve(self) -> str:
        return curve(self._watched.losses, WIDTH)

    def take_told(self) -> list[str]:
        """What people are told of it since the last time."""
        found, self.told = self.told, []
        return found

    def read(self, events: Sequence[Event]) -> "Lesson":
        """Take what has come since the last time.

        Raises:
            DemoFailed: it failed, or its version was withheld; says why.
        """
        for event in events[self._heard :]:
            if getattr(event, "run_id", None) == self.version:
                self._watched.hear(event)
                self._hear(event)
        self._heard = len(events)
        return self

    def _hear(self, event: Event) -> None:
        match event:
            case RunFinished():
                self.manifest = event.manifest
            case DriftFound():
                self.drift = event
                self.told.append(alert(event))
                return
            case VersionRegistered():
                self.digest = event.manifest_sha256
            case VersionCompiled():
                self.is_compiled = True
            case VersionPromoted():
                self.promoted = event
            case RunFailed() | RunCancelled() | VersionWithheld():
                raise DemoFailed(f"run {self.version}: {line(event)}")
            case _:
                return
        self.told.append(line(event))


def alert(drift: DriftFound) -> str:
    """In a line, the surest column first."""
    surest = drift.columns[0]
    return (
        f"drift alert: {drift.drifted} columns are not those of run {drift.previous_run_id};"
        f" {surest.column}: its mean moved by {surest.mean_delta:+.1f} sigma, PSI {surest.psi:.1f}"
    )
