"""Root gives a server away: who runs it, what it may, and that it still ends with its parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from chimera.cli.postgres.account import Account, account_of

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")

SHOW = 'id -u; id -G; sed -n "s/^CapEff:.//p" /proc/self/status; ls "$1" | head -1'


def show(account: Account, folder: Path) -> tuple[int, str, int, str]:
    """Who the command is, its groups, its rights, and the first name it sees in the folder."""
    shell = ["/bin/sh", "-c", SHOW, "sh", str(folder)]
    done = subprocess.run(
        account.command(shell, reaches=[folder]), check=True, capture_output=True, text=True
    )
    user, groups, rights, *names = done.stdout.split("\n")
    return int(user), groups, int(rights, 16), names[0]


def test_account_without_root_is_oneself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1_000)
    assert account_of(tmp_path) == Account()
    assert show(Account(), tmp_path)[0] == os.getuid()


@as_root
def test_account_of_root_is_somebody_else(tmp_path: Path) -> None:
    assert account_of(tmp_path / "none").user_id > 0
    assert account_of(tmp_path).user_id > 0


@as_root
def test_account_of_a_folder_is_its_owner(tmp_path: Path) -> None:
    os.chown(tmp_path, 12_345, 54_321)
    assert account_of(tmp_path) == Account(12_345, 54_321)


@as_root
def test_an_account_that_reaches_everything_has_no_right_of_roots(tmp_path: Path) -> None:
    user, groups, rights, names = show(Account(65_534, 65_534), Path("/proc"))
    assert (user, groups, rights) == (65_534, "65534", 0)
    assert names


@as_root
def test_an_account_that_cannot_reach_its_files_may_read_and_no_more(tmp_path: Path) -> None:
    """Nobody else can enter this folder, and it stays so."""
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "file").touch()
    user, _, rights, names = show(Account(65_534, 65_534), hidden / ".")
    assert (user, rights, names) == (65_534, 1 << 2, "file")
    assert hidden.stat().st_mode & 0o777 == 0o700


PARENT = """
import subprocess, sys, time
from pathlib import Path
from chimera.cli.postgres.account import Account
user = int(sys.argv[1])
sleep = ["/bin/sh", "-c", "echo awake; exec sleep 600"]
child = subprocess.Popen(Account(user, user).command(sleep, []), stdout=subprocess.PIPE, text=True)
print(child.stdout.readline() and child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's promise is Linux's")
@pytest.mark.parametrize("user", [-1, pytest.param(65_534, marks=as_root)])
def test_a_command_ends_when_its_parent_is_killed(user: int) -> None:
    command = [sys.executable, "-c", PARENT, str(user)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert psutil.Process(pid).uids().real == (user if user > 0 else os.getuid())
        parent.send_signal(signal.SIGKILL)
    until = time.monotonic() + 60
    while not ended(pid):
        assert time.monotonic() < until
        time.sleep(0.01)


def ended(pid: int) -> bool:
    """Gone, or a zombie that waits for the first process to notice."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
