from pathlib import Path

import pytest

from chimera.workers import memory


def test_what_a_process_takes_grows_with_what_it_holds() -> None:
    before = memory.taken_bytes("cpu")
    held = b"\1" * (64 << 20)
    assert 60 << 20 < memory.taken_bytes("cpu") - before < 80 << 20
    del held


def test_without_a_way_to_know_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_STATM", Path("/nowhere"))
    assert memory.taken_bytes("cpu") == 0


def test_gpu_that_is_none_takes_nothing() -> None:
    assert memory.taken_bytes("cuda:99") == 0
