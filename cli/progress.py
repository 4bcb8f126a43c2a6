"""What a person sees while something takes longer than a second: a bar, or a line that moves.

Nothing is drawn where nobody looks: on a pipe both stay silent.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


@contextmanager
def fetching(what: str) -> Generator[Callable[[int, int], None]]:
    """A bar that appears with the first byte; call it with (bytes done, bytes in all)."""
    columns = (
        TextColumn("fetching {task.description} (once)"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task(what, visible=False)

    def show(done_bytes: int, total_bytes: int) -> None:
        if not bar.live.is_started:
            bar.start()
        bar.update(task, completed=done_bytes, total=total_bytes, visible=True)
        if done_bytes == total_bytes:
            bar.stop()

    try:
        yield show
    finally:
        bar.stop()


@contextmanager
def counting(what: str) -> Generator[Callable[[int, int], None]]:
    """A bar that appears with the first of them; call it with (number done, number in all)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    task = bar.add_task(what, visible=False)

    def show(done: int, total: int) -> None:
        if not bar.live.is_started:
            bar.start()
        bar.update(task, completed=done, total=total, visible=True)

    try:
        yield show
    finally:
        bar.stop()


@contextmanager
def waiting(what: str) -> Generator[None]:
    """A line that moves while the block runs."""
    with Console(stderr=True).status(what):
        yield
