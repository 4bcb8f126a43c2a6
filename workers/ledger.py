"""What an executor tells the journal: finished rows of a block, or a note of each single request.

    Ledger   of an executor: its slot, and the tenants' keys
    Pages    of a block: its rows while they are computed, then the parts of a segment

No object is made for a row: it is a place in lists, and its commitments if its tenant has a key.
`tests/workers/test_ledger.py`.
"""

from collections.abc import Sequence
from typing import TypeVar

from msgspec import structs

from chimera.schemas.columns import Numbers, constant, numbers
from chimera.schemas.commitments import Commitments
from chimera.schemas.journal import framed
from chimera.schemas.journal_rows import NO_SLACK, OK, PART_ROWS, Group, Rows, write_part
from chimera.schemas.model_names import DEFAULT_TENANT
from chimera.schemas.notes import Note, write_note
from chimera.schemas.responses import Plain
from chimera.schemas.work import BatchStory, Work
from chimera.workers.tenant_keys import TenantKeys

T = TypeVar("T")

_NO_EXTRA: dict[str, str] = {}


class Pages:
    """Rows of one block, whose requests have no headers, so all are of the default tenant."""

    def __init__(
        self, work: Work, sizes: Sequence[int], appended_ms: Numbers, keys: Commitments | None
    ) -> None:
        """`sizes`: of the requests, in bytes."""
        count = len(work.offsets)
        self._work = work
        self._sizes = sizes
        self._appended_ms = appended_ms
        self._commitments = keys
        self._groups: list[Group] = []
        self._ids = [b""] * count
        self._output_bytes = [0] * count
        self._output_commitments = [b""] * count

    def add(
        self, indexes: Sequence[int], group: Group, ids: Sequence[bytes], results: Plain
    ) -> None:
        """Some of them have their results; `indexes` are places in the block."""
        if self._commitments is not None:
            group = structs.replace(group, commitment_key=self._commitments.key_id.hex())
        self._groups.append(group)
        put(self._ids, indexes, ids)
        put(self._output_bytes, indexes, results.sizes)
        if self._commitments is not None:
            put(self._output_commitments, indexes, list(map(self._commitments.of, results.values)))

    def note(self, index: int, number: int) -> bytes:
        """The note of one, of the `number`th group: the block is answered one by one after all."""
        group = self._groups[number]
        note = Note(group.queue_us, group.total_us, self._ids[index])
        if self._commitments is not None:
            given = self._commitments.of(self._work.values[index])
            answer = self._output_commitments[index]
            note = Note(*note[:3], given, answer, self._commitments.key_id)
        return write_note(note)

    def parts(self, group_of: Sequence[int]) -> bytes:
        """All rows, framed, when all have their results; `group_of` each: its group's number."""
        count = len(self._ids)
        input_bytes = numbers(self._sizes)
        output_bytes = numbers(self._output_bytes)
        group = constant(0, count) if len(self._groups) == 1 else numbers(group_of)
        offsets = numbers(self._work.offsets)
        return b"".join(
            [
                framed(write_part(self._rows(at, offsets, group, input_bytes, output_bytes)))
                for at in range(0, count, PART_ROWS)
            ]
        )

    def _rows(
        self, at: int, offsets: Numbers, group: Numbers, input_bytes: Numbers, output_bytes: Numbers
    ) -> Rows:
        part = slice(at, at + PART_ROWS)
        count = len(offsets[part])
        given = answers = b""
        if self._commitments is not None:
            given = b"".join(map(self._commitments.of, self._work.values[part]))
            answers = b"".join(self._output_commitments[part])
        return Rows(
            tuple(self._groups),
            (OK,),
            offsets[part],
            group[part],
            constant(0, count),
            self._appended_ms[part],
            input_bytes[part],
            output_bytes[part],
            constant(NO_SLACK, count),
            constant(0, count),
            self._ids[part],
            (),
            given,
            answers,
        )


class Ledger:
    """Of one executor."""

    def __init__(self, slot: str, keys: TenantKeys) -> None:
        self.slot = slot
        self._keys = keys

    def pages(self, work: Work, sizes: Sequence[int], appended_ms: Numbers) -> Pages:
        """For a block that was just read, and the sizes of its requests."""
        return Pages(work, sizes, appended_ms, self._keys.of(DEFAULT_TENANT))

    def notes(
        self,
        work: Work,
        indexes: Sequence[int],
        told: Note,
        ids: Sequence[bytes],
        values: Sequence[bytes],
    ) -> list[bytes]:
        """One for each of these requests; `told` has their times, `values` are empty for errors."""
        found: list[bytes] = []
        for index, name, value in zip(indexes, ids, values, strict=True):
            tenant = work.extras.get(index, _NO_EXTRA).get("tenant", DEFAULT_TENANT)
            commitments = self._keys.of(tenant) if value else None
            note = told._replace(id=name)
            if commitments is not None:
                note = note._replace(
                    input_commitment=commitments.of(work.values[index]),
                    output_commitment=commitments.of(value),
                    commitment_key=commitments.key_id,
                )
            found.append(write_note(note))
        return found


def group_of(
    story: BatchStory, queue_us: int, total_us: int, tenant: str = DEFAULT_TENANT
) -> Group:
    """What rows of one batch have in common."""
    return Group(
        tenant,
        story.model,
        story.version,
        story.digest,
        story.tier,
        story.executor,
        story.size,
        queue_us,
        story.compute_us,
        total_us,
    )


def put(column: list[T], indexes: Sequence[int], values: Sequence[T]) -> None:
    """Values to their places, mostly neighbours."""
    if indexes[-1] - indexes[0] == len(indexes) - 1:
        column[indexes[0] : indexes[-1] + 1] = values
        return
    for index, value in zip(indexes, values, strict=True):
        column[index] = value
