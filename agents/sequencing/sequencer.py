"""The sequencer: what happened, from Kafka into the audit log, in one order; and its signed heads.

    journal, events ── read ── leaves made (a thread) ── committed ── due ── signed ── witnesses
                        ▴         the next ones meanwhile │                              │
                        └─────────────────────────────────┘      published with what comes next

While a transaction is on its way, the leaves of the next one are made. Any error ends it, and what
was not committed is made again, the same bytes in the same order, by whoever opens the log next.
`tests/integration/test_sequencer.py` kills it at each step and runs two at once.
"""

# pyright: reportMissingTypeStubs=false
# (aiokafka ships no type information)

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import cast

import structlog
from aiokafka.errors import KafkaError

from chimera.agents.sequencing import checkpointing
from chimera.agents.sequencing.audit_log import AuditLog
from chimera.agents.sequencing.checkpointing import Checkpointing
from chimera.agents.sequencing.published import Published, believed
from chimera.agents.sequencing.reconciling import Reconciling, reconcile
from chimera.agents.sequencing.sequence import Chunk, Draft, Read, State
from chimera.agents.sequencing.sequencer_metrics import SequencerMetrics
from chimera.agents.sequencing.witnesses import Witnesses, read_witnesses, tree_at
from chimera.schemas.errors import KafkaUnavailable
from chimera.schemas.settings import Settings
from chimera.schemas.signing import SigningKey
from chimera.schemas.transparency import notes
from chimera.schemas.transparency.notes import Note
from chimera.stores.checkpoint_file import CheckpointFile, head_of
from chimera.topics import connections, log_reader
from chimera.topics.producers import Where

log = structlog.get_logger(__name__)


