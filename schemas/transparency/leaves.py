"""Leaves of the audit log: what one says, and its canonical bytes.

    request          a request was served or refused: by which model, and with what outcome
    action           somebody did something to what serves: a command, a key, a policy, a setting
    reconciliation   of a partition: how many leaves its committed offsets have, and how many not

A leaf's bytes are canonical JSON (RFC 8785) and are stored and hashed as they are; offsets are
strings, because JSON has no 64-bit integers. Payloads are never in it, only keyed commitments.
`tests/schemas/transparency/test_leaves.py` compares the bytes with the reference and with the
golden files of every version.
"""

from typing import Annotated, get_args

import msgspec

from chimera.schemas.errors import SchemaInvalid
from chimera.schemas.guarantees import Guarantee
from chimera.schemas.model_names import Name, Reason, Sha256
from chimera.schemas.transparency.canonical import MAX_INTEGER
from chimera.schemas.versioned import Form

LEAF_VERSION = 1
SERVED = "ok"  # the outcome of a request with a response; else it is its error's code

_END = r"(?![\s\S])"  # `$` would let a line break pass

Offset = Annotated[str, msgspec.Meta(pattern=rf"^(0|[1-9][0-9]{{0,18}}){_END}")]
Number = Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
Text = Annotated[str, msgspec.Meta(max_length=1_024)]
Topic = Annotated[str, msgspec.Meta(pattern=rf"^[A-Za-z0-9._-]{{1,249}}{_END}")]
Actor = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]  # a leaf is read for ever
KeyId = Annotated[str, msgspec.Meta(pattern=rf"^[0-9a-f]{{32}}{_END}")]


class _Leaf(msgspec.Struct, frozen=True, kw_only=True, tag_field="leaf"):
    at_ms: Number  # since the epoch, by the clock of who wrote it
    tenant: Text
    v: int = LEAF_VERSION


class RequestServed(_Leaf, frozen=True, kw_only=True, tag="request"):
    """One request and its outcome; it is known by its coordinates, whatever it calls itself."""

    topic: Topic
    partition: Number
    offset: Offset
    request_id: Text
    model: Text  # as the caller wrote it
    version: Text
    digest: Sha256 | None  # of the version's manifest; None: it came to no model
    tier: Text
    executor: Text
    outcome: Name  # SERVED, or a code of the errors' closed set
    input: Sha256 | None  # commitments; None: there was none, or it was never read
    output: Sha256 | None
    commitment_key: KeyId | None
    attempt: Number  # how often it had failed before; of a leaf that repeats one, the same
    guarantee: Guarantee


class ActionTaken(_Leaf, frozen=True, kw_only=True, tag="action"):
    """What was done to what serves, by whom, and why."""

    event_id: Text
    actor: Actor
    action: Name  # for example models.promote, keys.rotate, dead_letters.replay
    object: Text
    reason: Reason
    details: Annotated[dict[Name, Text], msgspec.Meta(max_length=64)]


class OffsetsReconciled(_Leaf, frozen=True, kw_only=True, tag="reconciliation"):
    """What a partition committed, beside what the log has of it."""

    topic: Topic
    partition: Number
    first_offset: Offset
    end_offset: Offset  # one past the last
    committed: Number  # requests whose outcome is committed
    leaves: Number
    missing: Number  # requests without a leaf
    repeated: Number  # leaves beyond one for a request


Leaf = RequestServed | ActionTaken | OffsetsReconciled
LEAVES: tuple[type[Leaf], ...] = get_args(Leaf)

_FORM = Form[Leaf]("audit leaf", Leaf, LEAF_VERSION)
_ENCODER = msgspec.json.Encoder(order="sorted")  # of these fields it is what RFC 8785 writes
decode_leaf = _FORM.decode


def encode_leaf(leaf: Leaf) -> bytes:
    """A leaf's canonical bytes.

    Raises:
        SchemaInvalid: a field is not what it has to be, so that nobody could read it again.
    """
    try:
        raw = _ENCODER.encode(leaf)
    except UnicodeEncodeError:
        raise SchemaInvalid("audit leaf: half of a surrogate pair has no UTF-8") from None
    decode_leaf(raw)
    return raw
