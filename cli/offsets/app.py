"""`chimera offsets`: where lanes stand, why one halts, and the command that resumes it."""

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from chimera.cli.offsets.positions import Desk, Position
    from chimera.schemas.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Where lanes stand; setting it resumes a halted lane.")

T = TypeVar("T")
Bootstrap = Annotated[str | None, typer.Option(help="Kafka's host:port; wins over the setting.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Topic = Annotated[str, typer.Argument(help="An input topic's whole name.")]


@app.command("list")
def list_offsets(
    as_json: Annotated[bool, typer.Option("--json", help="For a program to read.")] = False,
    bootstrap: Bootstrap = None,
) -> None:
    """Show each input partition: committed, the log's bounds, the last answered request."""

    async def look(desk: "Desk") -> "list[Position]":
        return [await desk.look_back(one) for one in await desk.positions()]

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
    bootstrap: Bootstrap = None,
) -> None:
    """Let the lane go on at OFFSET. Only while no node runs."""

    async def move(desk: "Desk") -> None:
        from chimera.cli.offsets.positions import chosen

        (position,) = chosen(await desk.positions(), topic, partition)
        await desk.require_nobody()
        await _move(desk, [(await desk.look_back(position), offset)], yes)

    _at_desk(bootstrap, move)


@app.command()
def restore(
    topic: Topic,
    partition: Annotated[int | None, typer.Argument(min=0, help="Else all of them.")] = None,
    yes: Yes = False,
    bootstrap: Bootstrap = None,
) -> None:
    """Let lanes go on after the last request that has an outcome. Only while no node runs."""

    async def move(desk: "Desk") -> None:
        from chimera.cli.offsets.positions import chosen
        from chimera.schemas.errors import ConfigurationError

        await desk.require_nobody()
        wanted: list[tuple[Position, int]] = []
        for one in chosen(await desk.positions(), topic, partition):
            position = await desk.look_back(one)
            if position.restored is not None:
                wanted.append((position, position.restored))
            elif partition is not None:
                raise ConfigurationError(
                    f"no result tells where {topic}-{partition} was: use `chimera offsets set`"
                )
        await _move(desk, wanted, yes)

    _at_desk(bootstrap, move)


async def _move(desk: "Desk", wanted: "Sequence[tuple[Position, int]]", yes: bool) -> None:
    for position, offset in wanted:
        where = f"{position.topic}-{position.partition}"
        before = position.committed.offset if position.committed else None
        typer.echo(f"{where}: {'nothing' if before is None else before} -> {offset}")
        for consequence in _consequences(position, offset):
            typer.echo(f"  {consequence}")
    if not wanted:
        typer.echo("nothing to do")
    elif yes or typer.confirm("commit?"):
        for position, offset in wanted:
            await desk.move(position, offset)
        typer.echo("committed; nodes go on from there")
    else:
        raise typer.Exit(1)


def _consequences(position: "Position", offset: int) -> "list[str]":
    """What moving there means for requests; nothing to say where it is the natural place."""
    found: list[str] = []
    decided = position.restored
    if decided is not None and offset < decided:
        found.append(f"requests {offset} to {decided - 1} have outcomes: they get another one")
    first = max(position.start, decided if decided is not None else 0)
    if offset > first:
        found.append(f"requests {first} to {offset - 1} are passed over: no outcome is known")
    return found


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

    from chimera.cli.stack.stack import find_bootstrap
    from chimera.schemas.errors import ChimeraError
    from chimera.schemas.settings import load

    try:
        settings = load()
        return asyncio.run(_opened(settings, bootstrap or find_bootstrap(settings), use))
    except ChimeraError as error:
        typer.echo(f"chimera offsets: {error}", err=True)
        raise typer.Exit(1) from None


async def _opened(settings: "Settings", bootstrap: str, use: "Callable[[Desk], Awaitable[T]]") -> T:
    from chimera.cli.offsets.positions import opened

    async with opened(settings, bootstrap) as desk:
        return await use(desk)
