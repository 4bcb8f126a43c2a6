"""After an executor's death: why it died, who is suspected, and what is simply computed again.

Pure but for one look at the kernel's count of processes that it ended for lack of memory.
`tests/workers/test_deaths.py`; with real processes `test_executor_deaths.py`.
"""

import signal
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from chimera.schemas.work import Block, Work
from chimera.workers.pieces import part

EX_MEMORY = 71  # an executor ends so when memory fails it outside of any batch
HUNG, CRASHED, OUT_OF_MEMORY = "hung", "crashed", "out_of_memory"
RETIRED = "retired"  # it was told to go: nobody is suspected


class Legacy(NamedTuple):
    """What a dead executor left."""

    again: list[Work]  # to be computed again, in the order in which it was submitted
    unread: list[Block]  # their lanes know which of their requests are not decided
    accused: dict[int, list[int]]  # offsets by lane: one of them may have killed it


def legacy(abandoned: Sequence[Work | Block], suspects: Mapping[int, set[int]]) -> Legacy:
    """Divide what was never answered; suspects that are in none of it are let go."""
    again: list[Work] = []
    unread: list[Block] = []
    accused: dict[int, list[int]] = {}
    for work in abandoned:
        named = suspects.get(work.lane, set())
        if isinstance(work, Block):
            unread.append(work)
            found = [offset for offset in named if work.first <= offset < work.next]
            if found:
                accused.setdefault(work.lane, []).extend(found)
            continue
        places = [at for at, offset in enumerate(work.offsets) if offset not in named]
        if len(places) < len(work.offsets):
            accused.setdefault(work.lane, []).extend(named.intersection(work.offsets))
        if places:
            again.append(work if len(places) == len(work.offsets) else part(work, places))
    return Legacy(again, unread, {lane: sorted(offsets) for lane, offsets in accused.items()})


def were_alone(abandoned: Sequence[Work | Block], suspects: Mapping[int, set[int]]) -> bool:
    """Whether a suspect was computed alone, since it was accused before."""
    return any(
        not isinstance(work, Block)
        and work.isolate
        and not suspects.get(work.lane, set()).isdisjoint(work.offsets)
        for work in abandoned
    )


def reason(kill_reason: str, status: int, *, oom_kills: int) -> str:
    """Why a process ended: killed by us, with a status (negative: a signal), `oom_kills` since."""
    if kill_reason in (HUNG, RETIRED):
        return kill_reason
    if status == EX_MEMORY or (status == -signal.SIGKILL and oom_kills > 0):
        return OUT_OF_MEMORY
    return CRASHED


def count_oom_kills() -> int:
    """Processes that the kernel has ended for lack of memory, on this machine (Linux; else 0)."""
    try:
        with open("/proc/vmstat") as file:
            return next((int(line[9:]) for line in file if line.startswith("oom_kill ")), 0)
    except OSError:
        return 0
