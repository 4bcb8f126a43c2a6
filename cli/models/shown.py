"""`chimera models list`, `show`, `history`, `what-served`: what the registry holds; reads only."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from chimera.schemas.deployments import Deployment, Live
    from chimera.stores.registry.records import Artifact, Model, Replay, Version
    from chimera.stores.registry.registry import Registry
    from chimera.stores.registry.training_runs import TrainingRun

T = TypeVar("T")

AsJson = Annotated[bool, typer.Option("--json", help="For a program to read.")]
Name = Annotated[str, typer.Argument(help="The model.")]


def list_models(as_json: AsJson = False) -> None:
    """Show every model: how many versions it has, and which of them serves."""

    async def work(registry: "Registry") -> "tuple[list[Model], list[Live]]":
        return await registry.models(), await registry.what_served()

    models, lives = ask(work)
    from chimera.cli.models import views

    if as_json:
        typer.echo(views.as_text(views.models_fields(models, lives)))
    else:
        views.show(views.models_table(models, lives))


def show(
    name: Name,
    version: Annotated[str | None, typer.Argument(help="One version; unset: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a model's versions, or one of them: digests, files, what each tier came to."""

    async def work(
        registry: "Registry",
    ) -> "tuple[list[Version], list[list[Artifact]], Live, Replay | None, TrainingRun | None]":
        found = [await registry.version(name, version)] if version else None
        versions = found or await registry.versions(name)
        tiers = [await registry.artifacts(name, one.version) for one in versions]
        replayed = await registry.replay(name, version) if version else None
        made_by = found[0].manifest.training_run if found else ""
        run = await registry.training_run(made_by) if made_by else None
        return versions, tiers, await registry.live(name), replayed, run

    versions, tiers, live, replayed, run = ask(work)
    from chimera.cli.models import views

    if as_json:
        fields = [
            {**views.version_fields(one), "artifacts": made}
            for one, made in zip(versions, tiers, strict=True)
        ]
        found = {"versions": fields, "live": live}
        typer.echo(views.as_text({**found, "replay": replayed} if replayed else found))
    elif version is None:
        views.show(f"{name}: {views.served_whole(live)}", views.versions_table(versions, tiers))
    else:
        (one,), (made,) = versions, tiers
        told = f"{name} {version}  {one.digest}"
        views.show(told, f"{name}: {views.served_whole(live)}", views.files_table(one))
        if run is not None:
            from chimera.cli.training.listing import origin

            views.show(origin(run))
        views.show(views.artifacts_table(made) if made else "not compiled yet")
        if replayed is not None:
            from chimera.cli.models import replay_table

            views.show(replay_table.line(replayed))


def history(name: Name, as_json: AsJson = False) -> None:
    """Show everything that was done to a model, oldest first: when, by whom, and why.

    And what became of versions that were watched: open, passed, breached or superseded.
    """

    async def work(registry: "Registry") -> "tuple[list[Deployment], Live]":
        return await registry.history(name), await registry.live(name)

    events, live = ask(work)
    from chimera.cli.models import views
    from chimera.schemas.deployments import watches

    ends = watches(live.tenant, name, events)
    if as_json:
        typer.echo(views.as_text(views.history_fields(events, ends)))
    else:
        views.show(views.history_table(events, ends) if events else f"{name} was never deployed")


def what_served(
    at: Annotated[
        str | None,
        typer.Option(help="1h, 7d ago, or ISO 8601, UTC unless it says otherwise; unset: now."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show which version of each model served, now or at a moment of the past."""
    from datetime import UTC, datetime

    from chimera.cli.models.moments import moment

    when = None if at is None else moment(at, datetime.now(UTC))

    async def work(registry: "Registry") -> "list[Live]":
        return await registry.what_served(when)

    lives = ask(work)
    from chimera.cli.models import views

    if as_json:
        typer.echo(views.as_text(lives))
    else:
        views.show(views.lives_table(lives) if lives else "nothing was deployed")


def ask(work: "Callable[[Registry], Awaitable[T]]") -> T:
    """`work` on the registry of the settings; an error is told and ends the command."""
    import asyncio

    from chimera.cli.refusals import told

    async def asked() -> T:
        from chimera.cli.models.registry import opened
        from chimera.schemas.settings import load

        async with opened(load().postgres) as registry:
            return await work(registry)

    with told("models"):
        return asyncio.run(asked())
