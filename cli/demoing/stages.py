"""What a person sees while the demo works: a bar for each step, and a line when it is done.

Bars move on a terminal only; the lines, with their seconds, appear everywhere, on standard error.
"""

import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Stages:
    """Use it with `with`; several steps may run at once."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(),
            TextColumn("{task.fields[told]}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self.took_s: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def begin(self, what: str, total: int | None = None) -> "Stage":
        """A new step; `total` is None where nobody can tell how far it is."""
        return Stage(self, self._bars, self._bars.add_task(what, total=total, told=""), what)

    def end(self, what: str, took_s: float) -> None:
        self.took_s[what] = took_s
        self._console.print(f"{took_s:6.1f} s  {what}")

    def say(self, what: str) -> None:
        self._console.print(what, markup=False, soft_wrap=True)


class Stage:
    """One step; ended by `done`, or by leaving its `with` block without an error."""

    def __init__(self, stages: Stages, bars: Progress, task: TaskID, what: str) -> None:
        self._stages = stages
        self._bars = bars
        self._task = task
        self._what = what
        self._started_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.done()

    def update(self, done: int, told: str = "") -> None:
        self._bars.update(self._task, completed=done, told=told or f"{done:,}")

    def fetch(self, done_bytes: int, total_bytes: int) -> None:
        """As `kafka_jars.Progress` wants it: a download is the long part of this step."""
        told = f"downloading {done_bytes >> 20} of {total_bytes >> 20} MiB, once"
        self._bars.update(self._task, completed=done_bytes, total=total_bytes, told=told)
        if done_bytes == total_bytes:
            self._bars.update(self._task, completed=0, total=None, told="")

    def done(self) -> None:
        self._bars.remove_task(self._task)
        self._stages.end(self._what, time.monotonic() - self._started_s)
