"""Ctrl-C that is caught leaves the exit code to who caught it, wherever it came."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

CATCHES = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
{setup}
try:
    exec({text!r})
except KeyboardInterrupt:
    sys.exit(3)
"""
OURS = "from chimera.cli.stack import interrupts; interrupts.raised(where_ignored={})"
IGNORED = "signal.signal(signal.SIGINT, signal.SIG_IGN); "


def exit_code(folder: Path, setup: str, name: str) -> int:
    text = f"signal.raise_signal(signal.{name})"
    (folder / "catches.py").write_text(CATCHES.format(setup=setup, text=text))
    return subprocess.run([sys.executable, "-m", "catches"], cwd=folder, check=False).returncode


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_interrupt_within_exec_leaves_the_exit_code(tmp_path: Path, name: str) -> None:
    assert exit_code(tmp_path, OURS.format(False), name) == 3


def test_pythons_own_does_not(tmp_path: Path) -> None:
    """Should this fail some day, Interrupted is no longer needed."""
    assert exit_code(tmp_path, "pass", "SIGINT") == -signal.SIGINT


def test_ctrl_c_that_is_ignored_stays_so_unless_wanted(tmp_path: Path) -> None:
    assert exit_code(tmp_path, IGNORED + OURS.format(False), "SIGINT") == 0
    assert exit_code(tmp_path, IGNORED + OURS.format(True), "SIGINT") == 3
