"""Named steps of a lane, or of the sequencer, where a test may kill or freeze the node, to see what survives.

`CHIMERA_CRASH_AT=<step>:<n>` ends the process with SIGKILL when `step` is reached for the n-th
time; `CHIMERA_STALL_AT=<step>:<n>:<seconds>` freezes it there, event loop and all, as a long
garbage collection or a paused virtual machine would. Without them, a step costs one comparison.
`tests/integration` visits every step.
"""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping

STEPS = (
    "after_poll",
    "before_compute",
    "mid_compute",
    "before_begin",
    "after_produce",
    "after_send_offsets",
    "before_commit",
    "after_commit",
)
CHECKPOINT_STEPS = ("before_checkpoint", "after_checkpoint")  # of the sequencer alone


def _ignore(_step: str) -> None:
    return


def from_environment(environment: Mapping[str, str] = os.environ) -> Callable[[str], None]:
    """What to call at each step; does nothing unless a fail-point is set.

    Raises:
        ValueError: the variable names no step, or is not of the form above.
    """
    crash, stall = environment.get("CHIMERA_CRASH_AT"), environment.get("CHIMERA_STALL_AT")
    if not crash and not stall:
        return _ignore
    visits: Counter[str] = Counter()
    crash_step, crash_visit = _parse(crash, 2) if crash else ("", ["0"])
    stall_step, stall_at = _parse(stall, 3) if stall else ("", ["0", "0"])

    def visit(step: str) -> None:
        visits[step] += 1
        if step == crash_step and visits[step] == int(crash_visit[0]):
            os.kill(os.getpid(), signal.SIGKILL)
        if step == stall_step and visits[step] == int(stall_at[0]):
            time.sleep(float(stall_at[1]))

    return visit


def _parse(text: str, parts: int) -> tuple[str, list[str]]:
    step, *rest = text.split(":")
    known = (*STEPS, *CHECKPOINT_STEPS)
    if step not in known or len(rest) != parts - 1:
        raise ValueError(f"a fail-point is <step>:<n>[:<seconds>] with a step of {known}: {text!r}")
    return step, rest
