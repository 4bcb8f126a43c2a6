"""The start of a process: with other settings than the last of its role, it is told to the audit log.

    last of this role here ── else the last anywhere ── else the defaults ── differ ── event ── state

What was last stands in `settings.state`, compacted: each role has Kafka, and not each has a registry;
and events are kept for a month, a state for ever. The event goes first: a process that dies in between
is told of again, by the next one. Values of settings are compared by name, secrets only by whether they
are set. `tests/integration/test_starting.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (aiokafka ships no type information)

import socket

import structlog
from aiokafka.errors import KafkaError

from chimera.agents import audit_events
from chimera.schemas.control_actions import settings_changed
from chimera.schemas.effective_settings import (
    SettingsInForce,
    changes,
    decode_in_force,
    digest_of,
    encode_in_force,
    values_of,
)
from chimera.schemas.errors import KafkaUnavailable, RequestError
from chimera.schemas.settings import Settings
from chimera.schemas.transparency.leaves import encode_leaf
from chimera.topics import clients, log_reader
from chimera.topics.audit_events import CLIENT, producing
from chimera.topics.catalogue import catalogue

log = structlog.get_logger(__name__)


async def begin(
    settings: Settings, bootstrap: str, role: str, actor: str, host: str | None = None
) -> list[str]:
    """Tell that a process of this role begins, if its settings are new; the names that changed.

    What waits in this machine's outbox goes with it.

    Raises:
        KafkaUnavailable: no broker, or it takes nothing. ConfigurationError: a topic is missing.
    """
    await audit_events.deliver(settings, bootstrap)
    topics = catalogue(settings)
    place = host or socket.gethostname()[:255]
    async with producing(settings, bootstrap, [topics.audit_events, topics.settings_state]) as into:
        last = await _last(settings, bootstrap, role, place)
        before = last.values if last else values_of(Settings.model_construct())
        values = values_of(settings)
        changed = changes(before, values)
        if not changed:
            return []
        act, digest = audit_events.act(actor), digest_of(values)
        process = f"{role}@{place}"
        event = settings_changed(act, process, changed, digest, last.digest if last else "")
        state = SettingsInForce(
            role=role, host=place, at_ms=act.at_ms, actor=actor, digest=digest, values=values
        )
        await into.send_and_wait(topics.audit_events.name, encode_leaf(event), key=actor.encode())
        await into.send_and_wait(
            topics.settings_state.name, encode_in_force(state), key=process.encode()
        )
    log.info("settings_changed", role=role, names=changed)
    return changed


async def _last(settings: Settings, bootstrap: str, role: str, host: str) -> SettingsInForce | None:
    """Of the role on the host; else the newest of the role."""
    arguments = clients.consumer_arguments(settings.kafka, bootstrap, CLIENT)
    here: SettingsInForce | None = None
    anywhere: SettingsInForce | None = None
    topic = catalogue(settings).settings_state.name
    try:
        async with log_reader.reading(arguments, topic) as reader:
            async for values in reader.values():
                for one in _read(values):
                    if one.role == role:
                        anywhere = one
                        here = one if one.host == host else here
    except KafkaError as error:
        raise KafkaUnavailable(f"{topic}: {str(error) or repr(error)}") from error
    return here or anywhere


def _read(values: list[bytes]) -> list[SettingsInForce]:
    found: list[SettingsInForce] = []
    for value in values:
        try:
            found.append(decode_in_force(value))
        except RequestError as error:
            log.warning("settings_state_unreadable", reason=str(error))
    return found
