"""Executors that were started ahead of need: used where they fit, ended where nobody asks for them."""

# pyright: reportPrivateUsage=false
# (nobody else is told of processes that wait)

import asyncio
import sys
from pathlib import Path

from chimera.workers.births import Births
from tests.workers.rig import HOSTILE, Rig, request, work, write_hostile

LASTING = (sys.executable, "-c", "import time; time.sleep(600)")


def test_executor_that_was_born_ahead_computes_and_one_too_many_ends(tmp_path: Path) -> None:
    write_hostile(tmp_path)

    async def scenario() -> None:
        births = Births()
        births.ahead(HOSTILE, 2)
        first, second = births._ahead
        async with Rig(tmp_path, births=births) as rig:
            (executor,) = rig.pool.executors
            assert executor.pid == first.process.pid
            assert second.process.returncode is not None
            rig.pool.submit(work([request((0, 1)), request((1, 0))]))  # the second aborts it
            await rig.until(lambda: bool(rig.deaths))
            rig.pool.submit(work([request((0, 1))], start=5))
            await rig.until(lambda: (1, 5) in rig.codes)
            assert rig.pool.executors[0].pid not in (first.process.pid, second.process.pid)

    asyncio.run(scenario())


def test_birth_of_another_kind_or_a_dead_one_is_passed_over() -> None:
    births = Births()
    births.ahead(LASTING, 2)
    dead, alive = births._ahead
    dead.process.kill()
    dead.process.wait()
    other = births.of((*LASTING, "other"))
    assert other.process.pid not in (dead.process.pid, alive.process.pid)
    assert births.of(LASTING) is alive
    births.end()
    for one in (other, alive):
        assert one.process.poll() is None, "whoever asked for it has it"
        one.end()
