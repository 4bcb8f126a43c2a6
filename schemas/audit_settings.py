"""The audit log: who writes and signs it, and its witness.

Sections of `schemas/settings.py`, which reads them; a field's description is its documentation.
"""

from pathlib import Path

from pydantic import Field, SecretStr

from chimera.schemas.section import Section


class AuditSettings(Section):
    origin: str = Field(
        default="chimera.local/audit",
        description="what the log is called, like example.com/audit: a URL without a scheme, which"
        " need not lead anywhere; never changed once a leaf is signed",
    )
    key_file: Path = Field(
        default=Path(".chimera/audit/key.pem"),
        description="private key (Ed25519, PEM, mode 0600) that signs checkpoints, and nothing else;"
        " made by `chimera sequencer --make-key`",
    )
    key: SecretStr | None = Field(
        default=None,
        description="the private key itself, as PEM; wins over the file; never logged",
    )
    earlier_keys: tuple[str, ...] = Field(
        default=(),
        description="public keys (C2SP vkeys) that signed this log before: what they published last"
        " is gone on from where checkpoints_file was lost",
    )
    outbox_dir: Path | None = Field(
        default=None,
        description="events of this machine that Kafka has not got yet, as of keys made while it was"
        " away; unset: `outbox` beside key_file",
    )
    checkpoints_file: Path = Field(
        default=Path(".chimera/audit/checkpoints.txt"),
        description="each checkpoint, appended before anybody else sees it; best out of reach of who"
        " may write to Kafka and ClickHouse",
    )
    checkpoint_leaves: int = Field(
        default=1_000, ge=1, description="so many leaves after the last one a checkpoint is signed"
    )
    checkpoint_ms: int = Field(
        default=10_000, ge=1, description="so long a leaf may wait for a checkpoint that covers it"
    )
    idle_ms: int = Field(
        default=3_600_000,
        ge=1,
        description="without new leaves the last head is signed again so often: silence is told from"
        " a log that was stopped",
    )
    reconcile_ms: int = Field(
        default=3_600_000,
        ge=1,
        description="how often leaves are compared with the offsets that lanes committed",
    )
    batch_leaves: int = Field(
        default=50_000, ge=1, description="leaves of one transaction, about; they wait in memory"
    )
    poll_ms: int = Field(
        default=200,
        ge=1,
        description="how long it waits for more than a little before it makes leaves of what came,"
        " or looks at the clock",
    )
    witnesses: tuple[str, ...] = Field(
        default=(),
        description="`<public key (C2SP vkey)> <URL>` of each witness that is asked to cosign",
    )
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65_535,
        description="Prometheus port of the sequencer, on CHIMERA_OBSERVABILITY__METRICS_HOST; 0: a"
        " free one; unset: none",
    )
    witness_timeout_ms: int = Field(
        default=5_000, ge=1, description="one question to a witness; checkpoints wait for it"
    )

    @property
    def outbox(self) -> Path:
        """The folder, wherever it comes from."""
        return self.outbox_dir or self.key_file.parent / "outbox"


class WitnessSettings(Section):
    name: str | None = Field(
        default=None,
        description="what the witness is called under checkpoints, like example.com/witness: a URL"
        " without a scheme, which need not lead anywhere; never changed later",
    )
    logs: tuple[str, ...] = Field(
        default=(),
        description="public keys (C2SP vkeys) of the logs that it cosigns; several of one log while"
        " a key is replaced",
    )
    key_file: Path = Field(
        default=Path(".chimera/witness/key.pem"),
        description="private key (Ed25519, PEM, mode 0600), used for nothing else; made by"
        " `chimera witness --make-key`",
    )
    key: SecretStr | None = Field(
        default=None,
        description="the private key itself, as PEM; wins over the file; never logged",
    )
    database: Path = Field(
        default=Path(".chimera/witness/witness.sqlite"),
        description="the last checkpoint of each log; a witness that loses it can be taken back",
    )
    host: str = Field(default="127.0.0.1", description="where it listens")
    port: int = Field(default=8025, ge=0, le=65_535, description="its HTTP port; 0: a free one")
