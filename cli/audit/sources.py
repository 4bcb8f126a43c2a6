"""What an auditor's command goes over: Kafka's own log, or ClickHouse's table; and whom it believes."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from chimera.schemas.settings import Settings
    from chimera.schemas.transparency.policy import Policy
    from chimera.schemas.transparency.source import LeafSource

Source = Literal["clickhouse", "kafka"]


@contextmanager
def opened(settings: "Settings", source: Source, bootstrap: str | None) -> "Generator[LeafSource]":
    """Raises KafkaUnavailable, ClickHouseUnavailable: nobody answers. ConfigurationError: no address."""
    if source == "kafka":
        from chimera.cli.stack.state import find_bootstrap
        from chimera.topics import audit_log, clients
        from chimera.topics.catalogue import catalogue

        where = bootstrap or find_bootstrap(settings)
        arguments = clients.consumer_arguments(settings.kafka, where, "chimera-auditor")
        with audit_log.opened(arguments, catalogue(settings)) as log:
            yield log
        return
    from chimera.cli.warehousing.engine import asked
    from chimera.stores.audit_table import AuditTable

    with asked(settings.clickhouse) as clickhouse:
        yield AuditTable(clickhouse)


def in_turn(settings: "Settings", source: Source | None) -> Sequence[Source]:
    """Where to look for a request: where it was said; else a warehouse that answers, then Kafka."""
    from chimera.cli.warehousing.engine import served

    if source is not None:
        return (source,)
    of = settings.clickhouse
    return ("clickhouse", "kafka") if of.dsn is not None or served(of) is not None else ("kafka",)


def believed(settings: "Settings", file: Path | None) -> "Policy":
    """A policy, read. Raises as `policy_of`."""
    from chimera.schemas.transparency import policy_file

    return policy_file.decode(policy_of(settings, file), str(file or "the log's own key"))


def policy_of(settings: "Settings", file: Path | None) -> bytes:
    """A policy's text: the file's, or one that believes the log's own key.

    Raises:
        ConfigurationError: there is neither. EvidenceMalformed: the file cannot be read.
    """
    from chimera.schemas.errors import ConfigurationError
    from chimera.schemas.transparency.checkpoints import log_key
    from chimera.schemas.transparency.policy_file import MAX_POLICY_BYTES
    from chimera.stores.audit_export import read_file
    from chimera.stores.keys import find_key

    if file is not None:
        return read_file(file, MAX_POLICY_BYTES)
    audit = settings.audit
    public = audit.key_file.expanduser().with_suffix(".pub")
    key = find_key(audit.key_file, audit.key, "CHIMERA_AUDIT__KEY")
    if key is None and not public.exists():
        raise ConfigurationError(f"{public}: no key of the log; say whom to believe with --policy")
    text = log_key(audit.origin, key).text if key else public.read_text("utf-8").strip()
    return f"log {text}\nquorum none\n".encode()
