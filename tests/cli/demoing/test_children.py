"""The demo's processes: awaited, missed, and held at a gate until their servers are there."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chimera.cli.demoing.children import Children
from chimera.cli.demoing.early import early, open_gate
from chimera.cli.demoing.failure import DemoFailed

WAITS = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
FAILS = "import sys; sys.exit('no key')"


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    found = Children(tmp_path, {})
    yield found
    found.kill()


def test_child_that_is_ready_is_there_until_it_is_stopped(children: Children) -> None:
    child = children.start("a", [sys.executable, "-c", WAITS, str(children.ready_file("a"))])
    children.await_ready("a", 60)
    children.require()
    with pytest.raises(DemoFailed, match="the a stopped with exit status -15"):
        children.stop("a", within_s=60)
    assert child.exit_code == -15


def test_child_that_has_ended_is_told_with_its_last_words(children: Children) -> None:
    children.start("a", [sys.executable, "-c", FAILS])
    with pytest.raises(DemoFailed, match=r"the a ended with exit status 1(.|\n)*no key"):
        children.await_ready("a", 60)


def test_command_that_is_run_has_to_end_well(children: Children) -> None:
    children.run("a", [sys.executable, "-c", "pass"], 60)
    children.require()
    with pytest.raises(DemoFailed, match=r"the b ended with exit status 1(.|\n)*no key"):
        children.run("b", [sys.executable, "-c", FAILS], 60)


def test_command_waits_at_its_gate_and_then_knows_the_address(
    children: Children, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    child = children.start("a", early(gate, ["json"], "topics", "no-such-command"))
    assert child.wait(1) is None
    open_gate(gate, "127.0.0.1:9")
    assert child.wait(60) == 2
    assert "No such command" in children.log_file("a").read_text()
