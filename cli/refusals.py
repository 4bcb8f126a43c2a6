"""An error of ours at the end of a command: what it says on standard error, and exit status 1."""

from collections.abc import Generator
from contextlib import contextmanager

import typer


@contextmanager
def told(command: str) -> Generator[None]:
    """What the block raises ends the command, if it is one of our own errors; others are bugs."""
    from chimera.schemas.errors import ChimeraError

    try:
        yield
    except ChimeraError as error:
        typer.echo(f"chimera {command}: {error}", err=True)
        raise typer.Exit(1) from None
