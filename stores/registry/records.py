"""What the registry gives back: frozen records, one for a row."""

import hashlib
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from chimera.schemas.compile_report import Precision
from chimera.schemas.manifest import Digest, File, Manifest
from chimera.schemas.replay_report import ReplayReport

Verdict = Literal["verified", "refused", "skipped"]


class Tenant(msgspec.Struct, frozen=True):
    id: UUID
    name: str
    created_at: datetime


class Model(msgspec.Struct, frozen=True):
    id: UUID
    name: str
    created_at: datetime
    versions: int  # how many are registered


class Version(msgspec.Struct, frozen=True):
    """Never changes once it is registered."""

    id: UUID
    model: str
    version: str
    manifest_bytes: bytes  # as they were signed
    manifest: Manifest
    sha256: Digest  # of the source file
    files: dict[str, File]
    registered_at: datetime
    registered_by: str

    @property
    def digest(self) -> str:
        """Of the version: what it is stored under, and what results name."""
        return hashlib.sha256(self.manifest_bytes).hexdigest()


class Artifact(msgspec.Struct, frozen=True):
    """What one tier made of a version for one kind of machine, or why it made nothing."""

    tier: str  # of `schemas.tiers`
    precision: Precision
    target: str  # what it was made for: an architecture, a device, library versions
    verdict: Verdict
    reason: str = ""
    sha256: Digest | None = None  # of the file; always there when it is verified
    size_bytes: int | None = None
    report: dict[str, Any] = {}  # as JSON: `compile_report.TierReport`
    made_at: datetime | None = None  # given by the registry


class Policy(msgspec.Struct, frozen=True):
    name: str
    body: dict[str, Any]
    updated_at: datetime
    updated_by: str


class Replay(msgspec.Struct, frozen=True):
    """A report, when and by whom it was written down, and its age by the server's clock."""

    report: ReplayReport
    made_at: datetime
    made_by: str
    age_s: float


class OutboxRecord(msgspec.Struct, frozen=True):
    """A record for a topic, written in the transaction of what it tells."""

    id: int  # in the order of each key's transactions
    topic: str  # without prefix
    key: bytes
    value: bytes
    headers: tuple[tuple[str, str], ...]
    created_at: datetime
