"""What was signed last, among all that stands on `audit.checkpoints`: others may write there, too.

Believed are the log's own key, those that it had before (`CHIMERA_AUDIT__EARLIER_KEYS`), and what
stands in the log's own file. All else is passed over and counted: it neither stops the log nor says
how long it is. Only who has signed nothing yet begins no log that another key signs. `tests/integration/test_audit_from_kafka.py` writes rubbish there.
"""

# pyright: reportMissingTypeStubs=false
# (aiokafka ships no type information)

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

import structlog

from chimera.schemas.errors import (
    ConfigurationError,
    EvidenceMalformed,
    EvidenceRefused,
    EvidenceUntrusted,
)
from chimera.schemas.signing import SigningKey
from chimera.schemas.transparency import checkpoints, notes, verifier_keys
from chimera.schemas.transparency.verifier_keys import Algorithm, VerifierKey
from chimera.topics import log_reader

log = structlog.get_logger(__name__)


class Published:
    """Of one log."""

    def __init__(self, arguments: Mapping[str, Any], topic: str, publics: Sequence[bytes]) -> None:
        """`arguments`: of a consumer; `publics`: the keys that are believed."""
        self._arguments, self._topic, self._publics = arguments, topic, publics
        self._passed: set[str] = set()  # origins of heads that others signed

    async def last(self, kept: bytes | None) -> bytes | None:
        """The last note that is believed; `kept`: the one in the log's own file."""
        passed, why = 0, ""
        found: bytes | None = None
        async with (
            log_reader.reading(self._arguments, self._topic) as reader,
            aclosing(reader.backwards()) as records,
        ):
            async for value, _ in records:
                try:
                    if value != kept:
                        self._require_signed(value)
                    found = value
                    break
                except EvidenceRefused as error:
                    passed, why = passed + 1, why or str(error)
        if passed:
            log.error("checkpoints_not_believed", topic=self._topic, count=passed, last=why)
        return found

    def require_new(self, origin: str) -> None:
        """After `last` found nothing. Raises ConfigurationError: the log is there, under another key."""
        if origin in self._passed:
            raise ConfigurationError(
                f"CHIMERA_AUDIT__KEY_FILE: another key signs {origin!r} on {self._topic}, and this one"
                " never did: where another host has the sequencer, CHIMERA_STACK__SEQUENCER=false here;"
                " where this key replaces that one, name it in CHIMERA_AUDIT__EARLIER_KEYS"
            )

    def _require_signed(self, raw: bytes) -> None:
        """By one of the keys, whatever the log was called: who changed its name is told so.

        Raises:
            EvidenceMalformed, EvidenceUntrusted.
        """
        note = notes.decode(raw)
        origin = checkpoints.decode(note.text).origin
        keys = [VerifierKey(origin, Algorithm.NOTE, one) for one in self._publics]
        try:
            checkpoints.signers_of(note, keys)
        except EvidenceUntrusted:
            self._passed.add(origin)
            raise


def believed(own: SigningKey, earlier: Sequence[str]) -> list[bytes]:
    """Public keys; `earlier` as a policy writes them. Raises ConfigurationError: one is none."""
    found = [own.public.raw]
    for text in earlier:
        try:
            found.append(verifier_keys.decode(text).public)
        except EvidenceMalformed as error:
            raise ConfigurationError(f"CHIMERA_AUDIT__EARLIER_KEYS: {error}") from None
    return found
