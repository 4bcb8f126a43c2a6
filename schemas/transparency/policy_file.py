"""Policies as text, after C2SP tlog-policy: which logs, which witnesses, how many of them.

    log <vkey> [sizes:<first>-<last>]
    witness <name> <vkey> [<url>]
    group <name> <all, any or a number> <member> ...
    quorum <name of a witness or of a group, or none>

The specification leaves it to us what stands behind a log's key: we say there which sizes of trees
the key may sign, so that one key can follow another; `sizes:5000-` has no end. Names are used only
within the file. `tests/schemas/transparency/test_policy_file.py`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from chimera.schemas.errors import EvidenceMalformed
from chimera.schemas.transparency import verifier_keys
from chimera.schemas.transparency.merkle import MAX_SIZE
from chimera.schemas.transparency.policy import NONE, Group, LogKey, Policy
from chimera.schemas.transparency.verifier_keys import Algorithm, VerifierKey

MAX_POLICY_BYTES = 65_536
MAX_LINES = 1_000
MAX_OF_A_KIND = 64  # logs, witnesses, groups; groups may stand in groups as deep as that
_SIZES = re.compile(r"sizes:(0|[1-9][0-9]{0,18})-(0|[1-9][0-9]{0,18})?")
_THRESHOLD = re.compile(r"[1-9][0-9]{0,3}")


def decode(raw: bytes, path: str) -> Policy:
    """Read a policy; `path` is named in errors.

    Raises:
        EvidenceMalformed: it is none, and in which line.
    """
    if len(raw) > MAX_POLICY_BYTES or raw.count(b"\n") > MAX_LINES:
        raise EvidenceMalformed(f"{path}: is too long for a policy")
    try:
        lines = raw.decode().split("\n")
    except UnicodeDecodeError as error:
        raise EvidenceMalformed(f"{path}: byte {error.start} is not UTF-8") from None
    draft = _Draft()
    for number, line in enumerate(lines, start=1):
        try:
            draft.take(line)
        except EvidenceMalformed as error:
            raise EvidenceMalformed(f"{path}, line {number}: {error}") from None
    if draft.quorum is None:
        raise EvidenceMalformed(f"{path}: has no quorum; `quorum {NONE}` asks for no witness")
    return Policy(tuple(draft.logs), draft.witnesses, draft.groups, draft.quorum)


@dataclass(slots=True)
class _Draft:
    """A policy while its lines are read."""

    logs: list[LogKey] = field(default_factory=list[LogKey])
    witnesses: dict[str, VerifierKey] = field(default_factory=dict[str, VerifierKey])
    groups: dict[str, Group] = field(default_factory=dict[str, Group])
    quorum: str | None = None
    members: set[str] = field(default_factory=set[str])  # of any group

    def take(self, line: str) -> None:
        """Raises EvidenceMalformed: it is no line of a policy, or one too many."""
        if any(ord(one) < 0x20 and one != "\t" for one in line) or "\x7f" in line:
            raise EvidenceMalformed("it has control characters")
        items = [item for item in re.split(r"[ \t]+", line) if item]
        match items:
            case []:
                pass
            case [first, *_] if first.startswith("#"):
                pass
            case ["log", key, *rest] if len(rest) <= 1:
                self._log(key, *rest)
            case ["witness", name, key, *rest] if len(rest) <= 1:
                self._witness(name, key)
            case ["group", name, threshold, *members] if members:
                self._group(name, threshold, tuple(members))
            case ["quorum", name]:
                self._quorum(name)
            case _:
                raise EvidenceMalformed("is no log, witness, group or quorum")
        if max(len(self.logs), len(self.witnesses), len(self.groups)) > MAX_OF_A_KIND:
            raise EvidenceMalformed(f"is one of more than {MAX_OF_A_KIND}")

    def _log(self, text: str, sizes: str = "") -> None:
        key = _key(text, Algorithm.NOTE, [one.key for one in self.logs])
        found = _SIZES.fullmatch(sizes)
        if sizes.startswith("sizes:") and not found:
            raise EvidenceMalformed(f"{sizes!r} should be sizes:<first>-<last>")
        first, last = found.groups() if found else ("0", None)
        log = LogKey(key, int(first), MAX_SIZE if last is None else int(last))
        if log.first_size > log.last_size:
            raise EvidenceMalformed(f"{sizes!r} has no size in it")
        self.logs.append(log)

    def _witness(self, name: str, text: str) -> None:
        self._require_new(name)
        self.witnesses[name] = _key(text, Algorithm.COSIGNATURE, self.witnesses.values())

    def _group(self, name: str, threshold: str, members: tuple[str, ...]) -> None:
        self._require_new(name)
        for member in members:
            if member not in self.witnesses and member not in self.groups:
                raise EvidenceMalformed(f"{member!r} is no witness or group of a line before")
            if member in self.members:
                raise EvidenceMalformed(f"{member!r} is a member already")
            self.members.add(member)
        words = {"all": len(members), "any": 1}
        is_number = _THRESHOLD.fullmatch(threshold) is not None
        needed = int(threshold) if is_number else words.get(threshold, 0)
        if not 1 <= needed <= len(members):
            raise EvidenceMalformed(f"{threshold!r} is not all, any, or 1 to {len(members)}")
        self.groups[name] = Group(needed, members)

    def _quorum(self, name: str) -> None:
        if self.quorum is not None:
            raise EvidenceMalformed("is a second quorum")
        if name != NONE and name not in self.witnesses and name not in self.groups:
            raise EvidenceMalformed(f"{name!r} is no witness or group of a line before")
        self.quorum = name

    def _require_new(self, name: str) -> None:
        if name == NONE or name in self.witnesses or name in self.groups:
            raise EvidenceMalformed(f"the name {name!r} is taken")


def _key(text: str, algorithm: Algorithm, others: Iterable[VerifierKey]) -> VerifierKey:
    key = verifier_keys.decode(text)
    if key.algorithm != algorithm:
        raise EvidenceMalformed(f"{key.name}: is a key for {key.algorithm.name.lower()}s")
    if any(key.public == other.public for other in others):
        raise EvidenceMalformed(f"{key.name}: the same key stands here already")
    return key
