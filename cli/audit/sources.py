"""What an auditor's command goes over: an export, or the log in Kafka; and whom it believes."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chimera.schemas.settings import Settings
    from chimera.topics.audit_log import AuditLog


@contextmanager
def kafka(settings: "Settings", bootstrap: str | None) -> "Generator[AuditLog]":
    """Raises KafkaUnavailable: nobody answers. ConfigurationError: no address."""
    from chimera.cli.stack.state import find_bootstrap
    from chimera.topics import audit_log, clients
    from chimera.topics.catalogue import catalogue

    where = bootstrap or find_bootstrap(settings)
    arguments = clients.consumer_arguments(settings.kafka, where, "chimera-auditor")
    with audit_log.opened(arguments, catalogue(settings)) as opened:
        yield opened


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