class Sequencer:
    """Of one deployment; `run` it once."""

    def __init__(
        self,
        settings: Settings,
        bootstrap: str,
        key: SigningKey,
        step: Callable[[str], None] = lambda _: None,
        *,
        read_again: bool = False,
    ) -> None:
        """`step` is called by name at each stage: fail-points; `read_again`: as for `AuditLog`.

        Raises:
            ConfigurationError: a witness, or an earlier key, that is none.
        """
        self.metrics = SequencerMetrics()
        self._audit = settings.audit
        self._records = AuditLog(settings, bootstrap, step, read_again=read_again)
        self._file = CheckpointFile(self._audit.checkpoints_file)
        self._checkpoints = Checkpointing(
            self._audit.origin, key, self._file, checkpointing.cadence_of(self._audit), step
        )
        self._published = Published(
            self._records.arguments,
            self._records.topics.audit_checkpoints.name,
            believed(key, self._audit.earlier_keys),
        )
        self._witnesses = Witnesses(
            read_witnesses(self._audit.witnesses),
            self._records.arguments,
            self._records.topics.audit_log.name,
            self._audit.witness_timeout_ms / 1000,
            count=self.metrics.answered,
        )
        self._unpublished: list[bytes] = []
        self._signing: asyncio.Task[None] | None = None

    async def require_free(self) -> None:
        """That no other key signs this log, before it is taken from who writes it.

        Raises:
            ConfigurationError: another one does, and this one never did. KafkaUnavailable.
        """
        connections.install()
        if await asyncio.to_thread(self._file.last) is not None:
            return
        try:
            await self._records.require_topics()
            if await self._published.last(None) is None:
                self._published.require_new(self._audit.origin)
        except KafkaError as error:
            raise KafkaUnavailable(str(error) or repr(error)) from error

    async def run(self, stopping: asyncio.Event, ready: Callable[[], None] = lambda: None) -> None:
        """Until `stopping` is set, and then a last checkpoint covers all that is committed.

        Raises:
            ProducerError, KafkaUnavailable, DiskUnavailable: open the log anew.
            Malformed, SchemaInvalid, EvidenceMalformed, HistoryConflict, ConfigurationError,
                PositionsForgotten.
        """
        await self.require_free()
        try:
            await self._run(stopping, ready)
        except KafkaError as error:
            raise KafkaUnavailable(str(error) or repr(error)) from error
        except ExceptionGroup as group:
            first = _first(group)
            if isinstance(first, KafkaError):
                raise KafkaUnavailable(str(first) or repr(first)) from first
            raise first from None

    async def _run(self, stopping: asyncio.Event, ready: Callable[[], None]) -> None:
        async with self._records.opened() as records:
            await self._go_on_from_the_last(records)
            log.info("sequencer_opened", leaves=records.state.tree.size)
            ready()
            reconciling = Reconciling(records, self._audit.reconcile_ms / 1000)
            async with asyncio.TaskGroup() as tasks:
                await self._sequence(records, reconciling, tasks, stopping)
                if self._signing is not None:
                    await self._signing
            if self._checkpoints.is_behind(records.state.tree.size):
                await self._sign(records.state, time.monotonic())
            await self._commit(records, None)

    async def _sequence(
        self,
        records: AuditLog,
        reconciling: Reconciling,
        tasks: asyncio.TaskGroup,
        stopping: asyncio.Event,
    ) -> None:
        chunk: Chunk | None = None
        while not stopping.is_set():
            state = chunk.state if chunk else records.state
            making = tasks.create_task(self._next(records, reconciling, state))
            await self._commit(records, chunk)
            now_s = time.monotonic()
            size = records.state.tree.size
            if self._signing is None or self._signing.done():
                if self._checkpoints.is_due(size, now_s):
                    self._signing = tasks.create_task(self._sign(records.state, now_s))
                elif head := self._checkpoints.to_ask(now_s):
                    self._signing = tasks.create_task(self._ask_again(head))
            chunk = await making
        await self._commit(records, chunk)

    async def _next(
        self, records: AuditLog, reconciling: Reconciling, state: State
    ) -> Chunk | None:
        """Leaves of what has come; None: nothing has."""
        waiting = await records.read(self._audit.poll_ms)
        committed = await reconciling.ready(time.monotonic())
        if not waiting and not committed:
            return None
        return await asyncio.to_thread(self._make, state, waiting, committed)

    def _make(self, state: State, waiting: deque[Read], committed: Mapping[Where, int]) -> Chunk:
        draft = Draft(state)
        reconcile(draft, committed, time.time_ns() // 1_000_000)
        while waiting and len(draft) < self._audit.batch_leaves:
            draft.take(waiting.popleft())
        return draft.finish()

    async def _commit(self, records: AuditLog, chunk: Chunk | None) -> None:
        unpublished, self._unpublished = self._unpublished, []
        before = records.state.tree
        if unpublished or chunk is not None:
            with self.metrics.transaction_seconds.time():
                await records.commit(chunk, unpublished)
        if chunk is not None:
            self.metrics.leaves.inc(len(chunk.leaf_hashes))
            self._witnesses.grown(before, chunk.leaf_hashes)
        self.metrics.log_leaves.set(records.state.tree.size)
        self._show_lag(await records.lag())

    def _show_lag(self, lag: Mapping[Where, int]) -> None:
        for (topic, partition), behind in lag.items():
            self.metrics.lag_records.labels(topic, partition).set(behind)

    async def _sign(self, state: State, now_s: float) -> None:
        note = await asyncio.to_thread(self._checkpoints.sign, state.tree, now_s)
        cosigned = await self._cosigned(note)
        self._unpublished.append(cosigned.encode())
        self.metrics.signed(state.tree.size, time.time())
        log.info("checkpoint_signed", leaves=state.tree.size, signatures=len(cosigned.signatures))

    async def _ask_again(self, head: Note) -> None:
        """Published anew, if a witness that was away has come back."""
        cosigned = await self._cosigned(head)
        if cosigned != head:
            self._unpublished.append(cosigned.encode())
            log.info("checkpoint_cosigned", signatures=len(cosigned.signatures))

    async def _cosigned(self, note: Note) -> Note:
        """What a witness adds is on the disk too before it is published."""
        found = await self._witnesses.cosigned(note)
        if found != note:
            await asyncio.to_thread(self._checkpoints.keep, found.encode())
        self._await_witnesses(found, time.monotonic())
        return found

    def _await_witnesses(self, head: Note, now_s: float) -> None:
        self._checkpoints.lacks(head if self._witnesses.lacking(head) else None, now_s)

    async def _go_on_from_the_last(self, records: AuditLog) -> None:
        """Publish what was signed and not published; sign nothing that contradicts it.

        Raises:
            HistoryConflict, EvidenceMalformed, ConfigurationError.
        """
        kept = await asyncio.to_thread(self._file.last)
        published = await self._published.last(kept)
        last = max(filter(None, (published, kept)), key=lambda one: head_of(one).size, default=None)
        if last is not None:
            head, tree = head_of(last), records.state.tree
            known = tree
            if head.size < tree.size:
                log_name = records.topics.audit_log.name
                async with log_reader.reading(records.arguments, log_name) as reader:
                    known = await tree_at(reader, head.size)
            checkpointing.require_extends(head, self._audit.origin, known, tree)
            if last != published:
                self._unpublished.append(last)
            if last != kept:
                await asyncio.to_thread(self._checkpoints.keep, last)
        else:
            self._published.require_new(self._audit.origin)
        size = head_of(last).size if last else 0
        if last is not None:
            self.metrics.signed(size, await asyncio.to_thread(self._file.written_at_s))
            self._await_witnesses(notes.decode(last), float("-inf"))
        self._checkpoints.begin(size, time.monotonic())


def _first(failure: Exception) -> Exception:
    """What went wrong first: the others follow from it."""
    while isinstance(failure, ExceptionGroup):
        failure = cast("ExceptionGroup[Exception]", failure).exceptions[0]
    return failure
