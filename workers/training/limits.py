"""What a trainer may take of its machine: little where others need it, never more than it was given.

    niceness     of the process, and of its session where the kernel schedules by session
    memory       what it allocates (RLIMIT_DATA): mapped data sets do not count, CUDA's memory neither
    its life     it dies with its agent, and before anything else when memory runs out

Linux; elsewhere niceness and memory alone. `tests/agents/training/test_agent.py`.
"""

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

from chimera.schemas.errors import TrainingRefused

_PR_SET_PDEATHSIG = 1
_OFFERED = "800"  # an executor's is 500: a run can go on later, a request should not wait


def die_with(agent_pid: int) -> None:
    """Raises TrainingRefused: the agent is gone already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != agent_pid:
        raise TrainingRefused(f"agent {agent_pid}, which started this, is gone")


def take_little(nice: int, memory_bytes: int | None) -> None:
    """For the rest of this process."""
    os.nice(nice)
    _write("/proc/self/autogroup", str(nice))
    _write("/proc/self/oom_score_adj", _OFFERED)
    if memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))


def _write(file: str, text: str) -> None:
    """What this kernel does not have, or does not let us do, is no reason not to train."""
    try:
        Path(file).write_text(text)
    except OSError:
        return
