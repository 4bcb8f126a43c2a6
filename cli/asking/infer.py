"""`chimera infer`: one request from a file, and its result.

`question` says what the file may hold. `tests/cli/test_infer.py` asks a real node.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from chimera.cli.asking.asking import Answer

NO_ANSWER = 2


def infer(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    file: Annotated[Path, typer.Option("--input", help="A JSON file; - for standard input.")],
    version: Annotated[str | None, typer.Option(help="Which version; else the latest.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the result.")] = 10.0,
    bootstrap: Annotated[
        str | None, typer.Option(help="Kafka's host:port; wins over the setting.")
    ] = None,
) -> None:
    """Publish one request, wait for its result, and print it.

    Exit 1: the result is an error, or the request could not be sent; 2: no result in time.
    """
    import asyncio

    from chimera.cli.asking.asking import ask
    from chimera.cli.asking.question import question
    from chimera.cli.progress import waiting
    from chimera.cli.stack.stack import find_bootstrap
    from chimera.schemas.errors import ChimeraError
    from chimera.schemas.settings import load

    try:
        settings = load()
        asked = question(settings, model, version, _read(file))
        where = bootstrap or find_bootstrap(settings)
        with waiting("waiting for the result"):
            answer = asyncio.run(ask(settings, where, asked, timeout))
    except ChimeraError as error:
        typer.echo(f"chimera infer: {error}", err=True)
        raise typer.Exit(1) from None
    if answer is None:
        typer.echo(
            f"chimera infer: no result within {timeout:g} s; does a node run? "
            "`chimera status` and `chimera doctor` tell",
            err=True,
        )
        raise typer.Exit(NO_ANSWER)
    _print(answer)
    if answer.code is not None:
        raise typer.Exit(1)


def _read(file: Path) -> bytes:
    from chimera.schemas.errors import ConfigurationError

    try:
        return typer.get_binary_stream("stdin").read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None


def _print(answer: "Answer") -> None:
    """For people as JSON in colour, for programs as it came; the error goes to standard error."""
    import sys

    import orjson

    from chimera.cli.asking import results

    found = results.as_json(answer.value, answer.head)
    if answer.code is not None:
        typer.echo(f"chimera infer: {answer.code}: {found.get('error')}", err=True)
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print_json(orjson.dumps(found).decode())
        typer.echo(f"answered after {answer.took_s * 1000:.1f} ms", err=True)
    else:
        typer.echo(answer.value if answer.head < 0 else orjson.dumps(found))
