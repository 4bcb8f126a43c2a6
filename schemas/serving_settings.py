"""How requests are fetched, batched, computed and made visible.

Sections of `schemas/settings.py`, which reads them; a field's description is its documentation.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field

from chimera.schemas.guarantees import Guarantee
from chimera.schemas.section import Section


class ServingSettings(Section):
    guarantee: Guarantee = Field(
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
    refused_again_ms: int = Field(
        default=15_000,
        ge=1,
        description="a version that executors refused is tried again after this, as a full disk"
        " passes; doubles each time, ten times at most",
    )
    executors: int = Field(default=1, ge=1, description="executor processes for each device")
    devices: tuple[str, ...] = Field(
        default=(), description="for example cuda:0; empty: every GPU that is found, else cpu"
    )
    threads: int = Field(default=1, ge=1, description="compute threads of one executor")
    torch_fallback: bool = Field(
        default=False,
        description="executors have torch wherever a version has a tier that needs it, so that it has"
        " one more to go on with when its fastest fails; ten times the memory, and seconds to start",
    )
    max_request_bytes: int = Field(
        default=1_048_576,
        description="a larger request value is answered too_large, and so is each request of a"
        " compressed batch that becomes more than 128 MiB in memory",
    )
    max_result_bytes: int = Field(
        default=1_048_576, description="a larger result value is answered too_large"
    )
    window_records: int = Field(
        default=6_144,
        ge=1,
        description="undecided and uncommitted records a lane may hold; executors get no more of"
        " them than they answer in a quarter of decide_within_ms",
    )
    window_bytes: int = Field(
        default=16_777_216,
        description="their bytes, and those of their results; past either, the lane pauses",
    )
    decide_within_ms: int = Field(
        default=30_000,
        description="a request is answered backend_unavailable when it has been in its lane for"
        " this long, and for as long whoever has it began and ended nothing: slow is not enough, so"
        " this must be longer than any one call of a model. It stands still while no executor lives,"
        " and begins anew after a pause, an open breaker and the delay of a retry topic",
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
        description="ordering=none: one retry topic for each delay. A delay that is taken out leaves"
        " its topic unread: `chimera topics sync`, `chimera doctor` and each node that starts say how"
        " many requests wait there, and the delay has to be set again until they are answered",
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
    model_memory_bytes: int | None = Field(
        default=None,
        ge=1 << 20,
        description="what versions may take of one device's memory, all its executors together; a"
        " new one displaces those that are kept for a way back, the least recently used first, and"
        " one that does not fit beside what serves is refused; unset: no limit, as nobody knows who"
        " else lives on the machine",
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
        default=10,
        ge=1,
        description="fewer calls do not open a tier's circuit breaker; so many different requests that"
        " it failed in a row, with none computed in between, do at whatever pace",
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


class ShadowsSettings(Section):
    batch_ms: float = Field(
        default=2.0,
        gt=0,
        le=500,
        description="a shadow computes as many rows together as take about so long: a request that"
        " arrives meanwhile waits for them; one row may take longer",
    )
    backlog_rows: int = Field(
        default=4_096,
        ge=1,
        description="rows that wait for a shadow in one executor; more are dropped and counted",
    )
    backlog_bytes: int = Field(
        default=33_554_432, ge=1, description="their inputs and outputs; past either, the same"
    )


class CommitSettings(Section):
    linger_ms: float = Field(
        default=2.0,
        ge=0,
        description="pause between a lane's transactions; trades latency for fewer",
    )
    busy_linger_ms: float = Field(
        default=30.0,
        ge=0,
        description="the same while there is a backlog, in the lane's window or on the broker: there "
        "larger transactions save more than they delay",
    )
    max_records: int = Field(default=16_384, ge=1, description="records in one transaction")
    max_bytes: int = Field(
        default=33_554_432,
        ge=1,
        description="results in one transaction, past which nothing is added",
    )
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
    max_poll_interval_ms: int = Field(
        default=300_000,
        ge=1_000,
        description="a node whose loop asks for no records for so long leaves its group",
    )
