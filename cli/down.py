"""`chimera down`: end the local stack, for certain."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pathlib import Path

_WITHIN_S = 80.0  # longer than nodes and servers are given by the process that keeps them
_KILL_WITHIN_S = 5.0


def down() -> None:
    """End the local stack that runs in the background, or in another terminal; its data stays."""
    from chimera.cli.stack import locks
    from chimera.cli.stack import state as stack_state
    from chimera.schemas.errors import ChimeraError
    from chimera.schemas.settings import load

    try:
        folder = load().stack.dir.expanduser().absolute()
    except ChimeraError as error:
        typer.echo(f"chimera down: {error}", err=True)
        raise typer.Exit(1) from None
    keeper = locks.holder(stack_state.lock_file(folder))
    if keeper is None:
        typer.echo(f"no stack runs in {folder}")
        return
    try:
        ended_by_itself = end(stack_state.lock_file(folder), keeper)
    except PermissionError as error:
        typer.echo(f"chimera down: process {keeper} is somebody else's: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo("stopped" if ended_by_itself else "killed: it did not stop within its time")


def end(lock_file: "Path", keeper: int, within_s: float = _WITHIN_S) -> bool:
    """Ask the process that keeps a stack to end; kill it after `within_s`. False: killed.

    Its children die with it (`child`); the lock is free when it is gone.
    """
    import os
    import signal
    import time

    from chimera.cli.progress import waiting
    from chimera.cli.stack import locks

    with waiting("stopping the nodes, then the servers"):
        for number, wait_s in ((signal.SIGTERM, within_s), (signal.SIGKILL, _KILL_WITHIN_S)):
            os.kill(keeper, number)
            until = time.monotonic() + wait_s
            while time.monotonic() < until:
                if locks.holder(lock_file) != keeper:
                    _await_exit(keeper)
                    return number == signal.SIGTERM
                time.sleep(0.05)
    return False


def _await_exit(pid: int, within_s: float = _KILL_WITHIN_S) -> None:
    """The lock is free a moment before its process is gone; whoever asks next should find nobody."""
    import os
    import time

    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
