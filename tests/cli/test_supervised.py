"""A supervised node: ready when it says so, started again when that may help, else given up."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chimera.cli.stack.supervised import LONGEST_DELAY_S, NodeFailed, Supervised, delay_s


def command(ready_file: Path, then: str) -> list[str]:
    code = f"import pathlib, sys, time; pathlib.Path({str(ready_file)!r}).touch(); {then}"
    return [sys.executable, "-c", code]


def eventually(claim: Callable[[], bool], node: Supervised, within_s: float = 60) -> None:
    until = time.monotonic() + within_s
    while not claim():
        assert time.monotonic() < until
        node.watch()
        time.sleep(0.02)


def test_node_is_ready_once_its_file_is_there(tmp_path: Path) -> None:
    node = Supervised(command(tmp_path / "ready", "time.sleep(600)"), tmp_path / "ready")
    node.start()
    eventually(lambda: node.state.ready, node)
    node.stop(5)
    assert not node.state.ready


def test_node_that_exits_with_70_is_started_again(tmp_path: Path) -> None:
    marker = tmp_path / "second"
    second = f"p = pathlib.Path({str(marker)!r}); "
    then = second + "exists = p.exists(); p.touch(); time.sleep(600) if exists else sys.exit(70)"
    node = Supervised(command(tmp_path / "ready", then), tmp_path / "ready")
    node.start()
    first = node.state.pid
    eventually(lambda: node.state.restarts == 1 and node.state.ready, node)
    assert marker.exists()
    assert node.state.pid != first
    node.stop(5)
    assert (node.state.restarts, node.state.ready) == (1, False)


@pytest.mark.parametrize("code", [0, 1, 2])
def test_node_that_ends_for_good_is_not_started_again(tmp_path: Path, code: int) -> None:
    node = Supervised(command(tmp_path / "ready", f"sys.exit({code})"), tmp_path / "ready")
    node.start()
    with pytest.raises(NodeFailed, match=f"exit status {code}"):
        eventually(lambda: False, node)
    assert (node.state.restarts, node.state.ready) == (0, False)


def test_delay_doubles_and_is_bounded() -> None:
    delays = [delay_s(failures) for failures in range(1, 8)]
    assert delays[:4] == [0.5, 1.0, 2.0, 4.0]
    assert max(delay_s(failures) for failures in (1, 6, 100, 10_000)) == LONGEST_DELAY_S
