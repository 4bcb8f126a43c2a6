"""The making as the demo follows it: stages by lines of its log, and an end that is told."""

import sys
from pathlib import Path

import pytest

from chimera.cli.demoing.failure import DemoFailed
from chimera.cli.demoing.maker import REGISTERED, TRAINED, Maker, line
from chimera.cli.demoing.requests import GOOD, WORSE
from chimera.cli.demoing.stages import Stages


def follow(tmp_path: Path, stages: Stages, *lines: str, status: int = 0) -> Maker:
    """A process that says these lines, and ends."""
    script = "import sys; print(sys.argv[2], flush=True); sys.exit(int(sys.argv[1]))"
    command = [sys.executable, "-c", script, str(status), "\n".join(lines)]
    return Maker(command, tmp_path / "log", {}, stages)


def test_a_stage_is_over_when_the_next_begins_and_the_last_with_the_process(tmp_path: Path) -> None:
    said = [
        line(TRAINED, "version 1"),
        "a warning of a library",
        line(TRAINED, "version 2"),
        line(REGISTERED[GOOD], "signing"),
        line(REGISTERED[WORSE], "signing"),
    ]
    with Stages() as stages:
        maker = follow(tmp_path, stages, *said)
        for stage in (TRAINED, REGISTERED[GOOD], REGISTERED[WORSE]):
            maker.wait(stage)
        assert list(stages.took_s) == [TRAINED, REGISTERED[GOOD], REGISTERED[WORSE]]


def test_a_making_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    with Stages() as stages:
        said = [line(TRAINED, "version 1"), line(REGISTERED[GOOD], "signing"), "no key"]
        maker = follow(tmp_path, stages, *said, status=3)
        with pytest.raises(DemoFailed, match=r"exit status 3(.|\n)*no key"):
            maker.wait(REGISTERED[GOOD])
        assert REGISTERED[GOOD] not in stages.took_s
