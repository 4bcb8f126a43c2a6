"""What ends the demo early: a part of it that failed, told with the end of its log."""

from pathlib import Path

from chimera.schemas.errors import ChimeraError

TAIL_CHARACTERS = 2_000


class DemoFailed(ChimeraError):
    """A part of the demo ended or did not come up; the message ends in what its log says."""


def tail(log_file: Path) -> str:
    if not log_file.exists():
        return "nothing"
    return log_file.read_text("utf-8", "replace").strip()[-TAIL_CHARACTERS:]
