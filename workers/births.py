"""Processes of executors: started when one is needed, or ahead of it, beside what a node still imports.

    ahead ── imports its libraries, waits ── of ── configured, as any other
                                              └ another kind is wanted, or it died: a new one

One that nobody asked for is ended; one whose node dies meanwhile ends by itself.
`tests/workers/test_births.py`.
"""

import os
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from chimera.schemas.settings import inheritable
from chimera.workers.devices import QUIET
from chimera.workers.link import enlarge
from chimera.workers.suspects import Board

STDERR = 2


@dataclass(frozen=True, slots=True, eq=False)
class Birth:
    """A process, our end of its socket, and the board that outlives it."""

    entry: tuple[str, ...]
    process: subprocess.Popen[bytes]
    stream: socket.socket
    board: Board

    def end(self) -> None:
        """Kill it; nothing of it is left when this returns."""
        self.stream.close()
        self.process.kill()
        self.process.wait()
        self.board.close()


class Births:
    """Of one pool."""

    def __init__(self) -> None:
        self._ahead: list[Birth] = []

    def ahead(self, entry: Sequence[str], count: int) -> None:
        """So many are going to be needed, as far as anybody can tell. Raises OSError."""
        self._ahead += (bear(entry) for _ in range(count))

    def of(self, entry: Sequence[str], niceness: int = 0) -> Birth:
        """One that was born ahead, else a new one. Raises OSError."""
        for one in self._ahead:
            if one.entry == tuple(entry) and one.process.poll() is None:
                self._ahead.remove(one)
                return one
        return bear(entry, niceness)

    def end(self) -> None:
        """Those that nobody asked for."""
        while self._ahead:
            self._ahead.pop().end()


def bear(entry: Sequence[str], niceness: int = 0) -> Birth:
    """Start a process that starts so nicely; it waits for its configuration. Raises OSError."""
    board = Board.create()
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            enlarge(ours)
            numbers = (theirs.fileno(), board.fileno, os.getpid(), niceness)
            process = subprocess.Popen(
                [*entry, *map(str, numbers)],
                env=inheritable() | QUIET,
                stdin=subprocess.DEVNULL,
                stdout=STDERR,  # a library's chatter must not end up in a command's output
                pass_fds=numbers[:2],
                process_group=0,  # Ctrl-C is for the node, also before an executor ignores it
            )
    except BaseException:
        ours.close()
        board.close()
        raise
    return Birth(tuple(entry), process, ours, board)
