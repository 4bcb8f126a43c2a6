"""A small log for tests: its rows, its checkpoints, its witnesses, and the policy that believes them."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chimera.schemas.signing import SigningKey
from chimera.schemas.transparency import chain, checkpoints, cosignatures, merkle
from chimera.schemas.transparency.checkpoints import Checkpoint
from chimera.schemas.transparency.leaves import RequestServed, encode_leaf
from chimera.schemas.transparency.notes import Note
from chimera.schemas.transparency.policy import Group, LogKey, Policy
from chimera.schemas.transparency.row import Row

ORIGIN = "example.com/audit"
AT_S = 1_763_717_416


def fixed_key(number: int) -> SigningKey:
    """The same in every process: keys stand in the names of tests."""
    return SigningKey(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))


KEY, OTHER_KEY = fixed_key(1), fixed_key(2)
WITNESSES = {name: fixed_key(3 + at) for at, name in enumerate(("w1", "w2", "w3"))}


def vectors(name: str) -> dict[str, Any]:
    """A file of known vectors."""
    text = (Path(__file__).with_name("vectors") / f"{name}.json").read_text("utf-8")
    read: dict[str, Any] = json.loads(text)
    return read


def served(number: int, /, **fields: Any) -> RequestServed:
    """A leaf of a request."""
    known: dict[str, Any] = {
        "at_ms": AT_S * 1_000,
        "tenant": "acme",
        "topic": "inference.requests",
        "partition": 0,
        "offset": str(number),
        "request_id": f"r-{number}",
        "model": "digits",
        "version": "7",
        "digest": "0a" * 32,
        "tier": "onnx-cpu",
        "executor": "node-1/cpu:0",
        "outcome": "ok",
        "input": "0b" * 32,
        "output": "0c" * 32,
        "commitment_key": "0d" * 16,
        "attempt": 0,
        "guarantee": "exactly_once",
    }
    return RequestServed(**known | fields)


@dataclass
class Log:
    """Bodies, and whatever follows from them."""

    bodies: list[bytes]
    key: SigningKey = KEY
    leaf_hashes: list[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.leaf_hashes = [merkle.leaf_hash(body) for body in self.bodies]

    def rows(self) -> list[Row]:
        linked = chain.links(self.leaf_hashes)
        columns = zip(self.bodies, self.leaf_hashes, linked, strict=True)
        return [Row(index, *row) for index, row in enumerate(columns)]

    def head(self, size: int) -> Checkpoint:
        return Checkpoint(ORIGIN, size, merkle.root(self.leaf_hashes[:size]))

    def note(self, size: int, *witnesses: str, at_s: int = AT_S) -> Note:
        """A checkpoint, cosigned by these."""
        note = checkpoints.sign(self.head(size), self.key)
        lines = (
            cosignatures.cosign(note.text, one, WITNESSES[one], at_s=at_s) for one in witnesses
        )
        return Note(note.text, (*note.signatures, *lines))

    def checkpoint(self, size: int, *witnesses: str, at_s: int = AT_S) -> bytes:
        return self.note(size, *witnesses, at_s=at_s).encode()


def make_log(count: int) -> Log:
    return Log([encode_leaf(served(number)) for number in range(count)])


def make_policy(needed: int = 0, key: SigningKey = KEY) -> Policy:
    """One that wants so many of the three witnesses."""
    keys = {name: cosignatures.witness_key(name, key) for name, key in WITNESSES.items()}
    logs = (LogKey(checkpoints.log_key(ORIGIN, key)),)
    if not needed:
        return Policy(logs, keys)
    return Policy(logs, keys, {"enough": Group(needed, tuple(keys))}, "enough")
