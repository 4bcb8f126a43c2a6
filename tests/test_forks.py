"""A forked command reads, says and ends as one that was started; and it can be killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forks
from tests.forks import Fork

ENVIRONMENT = {**os.environ, "CHIMERA_CONFIG": "none.toml"}
STARTED = "import sys; sys.argv[0] = 'chimera'; from chimera.cli.main import main; main()"
QUESTION = ("infer", "digits", "--input", "-", "--bootstrap", "127.0.0.1:9")


@pytest.mark.parametrize(
    ("arguments", "text", "code"),
    [
        (("settings", "--markdown"), None, 0),
        (("offsets",), None, 2),
        (QUESTION, "{", 1),
    ],
)
def test_forked_command_says_what_a_started_one_says(
    arguments: tuple[str, ...], text: str | None, code: int
) -> None:
    forked = forks.run(arguments, ENVIRONMENT, text, 60)
    command = [sys.executable, "-c", STARTED, *arguments]
    started = subprocess.run(
        command, env=ENVIRONMENT, input=text, capture_output=True, text=True, check=False
    )
    assert (forked.returncode, started.returncode) == (code, code), (forked, started)
    assert (forked.stdout, forked.stderr) == (started.stdout, started.stderr)


def test_forked_command_has_the_environment_that_it_is_given() -> None:
    done = forks.run(("settings",), {"CHIMERA_KAFKA__GROUP": "told"}, None, 60)
    assert "told" in done.stdout and done.returncode == 0


def test_forked_command_is_killed_when_its_time_is_over(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("in", "out", "err")]
    files[0].touch()
    process = Fork(("node", "--bootstrap", "127.0.0.1:9"), ENVIRONMENT, *files)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.1)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(60) == process.poll() == process.returncode == -signal.SIGKILL
