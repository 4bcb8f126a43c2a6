"""Options of `chimera models deploy` and `promote`: what a version must keep to while it is watched."""

from typing import Annotated, Any

import typer

Seconds = Annotated[
    int | None,
    typer.Option(
        "--watch", min=0, help="Seconds for which it is watched at least; a breach rolls it back."
    ),
]
NoWatch = Annotated[bool, typer.Option("--no-watch", help="It stays, whatever happens.")]
MinRequests = Annotated[
    int | None, typer.Option(min=0, help="It passes no earlier than it answered so many; 500.")
]
MaxErrorRate = Annotated[
    float | None, typer.Option(min=0, max=1, help="Errors that are its own, of its requests; 0.01.")
]
MaxP99Ratio = Annotated[
    float | None,
    typer.Option(min=0, help="Its 99th percentile, to the other's; 1.5. 0: any will do."),
]
MaxDisagreement = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="With what served before, which then shadows it; unset: any."),
]


def watch(
    seconds: int | None,
    min_requests: int | None,
    max_error_rate: float | None,
    max_p99_ratio: float | None,
    max_disagreement: float | None,
    *,
    no_watch: bool = False,
) -> dict[str, Any]:
    """The command's field `watch`, where any option says anything of it; else nothing."""
    given = {
        "window_s": seconds,
        "min_requests": min_requests,
        "max_error_rate": max_error_rate,
        "max_p99_ratio": max_p99_ratio,
        "max_disagreement": max_disagreement,
    }
    named: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if no_watch:
        if named:
            raise typer.BadParameter("--no-watch, and limits for a watch: one or the other")
        return {"watch": None}
    if not named:
        return {}
    from chimera.schemas.model_commands import WatchPolicy

    if max_p99_ratio == 0:
        named["max_p99_ratio"] = None
    return {"watch": WatchPolicy(**named)}
