"""`chimera db`: the registry's tables, up, down, and which revision they are at."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Never, TypeVar

import typer

if TYPE_CHECKING:
    from chimera.cli.postgres.address import Address

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="The registry's tables: upgrade, downgrade, current.")


@app.command()
def upgrade(
    revision: Annotated[str, typer.Argument(help="Where to; +1: one further.")] = "head",
) -> None:
    """Bring the tables to the revision that this release needs; nothing happens twice."""

    async def work(address: "Address") -> str | None:
        from chimera.stores import schema

        await schema.upgrade(address.owner_dsn, address.application_role, revision)
        return await schema.current(address.owner_dsn)

    typer.echo(f"the registry is at revision {_run(work)}")


@app.command()
def downgrade(
    revision: Annotated[str, typer.Argument(help="Where to; base: no tables at all.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Go back to an earlier revision; what later ones held is lost."""

    async def work(address: "Address") -> str | None:
        from chimera.stores import schema

        await schema.downgrade(address.owner_dsn, address.application_role, revision)
        return await schema.current(address.owner_dsn)

    if not yes:
        typer.confirm(
            f"Everything that the registry holds after {revision} is lost. Go on?", abort=True
        )
    typer.echo(f"the registry is at revision {_run(work) or 'base: it has no tables'}")


@app.command()
def current() -> None:
    """Show the revision of the tables, and the one that this release needs. Exit 1: they differ."""
    from chimera.stores.migrations import HEAD

    async def work(address: "Address") -> str | None:
        from chimera.stores import schema

        return await schema.current(address.owner_dsn)

    found = _run(work)
    typer.echo(f"{found or 'no tables'} (this release needs {HEAD})")
    if found != HEAD:
        raise typer.Exit(1)


def _run(work: "Callable[[Address], Awaitable[T]]") -> T:
    """`work` on the database of the settings; an error is told and ends the command."""
    import asyncio

    from chimera.cli.postgres.address import administered
    from chimera.schemas.errors import ChimeraError
    from chimera.schemas.settings import load

    async def awaited(address: "Address") -> T:
        return await work(address)

    try:
        with administered(load().postgres) as address:
            return asyncio.run(awaited(address))
    except ChimeraError as error:
        _fail(str(error))


def _fail(message: str) -> Never:
    typer.echo(f"chimera db: {message}", err=True)
    raise typer.Exit(1)
