"""A node's seat: a file that names the member of the group that the node is, locked while it lives.

A member that dies silently keeps its partitions until its session ends, and whoever joins meanwhile
waits for it. A node that starts looks which seats of its machine are free, though somebody is named
there: those members are dead (the kernel lets go of a lock when its process ends, however it ends),
and the node leaves the group in their name. So a restart takes as long as starting does, not the
session time-out on top. Unlike static membership (KIP-345) it needs no names that somebody hands
out, and two nodes never fight about one. `tests/agents/test_seat.py`, and the campaign `crashes`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import structlog
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.errors import KafkaError
from aiokafka.protocol.group import LeaveGroupRequest

log = structlog.get_logger(__name__)

SEATS = 1_024  # nodes of one group on one machine, at most
MAX_ID_BYTES = 1_024


class Seat:
    """Of one node; without a folder to write to it is none, and a restart takes longer."""

    def __init__(self, folder: Path, group: str) -> None:
        self._folder = folder
        self._group = quote(group, safe="")
        self._file: int | None = None
        self._path = folder
        self._member = ""

    def take(self) -> list[str]:
        """Sit down; returns the members that died on this machine, by their ids."""
        dead: list[str] = []
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for number in range(SEATS):
                path = self._folder / f"{self._group}.{number}"
                if self._file is not None and not path.exists():
                    break
                dead += self._inspect(path)
        except OSError as error:
            log.warning("no_seat", reason=str(error))
        return dead

    def _inspect(self, path: Path) -> list[str]:
        """Who died there; if nobody lives there, it may be ours."""
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return []
        member = os.pread(file, MAX_ID_BYTES, 0).decode("utf-8", "replace")
        os.ftruncate(file, 0)
        if self._file is None:
            self._file, self._path = file, path
        else:
            os.close(file)
        return [member] if member else []

    def note(self, member_id: str) -> None:
        """The group knows the node by this id from now on; cheap where nothing has changed."""
        if member_id == self._member or self._file is None:
            return
        self._member = member_id
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, member_id.encode()[:MAX_ID_BYTES], 0)

    def leave(self) -> None:
        """The node has left the group by itself."""
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None


async def leave_for(client: Any, group: str, members: Iterable[str]) -> None:
    """Leave the group in the name of dead members; one that cannot be reached times out instead."""
    for member in members:
        try:
            coordinator = await client.coordinator_lookup(CoordinationType.GROUP, group)
            request = LeaveGroupRequest(group, member)
            answer = await client.send(coordinator, request, group=ConnectionGroup.COORDINATION)
        except KafkaError as error:
            log.info("dead_member_stays", member=member, reason=repr(error))
        else:
            log.info("dead_member_left", member=member, error_code=answer.error_code)
