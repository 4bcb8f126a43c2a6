"""What a person sees of a run: a bar over its updates, and a line for each epoch."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def shown(epochs: int) -> Generator[Callable[[dict[str, Any]], None]]:
    """A listener for `ExperimentTracker`; without a terminal it writes the epochs' lines alone."""
    console = Console(stderr=True)
    columns = (
        TextColumn("update {task.completed:.0f} of {task.total:.0f}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.4g}, {task.fields[rows_s]:,.0f} rows/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1, loss=float("nan"), rows_s=0.0)

        def hear(line: dict[str, Any]) -> None:
            if line["kind"] == "step":
                bar.update(
                    task,
                    completed=line["update"],
                    total=line["updates"],
                    loss=line.get("loss", float("nan")),
                    rows_s=line["rows_s"],
                )
            elif line["kind"] == "epoch":
                values = ", ".join(f"{name} {value:.4g}" for name, value in line["metrics"].items())
                mark = " *" if line["is_best"] else ""
                console.print(
                    f"epoch {line['epoch'] + 1} of {epochs}: {values}{mark}", highlight=False
                )

        yield hear
