"""What goes wrong in a thread of the harness comes out where its context is left."""

import signal
import sqlite3
import threading
from pathlib import Path

import pytest

from tests.integration.chaos.background import Background
from tests.integration.chaos.ledger import Ledger
from tests.integration.chaos.nodes import Supervisor
from tests.integration.chaos.offsets import Offsets, Sampler
from tests.integration.chaos.proxy import Proxy
from tests.waiting import wait


class Counting(Background):
    """Counts its turns, and fails in the third if it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__("counting")
        self.turns = 0
        self._fails_with = error

    def _run(self) -> None:
        for _ in self._every(0.001):
            self.turns += 1
            if self.turns == 3 and self._fails_with is not None:
                raise self._fails_with


def alive() -> bool:
    return any(thread.name == "counting" for thread in threading.enumerate())


def test_thread_takes_turns_until_its_context_is_left() -> None:
    with Counting() as counting:
        assert wait(lambda: counting.turns >= 5, 60)
    assert not alive()


def test_error_in_a_thread_comes_out_where_its_context_is_left() -> None:
    with pytest.raises(OSError, match="disk full"), Counting(OSError("disk full")) as counting:
        assert wait(lambda: counting.turns == 3, 60)
    assert not alive()


def test_error_in_a_thread_does_not_hide_one_beside_it_nor_is_hidden() -> None:
    beside, inside = ValueError("beside"), OSError("inside")
    with pytest.raises(ExceptionGroup, match="counting") as caught, Counting(inside) as counting:
        assert wait(lambda: counting.turns == 3, 60)
        raise beside
    assert caught.value.exceptions == (beside, inside)


def test_error_in_a_thread_that_is_ended_early_comes_out_once() -> None:
    with Counting(OSError("disk full")) as counting:
        assert wait(lambda: counting.turns == 3, 60)
        with pytest.raises(OSError, match="disk full"):
            counting.end()


def test_supervisor_that_cannot_start_a_node_again_says_so_and_leaves_no_other(
    tmp_path: Path,
) -> None:
    program = tmp_path / "once"
    program.write_text('#!/bin/sh\ntest -n "$STAYS" && exec sleep 60\nrm "$0"\n')
    program.chmod(0o700)
    supervisor = Supervisor(tmp_path, {}, [str(program)])
    with pytest.raises(FileNotFoundError, match="once"), supervisor:
        supervisor.add({"STAYS": "1"})
        ending = supervisor.add()
        assert wait(lambda: bool(ending.exits), 60)
    assert supervisor.nodes[0].exits == [-signal.SIGTERM]


def test_sampler_that_cannot_write_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()

    def committed(self: Offsets, topic: str) -> dict[int, int]:
        asked.set()
        return {0: 1}

    monkeypatch.setattr(Offsets, "committed", committed)
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.close()
    sampler = Sampler(Offsets("127.0.0.1:9", "nobody"), "topic", ledger)
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"), sampler:
        assert asked.wait(60)


def test_proxy_whose_port_is_taken_says_so_at_once() -> None:
    with Proxy(upstream=9) as taken, pytest.raises(OSError, match="in use"):
        Proxy(upstream=9, port=taken.port).__enter__()
