"""A trainer: one run, or the rest of it, in a process of its own.

    python -m chimera.workers.training    an order on standard input, lines of JSON out (`lines.py`)

What is in the run's folder decides: nothing, and it begins; checkpoints, and it goes on from the last;
a manifest, and it tells that once more. One trainer at a time has the folder, by a lock. Its last line
says how it ended; where there is none, it was ended. `tests/agents/training/test_agent.py`.
"""

import sys

from chimera.schemas.errors import TrainingRefused
from chimera.workers import once
from chimera.workers.training import limits, lines


def main() -> int:
    order = lines.decode_order(sys.stdin.buffer.read())
    try:
        limits.die_with(order.agent_pid)
    except TrainingRefused:
        return 1
    limits.take_little(order.nice, order.memory_bytes)
    once.load_much()
    from chimera.workers.training.trainer import Trainer  # torch, within the limits

    return Trainer(order).run()


if __name__ == "__main__":
    once.leave(main())
