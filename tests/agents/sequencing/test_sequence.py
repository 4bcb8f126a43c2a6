"""Records in, leaves and a tree out; what cannot be read is told."""

import hashlib
import json
from typing import Any

import pytest

from chimera.agents.sequencing.sequence import Chunk, Draft, Read, State
from chimera.schemas.errors import Malformed
from chimera.schemas.model_commands import PromoteModel, encode_command
from chimera.schemas.stored import Stored, parse
from chimera.schemas.transparency.coverage import Covered
from chimera.schemas.transparency.leaves import ActionTaken, encode_leaf
from chimera.schemas.transparency.merkle import leaf_hash, root
from chimera.schemas.transparency.positions import Position
from tests.stores.sink_records import SIZE, record

ACTION = ActionTaken(
    at_ms=1,
    tenant="acme",
    event_id="e-1",
    actor="ada",
    action="models.promote",
    object="acme/digits",
    reason="",
    details={"version": "7"},
)


def segment(number: int) -> Read:
    found = record(0, number)
    return Read(("journal", 0), found.offset, found.at_ms, found.value, "segment")


def event(value: bytes, offset: int = 0) -> Read:
    return Read(("events", 0), offset, 5, value, "event")


def sequenced(state: State, *records: Read) -> Chunk:
    draft = Draft(state)
    for one in records:
        draft.take(one)
    return draft.finish()


def read(chunk: Chunk) -> list[Stored]:
    return [
        one for each in chunk.batches for one in parse(each.sent_by(1, 0, 0, transactional=True))
    ]


def said(chunk: Chunk) -> list[dict[str, Any]]:
    return [json.loads(one.value or b"") for one in read(chunk)]


def test_segments_and_events_become_leaves_in_their_order() -> None:
    chunk = sequenced(
        State(), segment(0), event(json.dumps(json.loads(encode_leaf(ACTION))).encode()), segment(1)
    )
    bodies = [one.value or b"" for one in read(chunk)]
    assert len(bodies) == len(chunk.leaf_hashes) == 2 * SIZE + 1
    assert bodies[SIZE] == encode_leaf(ACTION)  # canonical, however it was written
    assert [one.get("offset") for one in said(chunk)[:SIZE]] == [str(at) for at in range(SIZE)]
    assert chunk.leaf_hashes == [leaf_hash(body) for body in bodies]
    assert chunk.state.tree.root() == root(chunk.leaf_hashes)
    assert chunk.positions == {("journal", 0): 3, ("events", 0): 1}
    assert chunk.state.read == {"journal:0": Position("", 3), "events:0": Position("", 1)}
    assert chunk.state.lanes == {"inference.requests:0": Covered(0, 2 * SIZE, 2 * SIZE)}


def test_chunks_one_after_the_other_are_one_log() -> None:
    together = sequenced(State(), segment(0), segment(1))
    apart = sequenced(sequenced(State(), segment(0)).state, segment(1))
    assert apart.state == together.state


def test_event_that_cannot_be_read_is_a_leaf_that_says_so() -> None:
    for value in (b"", b"\xff", b"{}", encode_leaf(ACTION).replace(b'"v":1', b'"v":9')):
        (leaf,) = said(sequenced(State(), event(value, 7)))
        assert (leaf["leaf"], leaf["action"], leaf["object"]) == (
            "action",
            "audit.unreadable",
            "events:0:7",
        )
        assert leaf["details"] == {"sha256": hashlib.sha256(value).hexdigest()}
        assert leaf["reason"]


def test_commands_become_actions_of_who_gave_them() -> None:
    command = PromoteModel(
        command_id="c-1", tenant="acme", model="digits", actor="ada", reason="better", version="7"
    )
    read = Read(("commands", 0), 3, 9, encode_command(command), "command")
    (leaf,) = said(sequenced(State(), read))
    assert (leaf["event_id"], leaf["actor"], leaf["action"]) == ("c-1", "ada", "models.promote")
    assert (leaf["object"], leaf["reason"], leaf["at_ms"]) == ("acme/digits", "better", 9)
    assert leaf["details"]["version"] == "7"
    assert json.loads(leaf["details"]["watch"])["window_s"] == 300
    (leaf,) = said(sequenced(State(), read._replace(value=b"{}")))
    assert (leaf["action"], leaf["object"]) == ("audit.unreadable", "commands:0:3")


def test_segment_that_cannot_be_read_stops() -> None:
    with pytest.raises(Malformed):
        sequenced(State(), segment(0)._replace(value=b"\1"))
