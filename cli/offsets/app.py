"""`chimera offsets`: where lanes stand, why one halts, and the command that resumes it.

Who moves an offset, and what is passed over by that, is told to the audit log. `tests/cli/test_offsets.py`.
"""

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from chimera.cli.offsets.moves import Move
    from chimera.cli.offsets.position import Position
    from chimera.cli.offsets.positions import Desk
    from chimera.schemas.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Where lanes stand; setting it resumes a halted lane.")

T = TypeVar("T")
Bootstrap = Annotated[str | None, typer.Option(help="Kafka's host:port; wins over the setting.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Reason = Annotated[str, typer.Option(help="For the audit log.")]


@app.command("list")
def list_offsets(
    as_json: Annotated[bool, typer.Option("--json", help="For a program to read.")] = False,
    bootstrap: Bootstrap = None,
) -> None:
    """Show each input partition: committed, the log's bounds, the last answered request."""

    async def look(desk: "Desk") -> "list[Position]":
        return await desk.survey()

    found = _at_desk(bootstrap, look)
    if as_json:
        import json

        typer.echo(json.dumps([_fields(one) for one in found], indent=2))
    else:
        _show(found)


@app.command("set")
def set_offset(
    topic: Annotated[str, typer.Argument(help="An input topic's whole name.")],
    partition: Annotated[int, typer.Argument(min=0)],
    offset: Annotated[int, typer.Argument(min=0, help="The next request to answer.")],
    yes: Yes = False,
    reason: Reason = "",
    bootstrap: Bootstrap = None,
) -> None:
    """Let a lane go on at OFFSET: one that halts, at once; any other, only while no node runs."""

    async def plan(desk: "Desk") -> "list[Move]":
        from chimera.cli.offsets import moves

        return await moves.to_offset(desk, topic, partition, offset)

    _carry_out(_at_desk(bootstrap, plan), yes, reason, bootstrap)


@app.command()
def restore(
    topic: Annotated[str | None, typer.Argument(help="Its whole name; else all.")] = None,
    partition: Annotated[int | None, typer.Argument(min=0, help="Else all that halt.")] = None,
    yes: Yes = False,
    reason: Reason = "",
    bootstrap: Bootstrap = None,
) -> None:
    """Let lanes go on after the last request that has an outcome.

    One that halts goes on at once; any other may be restored only while no node runs.
    """
    from chimera.cli.progress import counting

    async def plan(desk: "Desk") -> "list[Move]":
        from chimera.cli.offsets import moves

        with counting("lanes looked at") as show:
            return await moves.after_outcomes(desk, topic, partition, show)

    _carry_out(_at_desk(bootstrap, plan), yes, reason, bootstrap)


def _carry_out(planned: "Sequence[Move]", yes: bool, reason: str, bootstrap: str | None) -> None:
    from chimera.cli.models.actor import actor
    from chimera.cli.progress import counting
    from chimera.cli.recording import send_what_waits
    from chimera.schemas.settings import load

    for move in planned:
        typer.echo("\n".join(move.told()))
    if not planned:
        typer.echo("nothing to do")
        return
    if not yes and not typer.confirm("commit?"):
        raise typer.Exit(1)

    async def carry_out(desk: "Desk") -> None:
        from chimera.cli.offsets import moves

        with counting("lanes moved") as show:
            await moves.carry_out(desk, load(), planned, actor(), reason, show)

    try:
        _at_desk(bootstrap, carry_out)
    finally:
        send_what_waits(load(), bootstrap)
    typer.echo("committed; nodes go on from there")


def _fields(position: "Position") -> dict[str, Any]:
    committed = position.committed
    return {
        "topic": position.topic,
        "partition": position.partition,
        "committed": committed.offset if committed else None,
        "start": position.start,
        "end": position.end,
        "lag": position.lag,
        "answered": position.answered,
        "topic_id": position.topic_id,
        "committed_topic_id": committed.topic_id if committed else None,
        "trouble": position.trouble,
    }


def _show(positions: "Sequence[Position]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("topic", "partition", box=None)
    for name in ("committed", "start", "end", "lag", "answered"):
        table.add_column(name, justify="right")
    table.add_column("topic id")
    table.add_column("a lane would")
    for one in positions:
        fields = _fields(one)
        numbers = (fields[name] for name in ("committed", "start", "end", "lag", "answered"))
        same = fields["committed_topic_id"] in (None, "", one.topic_id)
        shown_id = (
            one.topic_id if same else f"{one.topic_id}, committed {fields['committed_topic_id']}"
        )
        verdict = f"halt: {one.trouble}" if one.trouble else "open"
        shown = ("-" if number is None else str(number) for number in numbers)
        style = "red" if one.trouble else ""
        table.add_row(one.topic, str(one.partition), *shown, shown_id, verdict, style=style)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 400
    console.print(table)


def _at_desk(bootstrap: str | None, use: "Callable[[Desk], Awaitable[T]]") -> T:
    import asyncio

    from chimera.cli.refusals import told
    from chimera.cli.stack.state import find_bootstrap
    from chimera.schemas.settings import load

    with told("offsets"):
        settings = load()
        return asyncio.run(_opened(settings, bootstrap or find_bootstrap(settings), use))


async def _opened(settings: "Settings", bootstrap: str, use: "Callable[[Desk], Awaitable[T]]") -> T:
    from chimera.cli.offsets.positions import opened

    async with opened(settings, bootstrap) as desk:
        return await use(desk)
