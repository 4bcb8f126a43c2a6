"""All settings: environment and one optional TOML file in, one frozen `Settings` out.

A variable is `CHIMERA_<SECTION>__<FIELD>`, for example `CHIMERA_KAFKA__BOOTSTRAP`. The file is
`chimera.toml` in the working folder, or the one that `CHIMERA_CONFIG` names; the environment wins.
Nobody else reads the environment. Each field's description gives its unit and its reason, and
`docs/settings.md` is made of them. `tests/schemas/test_settings.py` holds it together.
"""

import os
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from chimera.schemas.errors import ConfigurationError


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


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
        description="fixed port of the embedded Kafka; unset: a free one",
    )
    jars_dir: Path = Field(
        default=Path("~/.cache/chimera/kafka"),
        description="where the embedded Kafka's jars are kept once they are fetched",
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


class ServingSettings(Section):
    guarantee: Literal["exactly_once", "at_least_once"] = Field(
        default="exactly_once",
        description="at_least_once answers sooner and may repeat an outcome after a crash",
    )
    models_dir: Path = Field(
        default=Path("models"), description="<name>/<version>/{model.onnx,manifest.json}"
    )
    follow: bool = Field(
        default=False,
        description="serve what the topic models.state says, from the store of artifacts, instead of"
        " the folder",
    )
    executors: int = Field(default=1, ge=1, description="executor processes for each device")
    devices: tuple[str, ...] = Field(
        default=(), description="for example cuda:0; empty: every GPU that is found, else cpu"
    )
    threads: int = Field(default=1, ge=1, description="compute threads of one executor")
    max_request_bytes: int = Field(
        default=1_048_576, description="a larger request value is answered too_large"
    )
    max_result_bytes: int = Field(
        default=1_048_576, description="a larger result value is answered too_large"
    )
    window_records: int = Field(
        default=8_192, ge=1, description="undecided and uncommitted records a lane may hold"
    )
    window_bytes: int = Field(
        default=16_777_216, description="their bytes; past either, the lane pauses"
    )
    decide_within_ms: int = Field(
        default=30_000,
        description="a request without an answer for this long is answered with an error",
    )
    inline_retry_ms: int = Field(
        default=5_000,
        description="ordering=key: how long a retriable failure is retried in its lane",
    )
    revoke_within_ms: int = Field(
        default=3_000, description="a revoked lane commits what is decided for at most this long"
    )
    deadline_tolerance_ms: int = Field(
        default=100, description="added to a caller's deadline for the difference between clocks"
    )
    retry_delays_ms: tuple[int, ...] = Field(
        default=(5_000, 60_000, 600_000),
        description="ordering=none: one retry topic for each delay",
    )
    crash_limit: int = Field(
        default=3,
        ge=1,
        description="a request that killed this many executors is not computed again",
    )
    run_timeout_ms: int = Field(
        default=10_000, description="an executor that computes one batch for longer is replaced"
    )
    claim_prefixes: tuple[str, ...] = Field(
        default=(), description="fsspec URL prefixes that claim checks may name; empty: none"
    )
    max_claim_bytes: int = Field(
        default=67_108_864,
        ge=1,
        description="of one request's claim checks together; more is answered too_large",
    )
    claim_timeout_ms: int = Field(
        default=10_000, ge=1, description="for all claim checks of one request"
    )
    executor_memory_bytes: int | None = Field(
        default=None,
        ge=1 << 30,
        description="address space of an executor on the processor; past it a request is answered"
        " out_of_memory instead of the kernel ending a process; unset: no limit",
    )


class BatchingSettings(Section):
    max_batch_size: int = Field(default=256, ge=1, description="default of models that name none")
    max_queue_delay_us: int = Field(
        default=0,
        ge=0,
        description="how long a request may wait for company; 0: go with what is there",
    )


class DispatchSettings(Section):
    window_ms: int = Field(
        default=30_000, ge=1, description="a tier is judged by its calls of this time"
    )
    window_calls: int = Field(default=100, ge=1, description="and by at most so many of them")
    minimum_calls: int = Field(
        default=10, ge=1, description="fewer calls do not open a tier's circuit breaker"
    )
    error_rate: float = Field(
        default=0.5, gt=0, le=1, description="share of failed calls that opens it"
    )
    slow_rate: float = Field(
        default=0.8, gt=0, le=1, description="share of slow calls that opens it"
    )
    slow_factor: float = Field(
        default=5.0,
        gt=1,
        description="a call is slow that takes so many times its tier's measured p99; a busy "
        "machine doubles it without any fault of the tier",
    )
    open_ms: int = Field(
        default=1_000, ge=1, description="an open tier gets a probe after this; doubles each time"
    )
    max_open_ms: int = Field(default=60_000, ge=1, description="but not past this")


class CommitSettings(Section):
    linger_ms: float = Field(
        default=2.0,
        ge=0,
        description="pause between a lane's transactions; trades latency for fewer",
    )
    busy_linger_ms: float = Field(
        default=60.0,
        ge=0,
        description="the same while the lane's window is full: where there is a backlog, larger "
        "transactions save more than they delay",
    )
    max_records: int = Field(default=16_384, ge=1, description="records in one transaction")
    compression: Literal["none", "snappy", "zstd"] = Field(
        default="snappy",
        description="of what a node writes; its headers repeat, so batches become five times "
        "smaller; every client reads it, aiokafka if cramjam is installed",
    )
    transaction_timeout_ms: int = Field(
        default=15_000, description="the broker aborts a silent transaction after this"
    )


class FetchSettings(Section):
    linger_ms: float = Field(
        default=3.0, ge=0, description="pause between fetches, so that small runs arrive together"
    )
    max_bytes: int = Field(
        default=1_048_576,
        description="of one partition in one fetch; a larger single record still comes",
    )
    max_run_records: int = Field(default=512, ge=1, description="records in one run")
    block_records: int = Field(
        default=64,
        ge=1,
        description="a run of so many goes to an executor as the broker stores it, unread by the "
        "node; fewer are better answered together with others",
    )


class KeysSettings(Section):
    signing_file: Path = Field(
        default=Path(".chimera/keys/signing.pem"),
        description="private key (Ed25519, PEM, mode 0600) that signs manifests and compiled"
        " programs; made by `chimera keys init`",
    )
    signing: SecretStr | None = Field(
        default=None,
        description="the private key itself, as PEM; wins over the file; never logged",
    )
    trusted: tuple[str, ...] = Field(
        default=(),
        description="public keys (ed25519:...) whose signatures also count, for machines that only"
        " verify and while a key is replaced; our own always counts",
    )
    trusted_dir: Path = Field(
        default=Path(".chimera/keys/trusted"),
        description="folder of more such keys, one in each *.pub; may be missing",
    )


class ArtifactsSettings(Section):
    url: str = Field(
        default=".chimera/artifacts",
        description="where models' files rest: a folder, or any URL that fsspec opens",
    )
    cache_dir: Path = Field(
        default=Path(".chimera/cache/artifacts"),
        description="read-only copies of what rests elsewhere; verified at each use",
    )
    grace_s: int = Field(
        default=86_400,
        ge=0,
        description="files that nothing refers to are kept for this long: a registration that is"
        " under way has stored them before it names them",
    )
    definitions: tuple[str, ...] = Field(
        default=("chimera.workers.definitions.mlp:*", "chimera.workers.definitions.encoder:*"),
        description="torch definitions that a manifest may name: package.module:name, or"
        " package.module:* for all of a module; importing one runs its code",
    )
    operator_domains: tuple[str, ...] = Field(
        default=(),
        description="domains of ONNX operators that are taken beside ONNX's own, exactly",
    )
    max_graph_nodes: int = Field(
        default=50_000,
        ge=1,
        description="nodes of an ONNX graph, subgraphs and expanded functions counted",
    )
    max_tensors: int = Field(
        default=50_000, ge=1, description="tensors in one ONNX or safetensors file"
    )
    max_file_bytes: int = Field(
        default=34_359_738_368, ge=1, description="of one file of a version; ONNX: 2 GiB at most"
    )
    inspection_cpu_s: int = Field(
        default=5,
        ge=1,
        description="processor seconds that one inspection may take, and one more for each"
        " 128 MiB; after four times as much on the clock it is ended",
    )
    inspection_memory_bytes: int = Field(
        default=536_870_912,
        ge=1 << 28,
        description="address space of the inspection, and three times the largest ONNX file",
    )


class CompilingSettings(Section):
    batch_sizes: tuple[int, ...] = Field(
        default=(1, 32, 256),
        description="rows of the batches that tiers are measured at, and TensorRT's profiles",
    )
    measure_s: float = Field(
        default=1.0, gt=0, description="how long each tier is measured at each batch size"
    )
    int8: bool = Field(
        default=True, description="try int8 on the processor too; it must be verified and faster"
    )


class ControllerSettings(Section):
    poll_ms: int = Field(
        default=250,
        ge=1,
        description="how often it looks for commands, and for rows of the outbox that somebody"
        " else wrote; a change is visible no sooner",
    )
    compile_within_s: float = Field(
        default=3_600,
        gt=0,
        description="one compile command; its process is ended after that, and commands behind it"
        " wait for as long",
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


class Settings(BaseSettings):
    """The whole configuration of a process, read once at its start."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="CHIMERA_", env_nested_delimiter="__"
    )

    kafka: KafkaSettings = KafkaSettings()
    postgres: PostgresSettings = PostgresSettings()
    serving: ServingSettings = ServingSettings()
    batching: BatchingSettings = BatchingSettings()
    dispatch: DispatchSettings = DispatchSettings()
    commit: CommitSettings = CommitSettings()
    fetch: FetchSettings = FetchSettings()
    compiling: CompilingSettings = CompilingSettings()
    controller: ControllerSettings = ControllerSettings()
    observability: ObservabilitySettings = ObservabilitySettings()
    stack: StackSettings = StackSettings()
    keys: KeysSettings = KeysSettings()
    artifacts: ArtifactsSettings = ArtifactsSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = Path(os.environ.get("CHIMERA_CONFIG", "chimera.toml"))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, file)


def load() -> Settings:
    """Read environment and file.

    Raises:
        ConfigurationError: a value is wrong, a name is unknown, or the file is not TOML; names it.
    """
    for name in os.environ:
        section = name.removeprefix("CHIMERA_").split("__")[0].lower()
        if "__" in name and name.startswith("CHIMERA_") and section not in Settings.model_fields:
            raise ConfigurationError(f"{name}: there is no section {section!r}")
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        where = "__".join(str(part) for part in first["loc"]).upper()
        raise ConfigurationError(f"CHIMERA_{where}: {first['msg']}") from None
    except SettingsError as error:
        raise ConfigurationError(f"{error}; a list is written as JSON") from error
    except (OSError, TOMLDecodeError) as error:
        raise ConfigurationError(f"the settings file cannot be read: {error}") from error
