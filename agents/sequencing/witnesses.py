"""Witnesses, asked: each checkpoint goes to them with a proof that the log only grew; C2SP
tlog-witness, add-checkpoint.

What a witness has seen last is remembered, or told by its refusal. The proof is made from the log
itself: the tree as it was stands in a record's header, and the leaves since then are read. A witness
that does not answer, or not as it should, costs its cosignature and no more: the next checkpoint
asks again. `tests/integration/test_sequencer.py` runs a real one.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import aiohttp
import structlog

from chimera.schemas.errors import ConfigurationError, EvidenceMalformed, EvidenceRefused
from chimera.schemas.transparency import checkpoints, compact_range, verifier_keys
from chimera.schemas.transparency.compact_range import CompactRange
from chimera.schemas.transparency.cosignatures import gathered
from chimera.schemas.transparency.log_records import COMPACT_RANGE
from chimera.schemas.transparency.merkle import leaf_hash
from chimera.schemas.transparency.notes import Note
from chimera.schemas.transparency.proving import prove_extension
from chimera.schemas.transparency.verifier_keys import Algorithm, VerifierKey
from chimera.schemas.transparency.witnessing import CONFLICT, Submission
from chimera.topics import log_reader
from chimera.topics.log_reader import LogReader

log = structlog.get_logger(__name__)

MAX_ANSWER_BYTES = 65_536


class Witness(NamedTuple):
    """Its key, and where it listens."""

    key: VerifierKey
    url: str


def read_witnesses(lines: Sequence[str]) -> list[Witness]:
    """`<vkey> <url>` each. Raises ConfigurationError: one is none."""
    found: list[Witness] = []
    for line in lines:
        text, _, url = line.strip().partition(" ")
        try:
            key = verifier_keys.decode(text)
        except EvidenceMalformed as error:
            raise ConfigurationError(f"CHIMERA_AUDIT__WITNESSES: {error}") from None
        if key.algorithm != Algorithm.COSIGNATURE or not url.startswith(("http://", "https://")):
            raise ConfigurationError(f"CHIMERA_AUDIT__WITNESSES: {line!r}: <vkey> <http(s) URL>")
        found.append(Witness(key, url.strip().rstrip("/")))
    return found


class Witnesses:
    """Of one log; `cosigned` is asked for one checkpoint at a time."""

    def __init__(
        self,
        witnesses: Sequence[Witness],
        arguments: Mapping[str, Any],
        topic: str,
        timeout_s: float,
    ) -> None:
        """`arguments`: of a consumer; `topic`: the log's."""
        self._witnesses, self._arguments, self._topic = witnesses, arguments, topic
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._seen: dict[VerifierKey, int] = {}

    async def cosigned(self, note: Note) -> Note:
        """The checkpoint, with the lines of those that cosigned it."""
        found = note
        async with (
            aiohttp.ClientSession(timeout=self._timeout) as session,
            log_reader.reading(self._arguments, self._topic) as reader,
        ):
            for witness in self._witnesses:
                try:
                    answer = await self._ask(session, reader, witness, note)
                    found = gathered(found, answer, [witness.key])
                except (aiohttp.ClientError, TimeoutError, EvidenceRefused) as error:
                    reason = str(error) or repr(error)
                    log.warning("witness_silent", witness=witness.key.name, reason=reason)
        return found

    async def _ask(
        self, session: aiohttp.ClientSession, reader: LogReader, witness: Witness, note: Note
    ) -> bytes:
        """Raises EvidenceMalformed: it refuses."""
        head = checkpoints.decode(note.text)
        for _ in range(2):
            old = self._seen.get(witness.key, 0)
            proof = await _proof(reader, old, head.size)
            body = Submission(old, proof, note, head).encode()
            async with session.post(f"{witness.url}/add-checkpoint", data=body) as response:
                answer = await response.content.read(MAX_ANSWER_BYTES)
                if response.status == 200:
                    self._seen[witness.key] = head.size
                    return answer
                told = answer.decode("utf-8", "replace").strip()
                if response.status != CONFLICT:
                    raise EvidenceMalformed(f"it refuses: {response.status} {told[:200]}")
                self._seen[witness.key] = checkpoints.decode_decimal(told, "a witness's size")
        raise EvidenceMalformed("it has seen another checkpoint each time")


async def _proof(reader: LogReader, old: int, new: int) -> tuple[bytes, ...]:
    """That the tree of `new` leaves extends that of `old`.

    Raises:
        EvidenceMalformed: no checkpoint of `old` leaves was made here.
    """
    if old in (0, new):
        return ()
    if old > new:
        raise EvidenceMalformed(f"it has seen {old} leaves, and there are {new}")
    before = await tree_at(reader, old)
    hashes: list[bytes] = []
    async for some in reader.leaves(old, new):
        hashes += [leaf_hash(one.body) for one in some]
    return tuple(await asyncio.to_thread(prove_extension, before, hashes))


async def tree_at(reader: LogReader, size: int) -> CompactRange:
    """The tree of so many leaves, which a transaction ended with.

    Raises:
        EvidenceMalformed: none did.
    """
    if size == 0:
        return CompactRange()
    headers = dict(await reader.headers_of(size - 1) or ())
    raw = headers.get(COMPACT_RANGE)
    if raw is None:
        raise EvidenceMalformed(f"audit.log: no transaction ends with {size} leaves")
    return compact_range.decode(raw)
