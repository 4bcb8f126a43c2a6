"""The servers that a deployment speaks to: Kafka, Postgres, the local stack, and who watches.

Sections of `schemas/settings.py`, which reads them; a field's description is its documentation.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from chimera.schemas.section import Section


class KafkaSettings(Section):
    bootstrap: str | None = Field(
        default=None,
        description="host:port[,host:port] of a cluster of your own; unset: the embedded one",
    )
    group: str = Field(
        default="chimera", description="consumer group; also names the transactional ids"
    )
    topic_prefix: str = Field(default="", description="put before every topic's name")
    partitions: int = Field(
        default=4, ge=1, description="partitions of the request and result topics"
    )
    replication: int = Field(
        default=1, ge=1, description="replicas of each topic that sync creates"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="how every client speaks to the brokers"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", description="used when security_protocol starts with SASL"
    )
    sasl_username: str | None = Field(default=None, description="SASL user")
    sasl_password: SecretStr | None = Field(default=None, description="SASL password; never logged")
    ssl_cafile: Path | None = Field(default=None, description="PEM file of the brokers' authority")
    ssl_certfile: Path | None = Field(
        default=None, description="PEM file of our own certificate (mTLS)"
    )
    ssl_keyfile: Path | None = Field(default=None, description="PEM file of our own key (mTLS)")
    session_timeout_ms: int = Field(
        default=10_000,
        description="a node silent for longer loses its partitions; recovery waits for it",
    )
    heartbeat_interval_ms: int = Field(
        default=2_000, description="at most a third of the session time-out"
    )
    request_timeout_ms: int = Field(
        default=20_000, description="one request to a broker; longer than a broker's restart"
    )
    metadata_max_age_ms: int = Field(
        default=30_000, ge=100, description="how soon added partitions are noticed, at the latest"
    )
    embedded_dir: Path = Field(
        default=Path(".chimera/kafka"), description="data of the embedded Kafka; survives restarts"
    )
    embedded_port: int | None = Field(
        default=None,
        ge=1,
        le=65_535,
        description="fixed port of the embedded Kafka; unset: 9092 where that is free, and the same again",
    )
    jars_dir: Path = Field(
        default=Path("~/.cache/chimera/kafka"),
        description="where the embedded Kafka's jars are kept, and its classes once they are made",
    )


class PostgresSettings(Section):
    dsn: SecretStr | None = Field(
        default=None,
        description="postgresql://role:password@host:port/database of the application role, on a "
        "server of your own; unset: the embedded one; never logged",
    )
    owner_dsn: SecretStr | None = Field(
        default=None,
        description="the same for the role that owns the tables, which only `chimera db` uses; "
        "unset: the embedded one's, or none where dsn names a server of your own",
    )
    embedded_dir: Path = Field(
        default=Path(".chimera/postgres"),
        description="data and secrets of the embedded Postgres; survives restarts",
    )
    embedded_port: int | None = Field(
        default=None,
        ge=1,
        le=65_535,
        description="fixed port of the embedded Postgres; unset: a free one",
    )
    pool_max: int = Field(
        default=8,
        ge=1,
        description="connections of one process; all of them together stay below the server's "
        "max_connections (100)",
    )
    connect_timeout_ms: int = Field(
        default=5_000, ge=1, description="one attempt to connect, or the wait for a free connection"
    )
    command_timeout_ms: int = Field(
        default=10_000, ge=1, description="one statement; longer than any of the registry's takes"
    )
    retry_for_ms: int = Field(
        default=30_000,
        ge=0,
        description="how long a lost server is tried again, with growing pauses; longer than its "
        "restart takes",
    )


class StackSettings(Section):
    dir: Path = Field(
        default=Path(".chimera"),
        description="what `chimera up` leaves for `status`, `down` and clients: state, lock, logs",
    )
    registry: bool = Field(
        default=True,
        description="whether `chimera up` also starts the model registry's Postgres, or sees that "
        "the one of CHIMERA_POSTGRES__DSN can be used",
    )
    trainer: bool = Field(
        default=True,
        description="whether `chimera up` also runs a training agent, where there are a registry and"
        " a node; it starts once the nodes serve",
    )
    sequencer: bool = Field(
        default=True,
        description="whether `chimera up` also runs a sequencer, while the journal is on; of several"
        " hosts on one cluster one has it, with the log's one key: false on the others",
    )
    warehouse: bool = Field(
        default=True,
        description="whether `chimera up` also runs a warehouse, while the journal is on; of several"
        " hosts with one CHIMERA_CLICKHOUSE__DSN one is enough: false on the others",
    )


class ObservabilitySettings(Section):
    log_format: Literal["console", "json"] = Field(
        default="console", description="how logs are written"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="from"
    )
    metrics_host: str = Field(default="127.0.0.1", description="where Prometheus may scrape")
    metrics_port: int | None = Field(
        default=None, ge=0, le=65_535, description="Prometheus port; 0: a free one; unset: none"
    )
