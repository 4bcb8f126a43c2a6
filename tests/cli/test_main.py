"""The command line as a whole: help is there, and costs nothing but typer."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from chimera.cli.main import app

LIGHT = {"chimera", "typer", "rich", "shellingham", "annotated_doc", "_virtualenv"}
IMPORTED = """
import sys
before = set(sys.modules)
import chimera.cli.main
new = {name.split(".")[0] for name in set(sys.modules) - before}
print(*sorted(name for name in new if name not in sys.stdlib_module_names))
rooms = {name for name in sys.modules if name.startswith("chimera.")}
print(*sorted(name for name in rooms if not name.startswith("chimera.cli")))
"""


def commands() -> list[tuple[str, ...]]:
    names = [
        command.name or (command.callback.__name__ if command.callback else "")
        for command in app.registered_commands
    ]
    return [(), *((name,) for name in names), *((str(g.name),) for g in app.registered_groups)]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_help_of_each_command_is_there(command: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*command, "--help"])
    assert shown.exit_code == 0
    assert "Usage" in shown.output


def test_help_imports_neither_rooms_nor_libraries() -> None:
    command = [sys.executable, "-c", IMPORTED]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    imported, rooms = done.stdout.split("\n")[:2]
    assert set(imported.split()) - LIGHT == set()
    assert rooms == ""
