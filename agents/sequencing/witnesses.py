"""Witnesses, asked: each checkpoint goes to them with a proof that the log only grew; C2SP
tlog-witness, add-checkpoint.

What a witness has seen last is remembered, or told by its refusal. The proof is made of what the log
grew by lately, or from the log itself: the tree as it was stands in a record's header, and the leaves
since then are read.

    cosigned       its line goes under the checkpoint
    silent         it does not answer, or not in time           costs its cosignature and no more:
    refused        it does not know the log, or answers rubbish    whoever signs asks again
    contradicts    it has cosigned what this log never was: two histories were signed with one key

The last is for people, at once. `tests/integration/test_witnesses.py` runs real ones.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import aiohttp
import structlog

from chimera.agents.sequencing.growth import Growth
from chimera.schemas.errors import (
    ConfigurationError,
    EvidenceMalformed,
    EvidenceRefused,
    HistoryConflict,
)
from chimera.schemas.transparency import checkpoints, compact_range, verifier_keys
from chimera.schemas.transparency.compact_range import CompactRange
from chimera.schemas.transparency.cosignatures import gathered
from chimera.schemas.transparency.log_records import COMPACT_RANGE, index_of
from chimera.schemas.transparency.merkle import leaf_hash
from chimera.schemas.transparency.notes import Note
from chimera.schemas.transparency.proving import prove_extension
from chimera.schemas.transparency.sizes import decode_size
from chimera.schemas.transparency.verifier_keys import Algorithm, VerifierKey
from chimera.schemas.transparency.witnessing import CONFLICT, UNPROCESSABLE, Submission
from chimera.topics import log_reader
from chimera.topics.log_reader import LogReader

log = structlog.get_logger(__name__)

MAX_ANSWER_BYTES = 65_536

Result = Literal["cosigned", "silent", "refused", "contradicts"]


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
        *,
        count: Callable[[str, Result], None] = lambda _name, _result: None,
    ) -> None:
        """`arguments`: of a consumer; `topic`: the log's; `count`: a witness's name and its answer."""
        self._witnesses, self._arguments, self._topic = witnesses, arguments, topic
        self._count = count
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._seen: dict[VerifierKey, int] = {}
        self._growth = Growth()

    def grown(self, before: CompactRange, leaf_hashes: Sequence[bytes]) -> None:
        """These leaves were committed behind those of `before`."""
        if self._witnesses:
            self._growth.add(before, leaf_hashes)

    def lacking(self, note: Note) -> list[Witness]:
        """Those that have not cosigned it."""
        return [one for one in self._witnesses if not any(map(one.key.is_of, note.signatures))]

    async def cosigned(self, note: Note) -> Note:
        """The checkpoint, with the lines of those that cosign it now; who did so is not asked again."""
        found, lacking = note, self.lacking(note)
        if not lacking:
            return note
        async with aiohttp.ClientSession(timeout=self._timeout) as session:
            for witness in lacking:
                result: Result = "cosigned"
                try:
                    answer = await self._ask(session, witness, note)
                    found = gathered(found, answer, [witness.key])
                except (aiohttp.ClientError, TimeoutError) as error:
                    result, reason = "silent", str(error) or repr(error)
                    log.warning("witness_silent", witness=witness.key.name, reason=reason)
                except EvidenceRefused as error:
                    result = "refused"
                    log.warning("witness_refused", witness=witness.key.name, reason=str(error))
                except HistoryConflict as error:
                    result = "contradicts"
                    log.error("witness_contradicts", witness=witness.key.name, reason=str(error))
                self._count(witness.key.name, result)
        if found != note:
            self._growth.forget(checkpoints.decode(note.text).size)
        return found

    async def _ask(self, session: aiohttp.ClientSession, witness: Witness, note: Note) -> bytes:
        """Raises EvidenceMalformed: it refuses. HistoryConflict: for it has seen another history."""
        head = checkpoints.decode(note.text)
        for _ in range(2):
            old = self._seen.get(witness.key, 0)
            proof = await self._proof(old, head.size)
            body = Submission(old, proof, note, head).encode()
            async with session.post(f"{witness.url}/add-checkpoint", data=body) as response:
                answer = await response.content.read(MAX_ANSWER_BYTES)
                if response.status == 200:
                    self._seen[witness.key] = head.size
                    return answer
                told = answer.decode("utf-8", "replace").strip()
                if response.status == UNPROCESSABLE:
                    raise HistoryConflict(f"it refuses: {response.status} {told[:200]}")
                if response.status != CONFLICT:
                    raise EvidenceMalformed(f"it refuses: {response.status} {told[:200]}")
                self._seen[witness.key] = decode_size(told, "a witness's size")
        raise EvidenceMalformed("it has seen another checkpoint each time")

    async def _proof(self, old: int, new: int) -> tuple[bytes, ...]:
        """That the tree of `new` leaves extends that of `old`. Raises as `_read_proof`."""
        if old in (0, new):
            return ()
        if (make := self._growth.proof(old, new)) is not None:
            return tuple(await asyncio.to_thread(make))
        async with log_reader.reading(self._arguments, self._topic) as reader:
            return await _read_proof(reader, old, new)


async def _read_proof(reader: LogReader, old: int, new: int) -> tuple[bytes, ...]:
    """That the tree of `new` leaves extends that of `old`.

    Raises:
        EvidenceMalformed: `old` is of a later checkpoint of this log.
        HistoryConflict: no checkpoint of `old` leaves was made here.
    """
    if old > new:
        await _require_later(reader, old)
        raise EvidenceMalformed(f"it has cosigned {old} leaves already, and is asked about {new}")
    try:
        before = await tree_at(reader, old)
    except EvidenceMalformed as error:
        raise HistoryConflict(f"it has cosigned a tree of {old} leaves, and {error}") from None
    hashes: list[bytes] = []
    async for some in reader.leaves(old, new):
        hashes += [leaf_hash(one.body) for one in some]
    return tuple(await asyncio.to_thread(prove_extension, before, hashes))


async def _require_later(reader: LogReader, old: int) -> None:
    """Another sequencer may have gone on. Raises HistoryConflict: nobody did."""
    last = await reader.last()
    leaves = 0 if last is None else index_of(last[1]) + 1
    if old > leaves:
        raise HistoryConflict(f"it has seen {old} leaves, and there are {leaves}")


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
