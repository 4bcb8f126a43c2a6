"""What the log becomes when some records are put into it: leaves, tree and counts. Pure.

    inference.journal   a leaf for each row of a segment
    audit.events        a leaf for each event
    models.commands     a leaf for each command: who wanted what, whether it was done or not

An event or a command that cannot be read is a leaf that says so.

A segment that cannot be read stops whoever sequences: a hole that nobody sees would be worse.
`tests/agents/sequencing/test_sequence.py`.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import msgspec
import structlog

from chimera.schemas.batches import Encoded
from chimera.schemas.errors import RequestError, SchemaInvalid
from chimera.schemas.journal import decode_segment
from chimera.schemas.model_commands import decode_command
from chimera.schemas.model_names import DEFAULT_TENANT
from chimera.schemas.transparency.by_partition import key
from chimera.schemas.transparency.compact_range import CompactRange
from chimera.schemas.transparency.coverage import Covered, encode_lanes
from chimera.schemas.transparency.leaves import ActionTaken, decode_leaf, encode_leaf
from chimera.schemas.transparency.log_records import encode_records
from chimera.schemas.transparency.positions import Position, encode_positions
from chimera.schemas.transparency.request_leaves import leaves
from chimera.topics.producers import Where

log = structlog.get_logger(__name__)

UNREADABLE = "audit.unreadable"
UNKNOWN_ACTOR = "unknown"
_SAID = {"action", "command_id", "tenant", "model", "actor", "reason", "v"}  # beside details


Kind = Literal["segment", "event", "command"]


class Read(NamedTuple):
    """A record of an input; `at_ms`: when the broker appended it, epoch."""

    where: Where
    offset: int
    at_ms: int
    value: bytes
    kind: Kind


@dataclass(frozen=True, slots=True)
class State:
    """The log so far: all that a successor needs, and all that it gets, but for topics' ids."""

    tree: CompactRange = field(default_factory=CompactRange)
    lanes: Mapping[str, Covered] = field(default_factory=dict[str, Covered])
    read: Mapping[str, Position] = field(default_factory=dict[str, Position])
    topic_ids: Mapping[str, str] = field(default_factory=dict[str, str])  # of the inputs, by name


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one transaction adds; `positions`: the offset after the last record of each input."""

    state: State
    batches: Sequence[Encoded]
    positions: Mapping[Where, int]
    leaf_hashes: Sequence[bytes]


class Draft:
    """A chunk while it is made: `take` records, then `finish`."""

    def __init__(self, before: State) -> None:
        self._before = before
        self._lanes = dict(before.lanes)
        self._positions: dict[Where, int] = {}
        self._bodies: list[bytes] = []

    def __len__(self) -> int:
        return len(self._bodies)

    @property
    def lanes(self) -> Mapping[str, Covered]:
        """How far each is covered."""
        return self._lanes

    def take(self, record: Read) -> None:
        """Records of one partition come in order.

        Raises:
            Malformed, SchemaInvalid: a segment that cannot be read.
        """
        if record.kind == "segment":
            self._segment(record)
        else:
            self._bodies.append(encode_leaf(_action(record)))
        self._positions[record.where] = record.offset + 1

    def add(self, body: bytes, lane: str, covered: Covered) -> None:
        """A reconciliation's leaf, and where its lane is counted from."""
        self._bodies.append(body)
        self._lanes[lane] = covered

    def finish(self) -> Chunk:
        """What was taken, hashed; a chunk may have no leaves, if segments had no rows."""
        sha256 = hashlib.sha256
        hashes = [sha256(b"\0" + body).digest() for body in self._bodies]
        before = self._before
        after = replace(
            before,
            tree=before.tree.extend(hashes),
            lanes=self._lanes,
            read={**before.read, **dict(self._read())},
        )
        batches: Sequence[Encoded] = ()
        if self._bodies:
            told = encode_lanes(after.lanes), encode_positions(after.read)
            batches = encode_records(before.tree.size, self._bodies, after.tree, *told)
        return Chunk(after, batches, self._positions, hashes)

    def _read(self) -> Iterator[tuple[str, Position]]:
        for (topic, partition), offset in self._positions.items():
            topic_id = self._before.topic_ids.get(topic, "")
            yield key(topic, partition), Position(topic_id, offset)

    def _segment(self, record: Read) -> None:
        head, parts = decode_segment(record.value)
        lane = key(head.topic, head.partition)
        covered = self._lanes.get(lane, Covered(head.start, head.start)).with_segment(head)
        for rows in parts:
            self._bodies += leaves(head, rows, record.at_ms)
            covered = covered.with_rows(rows.offsets)
        self._lanes[lane] = covered.up_to(head.next)


def _action(record: Read) -> ActionTaken:
    try:
        action = _event(record.value) if record.kind == "event" else _command(record)
        encode_leaf(action)
        return action
    except RequestError as error:
        return _unreadable(record, str(error))


def _event(value: bytes) -> ActionTaken:
    """Raises Malformed, SchemaInvalid."""
    leaf = decode_leaf(value)
    if not isinstance(leaf, ActionTaken):
        raise SchemaInvalid("it is no action")
    return leaf


def _command(record: Read) -> ActionTaken:
    """Raises Malformed, SchemaInvalid."""
    command = decode_command(record.value)
    fields: dict[str, Any] = msgspec.to_builtins(command)
    return ActionTaken(
        at_ms=record.at_ms,
        tenant=command.tenant,
        event_id=command.command_id,
        actor=command.actor,
        action=f"models.{fields['action']}",
        object=f"{command.tenant}/{command.model}",
        reason=command.reason,
        details={
            name: (value if isinstance(value, str) else msgspec.json.encode(value).decode())[:1_024]
            for name, value in fields.items()
            if name not in _SAID and value is not None
        },
    )


def _unreadable(record: Read, reason: str) -> ActionTaken:
    (topic, partition), offset = record.where, record.offset
    coordinates = f"{topic}:{partition}:{offset}"
    log.error("audit_event_unreadable", record=coordinates, reason=reason)
    return ActionTaken(
        at_ms=record.at_ms,
        tenant=DEFAULT_TENANT,
        event_id=coordinates,
        actor=UNKNOWN_ACTOR,
        action=UNREADABLE,
        object=coordinates,
        reason=reason[:1_000],
        details={"sha256": hashlib.sha256(record.value).hexdigest()},
    )
