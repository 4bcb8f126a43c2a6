"""What is installed is what is in the checkout: packages, entry points, dependencies, commands."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from typer.models import CommandInfo

from chimera.cli.main import app

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"))
ROOMS = ("agents", "cli", "schemas", "stores", "topics", "workers")


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def packages_in_folders() -> set[str]:
    """`chimera.<room>[.<part>]` of every folder with an __init__.py."""
    folders = (file.parent for room in ROOMS for file in (ROOT / room).rglob("__init__.py"))
    return {"chimera." + ".".join(folder.relative_to(ROOT).parts) for folder in folders}


def checkout() -> list[str]:
    """What git has, or would have: no build output."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.check_output(command, cwd=ROOT, text=True).splitlines()
    return [name for name in names if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in a wheel that is built as it would be published."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in checkout():
        if name.startswith(tuple(f"{room}/" for room in ROOMS)) or "/" not in name:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    command = [sys.executable, "-c", build, str(target)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    with zipfile.ZipFile(next(target.glob("*.whl"))) as built:
        return set(built.namelist())


def test_project_lists_each_package_that_is_a_folder() -> None:
    tool = project()["tool"]["setuptools"]
    assert set(tool["packages"]) == packages_in_folders()
    tops = {f"chimera.{room}": room for room in ROOMS}
    assert {name: tool["package-dir"][name] for name in tops} == tops


def test_wheel_holds_each_module_of_each_package(wheel: set[str]) -> None:
    ours = [name for name in checkout() if name.split("/")[0] in ROOMS]
    expected = {f"chimera/{name}" for name in ours if Path(name).suffix in {".py", ".json"}}
    assert expected - wheel == set()


def test_wheel_marks_each_room_as_typed(wheel: set[str]) -> None:
    assert {f"chimera/{room}/py.typed" for room in ROOMS} <= wheel


def test_wheel_holds_nothing_else(wheel: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"chimera"}


def test_each_entry_point_resolves() -> None:
    found = importlib.metadata.distribution("chimera-stream").entry_points
    assert {point.name for point in found} == {"chimera"}
    for point in found:
        assert callable(point.load())


def test_each_dependency_has_its_reason_and_an_upper_bound() -> None:
    """Tool stubs and a pinned version aside; a reason is the comment on the line."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    lines = re.findall(
        r'^(?:  |demo = \[|mlflow = \[|tensorrt = \[)"([^"]+)"(.*)$', text, re.MULTILINE
    )
    assert len(lines) > 20
    assert [name for name, rest in lines if "#" not in rest] == []
    requirements = [name.split(";")[0] for name, _ in lines if not name.startswith("types-")]
    assert [one for one in requirements if not re.search(r"[<=]=?\d", one)] == []


def test_each_command_of_the_documents_is_a_target() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for page in PAGES:
        used = set(re.findall(r"\bmake ([a-z-]+)(?=[`\s])", code(page)))
        assert used - targets == set(), page


def test_each_chimera_command_of_the_documents_exists() -> None:
    groups = {str(group.name) for group in app.registered_groups}
    known = groups | {str(command.name or called(command)) for command in app.registered_commands}
    for page in PAGES:
        used = set(re.findall(r"(?:^|`|run )chimera ([a-z]+)", code(page), re.MULTILINE))
        assert used - known == set(), page


def called(command: CommandInfo) -> str:
    return command.callback.__name__ if command.callback else ""


def code(page: Path) -> str:
    """What a page shows as code: blocks and spans."""
    text = page.read_text("utf-8")
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL))


def test_ci_runs_targets_of_the_makefile_alone() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    steps = re.findall(r"^step (.*)$", script, re.MULTILINE)
    assert steps
    assert all(step.startswith("make ") for step in steps)


def test_version_stands_in_the_changelog() -> None:
    assert f"## [{project()['project']['version']}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")
