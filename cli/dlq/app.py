"""`chimera dlq`: what failed for good, why, and the command that sends it back, once. `tests/cli/test_dlq.py`."""

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chimera.agents.redriving.redrive import Redrive, Report, Wish

app = typer.Typer(no_args_is_help=True, help="Dead letters: list them, show one, replay them.")

T = TypeVar("T")
INFERENCE = "inference.requests.dlq"

TopicName = Annotated[str, typer.Option("--topic", help="Or training.triggers.dlq.")]
Bootstrap = Annotated[str | None, typer.Option(help="Kafka's host:port; wins over the setting.")]
Codes = Annotated[list[str] | None, typer.Option("--code", help="Of these errors alone.")]
Since = Annotated[str | None, typer.Option(help="Written later: 1h, 7d, or an ISO 8601 time.")]
AsJson = Annotated[bool, typer.Option("--json", help="For a program to read.")]


@app.command("list")
def list_letters(
    code: Codes = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    topic: TopicName = INFERENCE,
    bootstrap: Bootstrap = None,
    as_json: AsJson = False,
) -> None:
    """Show dead letters, the newest last: which request, what was wrong, whether it was replayed."""
    wish = _wish(code, since, None, "")

    async def look(redrive: "Redrive") -> "list[dict[str, Any]]":
        from chimera.cli.dlq.shown import listed

        return await listed(redrive, wish, limit)

    found = _at(topic, bootstrap, look)
    from chimera.cli.dlq import shown

    shown.show_all(found, as_json)


@app.command()
def show(
    partition: Annotated[int, typer.Argument(min=0)],
    offset: Annotated[int, typer.Argument(min=0)],
    topic: TopicName = INFERENCE,
    bootstrap: Bootstrap = None,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter: the request as it was, and its story. Exit 1: there is none."""

    async def look(redrive: "Redrive") -> "dict[str, Any] | None":
        from chimera.cli.dlq.shown import whole

        return await whole(redrive, partition, offset)

    found = _at(topic, bootstrap, look)
    if found is None:
        typer.echo(f"chimera dlq: no dead letter at {topic}:{partition}:{offset}", err=True)
        raise typer.Exit(1)
    from chimera.cli.dlq import shown

    shown.show_one(found, as_json)


@app.command()
def replay(
    code: Codes = None,
    since: Since = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    without_deadline: Annotated[
        bool, typer.Option("--without-deadline", help="Leave out callers' deadlines.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would do.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    reason: Annotated[str, typer.Option(help="For the audit log.")] = "",
    topic: TopicName = INFERENCE,
    bootstrap: Bootstrap = None,
) -> None:
    """Send dead letters back to their topic, each at most once: the same bytes, a new request."""
    wish = _wish(code, since, limit, reason, drops_deadline=without_deadline)

    async def look(redrive: "Redrive") -> "Report":
        return await redrive.look(wish)

    async def send(redrive: "Redrive") -> "Report":
        return await redrive.replay(wish)

    if dry_run or not yes:
        planned = _at(topic, bootstrap, look)
        _say("would be replayed", planned)
        if dry_run or not planned.replayed:
            return
        typer.confirm("replay?", abort=True)
    _say("replayed", _at(topic, bootstrap, send))


def _say(done: str, report: "Report") -> None:
    typer.echo(f"{report.replayed} {done}, {report.before} were before")
    for why, count in sorted(report.refused.items()):
        typer.echo(f"{count} left: {why}")


# A wish is of as many parts as the command has options.
def _wish(
    codes: list[str] | None,
    since: str | None,
    limit: int | None,
    reason: str,
    *,
    drops_deadline: bool = False,
) -> "Wish":
    import time

    from chimera.agents.redriving.redrive import Wish
    from chimera.cli.models.actor import actor
    from chimera.cli.models.moments import moment_ms
    from chimera.schemas.errors import BY_CODE

    if unknown := sorted(set(codes or ()) - set(BY_CODE)):
        raise typer.BadParameter(f"{unknown[0]} is no error's code: {', '.join(BY_CODE)}")
    now_ms = time.time_ns() // 1_000_000
    return Wish(
        actor=actor(),
        reason=reason,
        since_ms=moment_ms(since, now_ms) if since else 0,
        codes=frozenset(codes or ()),
        limit=limit,
        drops_deadline=drops_deadline,
    )


def _at(topic: str, bootstrap: str | None, use: "Callable[[Redrive], Awaitable[T]]") -> T:
    import asyncio

    from chimera.agents.lanes import failpoints
    from chimera.agents.redriving.redrive import Redrive
    from chimera.cli.refusals import told
    from chimera.cli.stack.state import find_bootstrap
    from chimera.schemas.errors import ConfigurationError
    from chimera.schemas.settings import load
    from chimera.topics.catalogue import catalogue

    async def opened() -> T:
        settings = load()
        topics, prefix = catalogue(settings), settings.kafka.topic_prefix
        known = {one.name: one for one in (topics.dead_letters, topics.training_dead_letters)}
        dead = known.get(topic) or known.get(prefix + topic)
        if dead is None:
            raise ConfigurationError(f"{topic} has no dead letters: {', '.join(known)} have")
        where = bootstrap or find_bootstrap(settings)
        step = failpoints.from_environment()
        async with Redrive(settings, where, dead, step).opened() as redrive:
            return await use(redrive)

    with told("dlq"):
        return asyncio.run(opened())
