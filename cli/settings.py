"""`chimera settings`: every setting, what it is now, and what it means."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo


def settings(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print docs/settings.md: the defaults.")
    ] = False,
) -> None:
    """List the environment variables that Chimera reads, with their present values."""
    from rich.console import Console
    from rich.table import Table

    from chimera.schemas.errors import ChimeraError
    from chimera.schemas.settings import load

    if markdown:
        typer.echo(page(), nl=False)
        return
    try:
        now = load()
    except ChimeraError as error:
        typer.echo(f"chimera settings: {error}", err=True)
        raise typer.Exit(1) from None
    table = Table(box=None)
    table.add_column("variable", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("meaning")
    for section, name, field in fields():
        value = getattr(getattr(now, section), name)
        table.add_row(variable(section, name), shown(value), field.description)
    Console().print(table)


def fields() -> "Iterator[tuple[str, str, FieldInfo]]":
    """Section, name and definition of every setting, in the order of `Settings`."""
    from chimera.schemas.settings import Settings

    for section, holder in Settings.model_fields.items():
        kind: type[BaseModel] = holder.default.__class__
        for name, field in kind.model_fields.items():
            yield section, name, field


def variable(section: str, name: str) -> str:
    return f"CHIMERA_{section}__{name}".upper()


def shown(value: object) -> str:
    """A value as the environment takes it; a secret stays one."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        return json.dumps(value)
    return str(value)


def page() -> str:
    """The documentation of every setting, as Markdown."""
    lines = [
        "# Settings",
        "",
        "Made by `make docs` from the descriptions in `schemas/settings.py`; a test keeps it equal.",
        "",
        "Each is an environment variable; the same names, without `CHIMERA_` and in lower case,",
        "stand in sections of a TOML file: `chimera.toml` in the working folder, or the file that",
        "`CHIMERA_CONFIG` names. The environment wins; `null` in it unsets what the file sets. A list",
        "is written as JSON.",
        "`chimera settings` shows the values that are in force.",
    ]
    last = ""
    for section, name, field in fields():
        if section != last:
            lines += ["", f"## {section}", "", "| variable | default | meaning |", "|---|---|---|"]
            last = section
        default = f"`{shown(field.default)}`" if shown(field.default) else "unset"
        lines.append(f"| `{variable(section, name)}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"
