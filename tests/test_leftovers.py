"""A process that was left behind is named; one that ends in time is not."""

import os
import subprocess
import sys

from tests import leftovers

SLEEP = (sys.executable, "-c", "import time; print(flush=True); time.sleep({})")


def test_processes_of_a_session_that_do_not_end_are_named() -> None:
    session = {**os.environ, leftovers.VARIABLE: "of this test alone"}
    lasting, brief = (
        subprocess.Popen(
            [*SLEEP[:-1], SLEEP[-1].format(seconds)], env=session, stdout=subprocess.PIPE
        )
        for seconds in (600, 0.2)
    )
    with lasting, brief:
        for child in (lasting, brief):
            assert child.stdout is not None
            child.stdout.readline()
        (named,) = leftovers.left(3.0, session)
        assert named.startswith(f"{lasting.pid}: ")
        assert "time.sleep(600)" in named
        lasting.kill()
    assert leftovers.left(0.0, session) == []
