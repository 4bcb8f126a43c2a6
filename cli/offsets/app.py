"""`chimera offsets`: where lanes stand, why one halts, and the command that resumes it.

Who moves an offset, and what is passed over by that, is told to the audit log. `tests/cli/test_offsets.py`.
"""

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from chimera.cli.offsets.positions import Desk, Position
    from chimera.schemas.settings import Settings

    Move = tuple[Position, int]

app = typer.Typer(no_args_is_help=True, help="Where lanes stand; setting it resumes a halted lane.")

T = TypeVar("T")
Bootstrap = Annotated[str | None, typer.Option(help="Kafka's host:port; wins over the setting.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Reason = Annotated[str, typer.Option(help="For the audit log.")]
Topic = Annotated[str, typer.Argument(help="An input topic's whole name.")]


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
    topic: Topic,
    partition: Annotated[int, typer.Argument(min=0)],
    offset: Annotated[int, typer.Argument(min=0, help="The next request to answer.")],
    yes: Yes = False,
    reason: Reason = "",
    bootstrap: Bootstrap = None,
) -> None:
    """Let a lane go on at OFFSET: one that halts, at once; any other, only while no node runs."""

    async def plan(desk: "Desk") -> "list[Move]":
        from chimera.cli.offsets.positions import chosen

        (position,) = chosen(await desk.positions(), topic, partition)
        position = await desk.look_back(position)
        await desk.require_halted(position)
        return [(position, offset)]

    _carry_out(_at_desk(bootstrap, plan), yes, reason, bootstrap)


@app.command()
def restore(
    topic: Topic,
    partition: Annotated[
        int | None, typer.Argument(min=0, help="Else all of them that halt.")
    ] = None,
    yes: Yes = False,
    reason: Reason = "",
    bootstrap: Bootstrap = None,
) -> None:
    """Let lanes go on after the last request that has an outcome.

    Those that halt do so at once; any other may be restored only while no node runs.
    """

    async def plan(desk: "Desk") -> "list[Move]":
        from chimera.cli.offsets.positions import chosen
        from chimera.schemas.errors import ConfigurationError

        wanted: list[Move] = []
        for one in chosen(await desk.positions(), topic, partition):
            position = await desk.look_back(one)
            if partition is None and not position.trouble:
                continue
            if position.restored is not None:
                await desk.require_halted(position)
                wanted.append((position, position.restored))
            elif partition is not None:
                raise ConfigurationError(
                    f"no result tells where {topic}-{partition} was: use `chimera offsets set`"
                )
        return wanted

    _carry_out(_at_desk(bootstrap, plan), yes, reason, bootstrap)


def _carry_out(wanted: "Sequence[Move]", yes: bool, reason: str, bootstrap: str | None) -> None:
    for position, offset in wanted:
        where = f"{position.topic}-{position.partition}"
        before = position.committed.offset if position.committed else None
        typer.echo(f"{where}: {'nothing' if before is None else before} -> {offset}")
        passed_over, again = position.consequences(offset)
        if again:
            typer.echo(f"  requests {_told(again)} have outcomes: they get another one")
        if passed_over:
            typer.echo(f"  requests {_told(passed_over)} are passed over: no outcome is known")
    if not wanted:
        typer.echo("nothing to do")
    elif yes or typer.confirm("commit?"):
        for position, offset in wanted:
            _move(position, offset, reason, bootstrap)
        typer.echo("committed; nodes go on from there")
    else:
        raise typer.Exit(1)


def _told(offsets: range) -> str:
    return f"{offsets.start} to {offsets.stop - 1}"


def _move(position: "Position", offset: int, reason: str, bootstrap: str | None) -> None:
    """Its event is on the disk before."""
    from chimera.cli.recording import own_act, recorded
    from chimera.cli.refusals import told
    from chimera.schemas.control_actions import Lane, offsets_set
    from chimera.schemas.settings import load

    with told("offsets"):
        settings = load()
        lane = Lane(settings.kafka.group, position.topic, position.partition)
        before = position.committed.offset if position.committed else None
        consequences = position.consequences(offset)
        event = offsets_set(own_act(reason), lane, before, offset, *consequences)
        with recorded(settings, event, bootstrap):
            doubt = _at_desk(bootstrap, lambda desk: desk.move(position, offset))
    if doubt:
        typer.echo(f"chimera offsets: {doubt}", err=True)
        raise typer.Exit(1)


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
