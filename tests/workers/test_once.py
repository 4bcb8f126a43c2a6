"""A process that does one thing ends as any other, but for taking itself apart."""

import subprocess
import sys

ENDS = """
import atexit, sys, threading, time
from chimera.workers import once
class Kept:
    def __del__(self):
        print("taken apart")
kept = Kept()
kept.me = kept
once.load_much()
atexit.register(print, "at the exit")
print("told", end=" ")
sys.stderr.write("complained")
if sys.argv[1:]:
    threading.Thread(target=lambda: (time.sleep(0.3), print("thread ended"))).start()
once.leave(3)
"""


def ended(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", ENDS, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_what_is_to_be_done_at_an_exit_is_done_and_nothing_else() -> None:
    done = ended()
    assert (done.returncode, done.stderr) == (3, "complained")
    assert done.stdout == "told at the exit\n"


def test_thread_that_works_on_is_waited_for() -> None:
    done = ended("with a thread")
    assert done.returncode == 3
    assert done.stdout.startswith("told thread ended\nat the exit\n")
