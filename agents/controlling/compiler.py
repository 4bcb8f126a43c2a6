"""The process that compiles a version: started, listened to, and ended with whoever started it.

    python -m chimera.workers.compiling ── a step a line ── tell ── report in `out`

It has no key and no server's password in its environment. `tests/agents/controlling/test_compilation.py`.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from chimera.schemas.compile_report import Step
from chimera.schemas.errors import CompileFailed
from chimera.schemas.settings import inheritable

log = structlog.get_logger(__name__)

ENTRY = (sys.executable, "-m", "chimera.workers.compiling")
WITHOUT_NATIVE = "--without-native"
READ_BYTES, STDERR_BYTES = 65_536, 2_000

Tell = Callable[[Step], Awaitable[None]]


async def run(arguments: tuple[str, ...], within_s: float, tell: Tell) -> None:
    """Raises CompileFailed: refused, ended by a signal, or not done in time; or what `tell` raises."""
    process = await asyncio.create_subprocess_exec(
        *ENTRY,
        *arguments,
        env=inheritable(),
        stdout=asyncio.subprocess.PIPE,  # of one whose reader is gone the next step is the last
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(within_s), asyncio.TaskGroup() as tasks:
            tasks.create_task(_follow(process.stdout, tell))
            errors = tasks.create_task(_last(process.stderr))
            await process.wait()
    except TimeoutError:
        raise CompileFailed(f"it was not done within {within_s:g} s") from None
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = errors.result()
    status = process.returncode or 0
    if status < 0:
        raise CompileFailed(f"its process was ended by signal {-status}: {text}")
    if status:
        raise CompileFailed(text or f"its process ended with status {status}")


async def _follow(steps: asyncio.StreamReader | None, tell: Tell) -> None:
    """A step a line; what a library writes there too goes into the log."""
    assert steps is not None  # a pipe was asked for
    async for line in steps:
        try:
            step = msgspec.json.decode(line, type=Step)
        except (msgspec.DecodeError, UnicodeDecodeError):
            log.info("compiler_said", line=line.decode("utf-8", "replace").strip())
        else:
            await tell(step)


async def _last(errors: asyncio.StreamReader | None) -> str:
    """The end of what a process says of its errors, which may be much."""
    assert errors is not None  # a pipe was asked for
    kept = b""
    while part := await errors.read(READ_BYTES):
        kept = (kept + part)[-STDERR_BYTES:]
    return kept.decode("utf-8", "replace").strip()
