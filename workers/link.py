"""The executor's end of its socket: whole frames, blocking, with one thread.

`receive` waits at most as long as it is told, to the microsecond, and less if `wake` is called from
another thread. A frame's body is read by the kernel straight into the bytes that hold it.
`tests/workers/test_link.py`.
"""

import select
import socket
from typing import Self

from chimera.workers.frames import HEADER, Kind, read_header

BUFFER_BYTES = 4 << 20
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33  # Linux: beyond the limit, for those who may


class Closed(Exception):
    """The node has closed its end, or is gone."""


class Link:
    """Takes over a connected stream socket."""

    def __init__(self, node: socket.socket) -> None:
        self._node = node
        node.setblocking(True)
        enlarge(node)
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for end in (self._node, self._woken, self._waker):
            end.close()

    def send(self, frame: bytes) -> None:
        """Returns when the kernel has all of it.

        Raises:
            Closed: nobody will read it.
        """
        try:
            self._node.sendall(frame)
        except (BrokenPipeError, ConnectionResetError):
            raise Closed from None

    def receive(self, timeout_s: float) -> tuple[Kind, bytes] | None:
        """The next frame, or None if none came in time or somebody called `wake`.

        Raises:
            Closed: there will be none.
            BrokenFrame: what came is none.
        """
        ready, _, _ = select.select((self._node, self._woken), (), (), timeout_s)
        if self._woken in ready:
            self._woken.recv(4096)
        if self._node not in ready:
            return None
        kind, size = read_header(self._read(HEADER.size))
        return kind, self._read(size)

    def wake(self) -> None:
        """Let `receive` return; for other threads."""
        try:
            self._waker.send(b"\0")
        except BlockingIOError:
            return  # it is full of wakes already

    def _read(self, size: int) -> bytes:
        """Exactly `size` bytes."""
        try:
            found = self._node.recv(size, socket.MSG_WAITALL) if size else b""
            while len(found) < size:
                more = self._node.recv(size - len(found), socket.MSG_WAITALL)
                if not more:
                    raise Closed
                found += more
        except ConnectionResetError:
            raise Closed from None
        return found


def enlarge(end: socket.socket) -> None:
    """Ask for buffers that hold a few works, so that neither side waits for the other."""
    for force, polite in (
        (SO_SNDBUFFORCE, socket.SO_SNDBUF),
        (SO_RCVBUFFORCE, socket.SO_RCVBUF),
    ):
        try:
            end.setsockopt(socket.SOL_SOCKET, force, BUFFER_BYTES)
        except OSError:
            end.setsockopt(socket.SOL_SOCKET, polite, BUFFER_BYTES)
