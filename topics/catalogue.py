"""Every topic, once: name, key, record, partitions, clean-up, retention, size limit, dead letters.

`catalogue(settings)` is the only source of topic names and limits; `chimera topics sync`, the
AsyncAPI document, the node and the tests read it. All topics use `LogAppendTime`.

Sizes. Kafka's `max.message.bytes` counts a whole record batch: value, key, headers and framing.
A request may use `ENVELOPE_BYTES` beside its value, so a value of `max_request_bytes + 1` still
arrives and is answered `too_large` by us, rather than refused by the broker. Retry and dead-letter
topics add a second `ENVELOPE_BYTES` for the story that we write beside the original bytes: together
the 64 KiB of DESIGN 3. The limit counts compressed bytes: a value that is larger only after it is
unpacked cannot be copied whole (`dead_letters.dead_letter` says what happens then).
`tests/topics/test_catalogue.py` holds the exact set.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal

from chimera.schemas.batches import ENVELOPE_BYTES
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.settings import Settings

DAY_MS = 86_400_000
FOREVER = -1
SMALL_BYTES = 1_048_576  # the largest batch of topics that are not ours to size

Cleanup = Literal["delete", "compact"]

_UNITS = (("d", DAY_MS), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic as it should be on the broker."""

    name: str  # with the prefix
    key: str  # what the record's key is, in words
    record: str  # what a record is, in words
    partitions: int
    replication: int
    max_message_bytes: int  # of one record batch, as the broker counts it
    cleanup: Cleanup = "delete"  # compact: the last record of each key is kept
    retention_ms: int = FOREVER
    dead_letters: str | None = None  # where its records go that cannot be answered otherwise
    delay_ms: int = 0  # retry topics: how long a record waits here
    in_use: bool = True  # false: created already, but nothing writes it yet

    @property
    def config(self) -> dict[str, str]:
        """The topic's own configuration; what is not named is the broker's default."""
        return {
            "cleanup.policy": self.cleanup,
            "max.message.bytes": str(self.max_message_bytes),
            "message.timestamp.type": "LogAppendTime",
            "min.insync.replicas": str(max(1, self.replication - 1)),
            "retention.ms": str(self.retention_ms),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All topics by their part; iteration yields each once."""

    requests: Topic
    retries: tuple[Topic, ...]  # by delay, shortest first
    dead_letters: Topic
    results: Topic
    attempts: Topic
    journal: Topic
    model_commands: Topic
    model_events: Topic
    model_state: Topic
    model_observed: Topic
    training_triggers: Topic
    training_dead_letters: Topic
    training_events: Topic
    training_samples: Topic
    audit_events: Topic
    audit_log: Topic
    audit_checkpoints: Topic
    settings_state: Topic

    def __iter__(self) -> Iterator[Topic]:
        for field in fields(self):
            topics: Topic | tuple[Topic, ...] = getattr(self, field.name)
            yield from topics if isinstance(topics, tuple) else (topics,)

    @property
    def inputs(self) -> tuple[Topic, ...]:
        """What lanes read: requests, and whatever waits for another try."""
        return (self.requests, *self.retries)

    @property
    def retry_prefix(self) -> str:
        """How the name of every retry topic begins, also of one for a delay that is not set."""
        return f"{self.requests.name}.retry."

    @property
    def paired(self) -> tuple[Topic, ...]:
        """Topics in which a request keeps its partition number: their counts must be equal."""
        inference = (self.results, self.dead_letters, self.attempts, self.journal)
        return (*self.inputs, *inference)


def catalogue(settings: Settings) -> Catalogue:
    """The catalogue that these settings describe.

    Raises:
        ConfigurationError: a prefix or a retry delay that cannot name a topic.
    """
    rows = _Rows(settings)
    return Catalogue(
        **_of_inference(rows, settings),
        **_of_models(rows),
        **_of_training(rows, settings.kafka.partitions),
        **_of_audit(rows, settings),
    )


class _Rows:
    """Makes topics of what is said of each."""

    def __init__(self, settings: Settings) -> None:
        self._prefix = settings.kafka.topic_prefix
        self._replication = settings.kafka.replication

    def __call__(
        self,
        name: str,
        key: str,
        record: str,
        *,
        partitions: int = 1,
        size: int = SMALL_BYTES,
        cleanup: Cleanup = "delete",
        days: int = FOREVER,
        dead_letters: Topic | None = None,
        delay_ms: int = 0,
        in_use: bool = True,
    ) -> Topic:
        return Topic(
            name=_checked(self._prefix + name),
            key=key,
            record=record,
            partitions=partitions,
            replication=self._replication,
            max_message_bytes=size,
            cleanup=cleanup,
            retention_ms=FOREVER if days == FOREVER else days * DAY_MS + delay_ms,
            dead_letters=dead_letters.name if dead_letters else None,
            delay_ms=delay_ms,
            in_use=in_use,
        )


def _of_inference(row: _Rows, settings: Settings) -> dict[str, Any]:
    lanes, serving = settings.kafka.partitions, settings.serving
    request_bytes, result_bytes = serving.max_request_bytes, serving.max_result_bytes
    story_bytes = request_bytes + 2 * ENVELOPE_BYTES
    dead = row(
        "inference.requests.dlq",
        "the request's",
        "the request's original bytes; why it failed, in headers",
        partitions=lanes,
        size=story_bytes,
        days=30,
    )
    return {
        "requests": row(
            "inference.requests",
            "the caller's ordering key, or none",
            "a request of the Open Inference Protocol v2",
            partitions=lanes,
            size=request_bytes + ENVELOPE_BYTES,
            days=7,
            dead_letters=dead,
        ),
        "retries": tuple(
            row(
                f"inference.requests.retry.{delay_name(delay)}",
                "the request's",
                "the request's original bytes; why it failed and when it is due, in headers",
                partitions=lanes,
                size=story_bytes,
                days=7,
                dead_letters=dead,
                delay_ms=delay,
            )
            for delay in _ascending(serving.retry_delays_ms)
        ),
        "dead_letters": dead,
        "results": row(
            "inference.results",
            "the request's",
            "a response of the Open Inference Protocol v2, or an error outcome",
            partitions=lanes,
            size=result_bytes + 2 * ENVELOPE_BYTES,
            days=7,
        ),
        "attempts": row(
            "inference.attempts",
            "<topic>:<partition>:<offset> of a request",
            "how many executors the request has killed; none: it is decided",
            partitions=lanes,
            cleanup="compact",
        ),
        "journal": row(
            "inference.journal",
            "<topic>:<partition> of the lane",
            "one committed window: a columnar segment, one row a request",
            partitions=lanes,
            size=max(story_bytes, SMALL_BYTES),
            days=30,
        ),
    }


def _of_models(row: _Rows) -> dict[str, Any]:
    return {
        "model_commands": row(
            "models.commands",
            "<tenant>/<model>",
            "register, compile, deploy, promote, roll back, pause, resume",
            days=90,
        ),
        "model_events": row(
            "models.events", "<tenant>/<model>", "what happened to a model", days=90
        ),
        "model_state": row(
            "models.state",
            "<tenant>/<model>",
            "which versions serve, with weights, digests and tiers; none: the model is gone",
            cleanup="compact",
        ),
        "model_observed": row(
            "models.observed",
            "<tenant>/<model>",
            "what one node saw one version do, in about a second",
            days=7,
        ),
    }


def _of_training(row: _Rows, lanes: int) -> dict[str, Any]:
    untrained = row(
        "training.triggers.dlq",
        "the trigger's",
        "the trigger's original bytes; why it was refused, in headers",
        size=SMALL_BYTES + 2 * ENVELOPE_BYTES,
        days=30,
    )
    return {
        "training_triggers": row(
            "training.triggers",
            "the model's name",
            "train, cancel, resume, and policies that order runs",
            days=30,
            dead_letters=untrained,
        ),
        "training_dead_letters": untrained,
        "training_events": row(
            "training.events",
            "the run's id, or the trigger's",
            "what became of triggers and policies; a run's progress, its manifest, its version's way",
            days=90,
        ),
        "training_samples": row(
            "training.samples",
            "the request's id",
            "a feedback label: what the right answer to a request was",
            partitions=lanes,
            days=30,
        ),
    }


def _of_audit(row: _Rows, settings: Settings) -> dict[str, Any]:
    lanes = settings.kafka.partitions
    return {
        "audit_events": row(
            "audit.events",
            "the acting party",
            "one action, to be sequenced into the log",
            partitions=lanes,
        ),
        "audit_log": row("audit.log", "none", "one leaf of the Merkle log, in sequence"),
        "audit_checkpoints": row("audit.checkpoints", "the log's origin", "a signed tree head"),
        "settings_state": row(
            "settings.state",
            "<role>@<host>",
            "the settings that a process began with, if they were new; never a secret",
            cleanup="compact",
        ),
    }


def delay_name(delay_ms: int) -> str:
    """A delay as a retry topic's last part: 5_000 -> `5s`, 600_000 -> `10m`, 1_500 -> `1500ms`.

    The largest unit that divides it, so two delays never share a name.
    """
    unit, size = next(unit for unit in _UNITS if delay_ms % unit[1] == 0)
    return f"{delay_ms // size}{unit}"


def _ascending(delays: tuple[int, ...]) -> tuple[int, ...]:
    if any(delay <= 0 for delay in delays) or list(delays) != sorted(set(delays)):
        raise ConfigurationError(
            f"CHIMERA_SERVING__RETRY_DELAYS_MS: {list(delays)} should be positive and ascending"
        )
    return delays


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"CHIMERA_KAFKA__TOPIC_PREFIX: {name!r} is not a topic's name "
            "(letters, digits, '.', '_' and '-', at most 249)"
        )
    return name
