"""What a trainer may take of its machine: little where others need it, never more than it was given.

    niceness     of the process (`aside.py`), and of its session where the kernel schedules by session
    memory       what it allocates (RLIMIT_DATA): mapped data sets do not count, CUDA's memory neither
    its life     it dies with its agent, and before anything else when memory runs out

Linux; elsewhere niceness and memory alone. `tests/workers/training/test_limits.py`, `tests/agents/training/test_agent.py`.
"""

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

from chimera.schemas.errors import TrainingRefused
from chimera.workers.aside import give_way

_PR_SET_PDEATHSIG = 1
_SHARE = 0.5  # of the memory that there is, for all trainers: the rest is for who serves
_CGROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_OFFERED = "800"  # an executor's is 500: a run can go on later, a request should not wait


def die_with(agent_pid: int) -> None:
    """Raises TrainingRefused: the agent is gone already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != agent_pid:
        raise TrainingRefused(f"agent {agent_pid}, which started this, is gone")


def take_little(nice: int, memory_bytes: int | None) -> None:
    """For the rest of this process."""
    give_way(nice)
    _write("/proc/self/autogroup", str(nice))
    _write("/proc/self/oom_score_adj", _OFFERED)
    if memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))


def share_bytes(places: int) -> int:
    """Of one trainer, where so many may run at once and nobody has said how much."""
    return int(_SHARE * there_is_bytes() / max(places, 1))


def there_is_bytes(cgroups: Path = _CGROUPS, own: Path = _OWN) -> int:
    """The machine's memory, or the least that a cgroup around this process may have."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for line in _read(own).splitlines():
        _, kinds, path = line.split(":", 2)
        if kinds not in ("", "memory"):
            continue
        name = "memory.limit_in_bytes" if kinds else "memory.max"
        inner = cgroups / kinds / path.lstrip("/")
        around = [one for one in (inner, *inner.parents) if one.is_relative_to(cgroups)]
        texts = (_read(one / name).strip() for one in around)
        found += [int(text) for text in texts if text.isdecimal()]
    return min(found)


def _read(file: Path) -> str:
    """Empty: this kernel does not have it."""
    try:
        return file.read_text()
    except OSError:
        return ""


def _write(file: str, text: str) -> None:
    """What this kernel does not have, or does not let us do, is no reason not to train."""
    try:
        Path(file).write_text(text)
    except OSError:
        return
