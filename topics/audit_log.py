"""`audit.log` and `audit.checkpoints` for who reads them from the first to the last, with no loop of
their own: a command.

A request is found by going over the log; a warehouse's table knows by its index. What was committed
when reading begins is what is read. `tests/integration/test_audit_from_kafka.py`.
"""

# pyright: reportMissingTypeStubs=false
# (aiokafka ships no type information)

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any, TypeVar

import msgspec
from aiokafka.errors import KafkaError

from chimera.schemas.errors import KafkaUnavailable
from chimera.schemas.transparency import checkpoints
from chimera.schemas.transparency.leaves import RequestServed, decode_leaf
from chimera.schemas.transparency.log_records import Indexed, rows
from chimera.schemas.transparency.proving import prove_leaf
from chimera.schemas.transparency.row import Row
from chimera.topics import log_reader
from chimera.topics.catalogue import Catalogue
from chimera.topics.log_reader import LogReader

T = TypeVar("T")


class AuditLog:
    """A `LeafSource`; from `opened`."""

    def __init__(self, runner: asyncio.Runner, log: LogReader, heads: LogReader) -> None:
        self._runner, self._log, self._heads = runner, log, heads

    def rows(self, size: int) -> Iterator[Row]:
        """Raises EvidenceMalformed: a record does not say its place; while reading."""
        return rows(self._each(self._log.leaves(0, size)))

    def find(self, request_id: str) -> list[Indexed]:
        """All that are committed now, by a scan."""
        named = b'"request_id":%b,' % msgspec.json.encode(request_id)
        candidates = (one for one in self._each(self._log.leaves()) if named in one.body)
        return [one for one in candidates if _is_of(one.body, request_id)]

    def path(self, index: int, size: int) -> Sequence[bytes]:
        """From the first leaf to the last; it holds a path of hashes. Raises EvidenceMalformed."""
        bodies = (one.body for one in self._each(self._log.leaves(0, size)))
        return prove_leaf(bodies, index, size)[1]

    def checkpoints(self) -> list[bytes]:
        return list(self._each(self._heads.values()))

    def covering(self, index: int) -> Iterator[bytes]:
        for note in self.checkpoints():
            head = checkpoints.claimed(note)
            if head is not None and head.size > index:
                yield note

    def _each(self, batches: AsyncGenerator[list[T]]) -> Iterator[T]:
        async def following() -> list[T] | None:
            return await anext(batches, None)

        while (some := self._runner.run(following())) is not None:
            yield from some


def _is_of(body: bytes, request_id: str) -> bool:
    leaf = decode_leaf(body)
    return isinstance(leaf, RequestServed) and leaf.request_id == request_id


@contextmanager
def opened(arguments: Mapping[str, Any], topics: Catalogue) -> Generator[AuditLog]:
    """`arguments`: of a consumer, see `clients.consumer_arguments`.

    Raises:
        KafkaUnavailable: nobody answers, or not any more.
    """
    stack = AsyncExitStack()

    async def open_both() -> tuple[LogReader, LogReader]:
        names = (topics.audit_log.name, topics.audit_checkpoints.name)
        log, heads = [
            await stack.enter_async_context(log_reader.reading(arguments, name)) for name in names
        ]
        return log, heads

    with asyncio.Runner() as runner:
        try:
            yield AuditLog(runner, *runner.run(open_both()))
        except KafkaError as error:
            raise KafkaUnavailable(str(error) or repr(error)) from error
        finally:
            runner.run(stack.aclose())
