"""How what happened is kept: the journal, and ClickHouse.

Sections of `schemas/settings.py`, which reads them; a field's description is its documentation.
"""

from pathlib import Path

from pydantic import Field, SecretStr

from chimera.schemas.section import Section


class JournalSettings(Section):
    enabled: bool = Field(
        default=False,
        description="write a row about each request to inference.journal, in the transaction of its"
        " result; warehouse and sequencer, which read it, are two processes more, so it is asked for",
    )
    keys_dir: Path = Field(
        default=Path(".chimera/keys/tenants"),
        description="<tenant>.key, made by `chimera keys tenant`: rows of tenants that have one commit"
        " to the bytes of request and result; whoever destroys it erases what they stand for",
    )


class ClickHouseSettings(Section):
    dsn: SecretStr | None = Field(
        default=None,
        description="https://user:password@host:8443 of a server of your own; unset: the embedded"
        " engine; never logged",
    )
    dir: Path = Field(
        default=Path(".chimera/clickhouse"),
        description="data of the embedded engine; one process owns it",
    )
    batch_rows: int = Field(
        default=200_000,
        ge=1,
        le=500_000,
        description="rows of one INSERT, about, in some 300 bytes of memory each; more are fewer and"
        " larger parts, which are merged less often",
    )
    batch_bytes: int = Field(
        default=33_554_432, ge=1, description="of the journal's segments that one INSERT takes"
    )
    batch_ms: int = Field(
        default=1_000, ge=0, description="how long a row may wait for company before its INSERT"
    )
    inference_log_days: int | None = Field(
        default=400, ge=1, description="how long inference_log keeps a row; null: for ever"
    )
    model_log_days: int | None = Field(
        default=None, ge=1, description="how long model_log keeps a row; null: for ever"
    )
    training_log_days: int | None = Field(
        default=None,
        ge=1,
        description="how long training_log keeps a row; null: for ever; the audit log always does",
    )
    http_host: str = Field(
        default="127.0.0.1",
        description="where the warehouse serves ClickHouse's HTTP interface, for reading, and its"
        " metrics; anywhere but on loopback it asks for a password",
    )
    http_port: int | None = Field(
        default=8123, ge=0, le=65_535, description="of it; 0: a free one; null: it is not served"
    )
    http_password: SecretStr | None = Field(
        default=None,
        description="that clients of it have to bring, whatever their user; never logged",
    )
    readers: int = Field(
        default=4, ge=1, le=64, description="statements that it answers at a time; others wait"
    )
    reader_seconds: int = Field(default=60, ge=1, description="that one statement may take")
    reader_memory_bytes: int = Field(
        default=2_000_000_000, ge=10_000_000, description="that one statement may take"
    )
    reader_rows: int = Field(
        default=10_000_000, ge=1, description="that the answer of one statement may have"
    )
