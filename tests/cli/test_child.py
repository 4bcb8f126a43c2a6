"""A child ends with its parent, by `stop`, and by `kill`; otherwise it lives."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from chimera.cli.stack.child import Child

SLEEP = [sys.executable, "-c", "import time; print('awake', flush=True); time.sleep(600)"]
DEAF = [*SLEEP[:2], "import signal; signal.signal(15, signal.SIG_IGN);" + SLEEP[2]]


def awake(log_file: Path) -> None:
    until = time.monotonic() + 60
    while "awake" not in (log_file.read_text() if log_file.exists() else ""):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_child_ends_with_its_own_exit_code() -> None:
    child = Child([sys.executable, "-c", "raise SystemExit(70)"])
    assert child.wait(60) == 70
    assert child.exit_code == 70


def test_child_that_obeys_is_stopped_by_sigterm(tmp_path: Path) -> None:
    child = Child(SLEEP, log_file=tmp_path / "log")
    awake(tmp_path / "log")
    assert child.exit_code is None
    assert child.stop(60) == -signal.SIGTERM


def test_child_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    child = Child(DEAF, log_file=tmp_path / "log")
    awake(tmp_path / "log")
    assert child.stop(0.1) == -signal.SIGKILL
    assert not psutil.pid_exists(child.pid)


def test_child_gets_the_environment_and_appends_to_its_log(tmp_path: Path) -> None:
    log_file = tmp_path / "log"
    log_file.write_text("before\n")
    command = [sys.executable, "-c", "import os; print(os.environ['CHIMERA_SAID'])"]
    Child(command, log_file=log_file, environment={"CHIMERA_SAID": "a=b"}).wait(60)
    assert log_file.read_text() == "before\na=b\n"


def test_child_outlives_the_thread_that_made_it(tmp_path: Path) -> None:
    made: list[Child] = []

    def make() -> None:
        made.append(Child(SLEEP, log_file=tmp_path / "log"))

    maker = threading.Thread(target=make)
    maker.start()
    maker.join()
    awake(tmp_path / "log")
    assert made[0].wait(0.2) is None
    made[0].kill()


def test_child_is_no_target_of_ctrl_c_and_shares_its_parents_processors(tmp_path: Path) -> None:
    """A session of its own would have an equal share, however nice its threads are."""
    told = tmp_path / "told.log"
    command = [sys.executable, "-c", "import os; print(os.getpgid(0), os.getsid(0))"]
    child = Child(command, log_file=told)
    assert child.wait(60) == 0
    assert told.read_text().split() == [str(child.pid), str(os.getsid(0))]


def test_child_with_a_log_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError):
        (tmp_path / "file").touch()
        Child(SLEEP, log_file=tmp_path / "file" / "log")


PARENT = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
from chimera.cli.stack.child import Child
child = Child([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_child_ends_when_its_parent_does(number: signal.Signals) -> None:
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(number)
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


MAKES = """
import sys, time
from chimera.cli.stack import interrupts
from chimera.cli.stack.child import Child
interrupts.raised(where_ignored=True)  # as whoever runs the tests may
made = []
try:
    while len(made) < 500:
        made.append(Child([sys.executable, "-c", "import time; time.sleep(600)"]))
        print(made[-1].pid, flush=True)
        if len(made) > 4:
            made[0].kill()
            del made[0]
except KeyboardInterrupt:
    for child in made:
        child.kill()
    print("killed", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("made", range(1, 7))
def test_child_whose_start_is_interrupted_is_not_left_running(made: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MAKES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        for _ in range(made):
            parent.stdout.readline()
        parent.send_signal(signal.SIGINT)
        while parent.stdout.readline() != "killed\n":
            assert parent.poll() is None
        assert psutil.Process(parent.pid).children() == []
        parent.communicate()
