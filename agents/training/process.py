"""The process that trains: started, listened to, and ended with whoever started it.

    python -m chimera.workers.training ── an order in ── lines out (`workers/training/lines.py`)

It has no key and no server's password in its environment, threads as many as it may have, and a session of
its own: Ctrl-C is for the agent. What it says beside its lines goes into the run's `trainer.log`.
`tests/agents/training/test_agent.py`.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import structlog

from chimera.schemas.settings import inheritable
from chimera.workers.training import lines
from chimera.workers.training.lines import Failed, Finished, Line, Order, Stepped

log = structlog.get_logger(__name__)

ENTRY = (sys.executable, "-m", "chimera.workers.training")
LOG = "trainer.log"
LINE_BYTES = 64 << 20  # of a manifest with many slices
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class TrainerProcess:
    """One that runs, or has ended; made by `started`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._lines: list[Line] = []
        self._reading = asyncio.create_task(self._read(), name="trainer-lines")
        self.heard_s = time.monotonic()  # when it said something last
        self.has_stepped = False  # it is beyond the preparation of its data
        self.last: Finished | Failed | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> asyncio.Task[None]:
        """Done once everything that it said was read, and it is gone."""
        return self._reading

    @property
    def status(self) -> int | None:
        """Minus a signal's number, where one ended it."""
        return self._process.returncode

    def take(self) -> list[Line]:
        """What it said since the last time."""
        found, self._lines = self._lines, []
        return found

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None  # a pipe was asked for
        async for raw in self._process.stdout:
            try:
                line = lines.decode_line(raw)
            except (msgspec.DecodeError, UnicodeDecodeError):
                log.warning("trainer_said", line=raw[:500].decode("utf-8", "replace"))
                continue
            self.heard_s = time.monotonic()
            if isinstance(line, Finished | Failed):
                self.last = line
            else:
                self._lines.append(line)
                self.has_stepped = self.has_stepped or isinstance(line, Stepped)
        await self._process.wait()


@asynccontextmanager
async def started(order: Order) -> AsyncGenerator[TrainerProcess]:
    """For as long as the context lasts; what still runs then is killed."""
    folder = Path(order.runs_dir) / order.run_id
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    with (folder / LOG).open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *ENTRY,
            env={**inheritable(), **dict.fromkeys(THREADS, str(order.threads))},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,  # of one whose agent is gone the next line is the last
            stderr=errors,
            start_new_session=True,
            limit=LINE_BYTES,
        )
    trainer = TrainerProcess(process)
    try:
        await _send(process, lines.encode(order))
        yield trainer
    finally:
        await trainer.kill()


async def _send(process: asyncio.subprocess.Process, order: bytes) -> None:
    assert process.stdin is not None  # a pipe was asked for
    try:
        process.stdin.write(order)
        await process.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        log.info("trainer_took_no_order", pid=process.pid)  # it has ended: its status says how
    process.stdin.close()


def new_order(**fields: object) -> Order:
    """With this process as the agent that the trainer lives and dies with."""
    return msgspec.convert({**fields, "agent_pid": os.getpid()}, Order)
