"""The start of a process: with other settings than the last of its role, it is told to the audit log.

    last of this role here ── else the last anywhere ── else the defaults ── differ ── event ── state

What was last stands in `settings.state`, compacted: each role has Kafka, and not each has a registry;
and a state is found without going over all events. The event goes first: a process that dies in between
is told of again, by the next one. Values of settings are compared by name, secrets only by whether they
are set; public keys that are in force are compared, too. `tests/integration/test_starting.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (aiokafka ships no type information)

import asyncio
import socket
import time
from collections.abc import Mapping

import structlog
from aiokafka.errors import KafkaError

from chimera.agents import audit_events
from chimera.schemas.control_actions import Act, settings_changed
from chimera.schemas.effective_settings import (
    SettingsInForce,
    changes,
    decode_in_force,
    digest_of,
    encode_in_force,
    values_of,
)
from chimera.schemas.errors import ConfigurationError, KafkaUnavailable, RequestError
from chimera.schemas.settings import Settings
from chimera.schemas.transparency.leaves import encode_leaf
from chimera.topics import admin, clients, log_reader
from chimera.topics.audit_events import CLIENT, producing
from chimera.topics.catalogue import catalogue

log = structlog.get_logger(__name__)

TRY_AGAIN_S = 0.5


async def begin(
    settings: Settings,
    bootstrap: str,
    role: str,
    actor: str,
    host: str | None = None,
    within_s: float | None = None,
) -> list[str]:
    """Tell that a process of this role begins, if its settings are new; the names that changed.

    What waits in this machine's outbox goes with it. It tries again for `within_s`; none: for as long as a
    request may take.

    Raises:
        KafkaUnavailable: no broker, or it takes nothing. ConfigurationError: a topic is missing.
    """
    act, values = audit_events.act(actor), {**values_of(settings), **_public_keys(settings)}
    state = SettingsInForce(
        role=role,
        host=host or socket.gethostname()[:255],
        at_ms=act.at_ms,
        actor=actor,
        digest=digest_of(values),
        values=values,
    )
    limit_s = settings.kafka.request_timeout_ms / 1000 if within_s is None else within_s
    until_s = time.monotonic() + limit_s
    while True:
        try:
            await audit_events.deliver(settings, bootstrap)
            return await _begin(settings, bootstrap, act, state)
        except KafkaUnavailable as error:
            if time.monotonic() > until_s:
                raise
            log.warning("start_not_told_yet", reason=str(error))
            await asyncio.sleep(TRY_AGAIN_S)


async def _begin(settings: Settings, bootstrap: str, act: Act, state: SettingsInForce) -> list[str]:
    last = await _last(settings, bootstrap, state)
    before = last.values if last else values_of(Settings.model_construct())
    changed = changes(before, state.values)
    if changed:
        topics, process = catalogue(settings), f"{state.role}@{state.host}"
        digest = last.digest if last else ""
        event = encode_leaf(settings_changed(act, process, changed, state.digest, digest))
        needed = (topics.audit_events, topics.settings_state)
        async with producing(settings, bootstrap, needed) as into:
            await into.send_and_wait(needed[0].name, event, key=act.actor.encode())
            value = encode_in_force(state)
            await into.send_and_wait(needed[1].name, value, key=process.encode())
        log.info("settings_changed", role=state.role, names=changed)
    return changed


def _public_keys(settings: Settings) -> Mapping[str, str]:
    """Who is believed here, and what signs the log: a key may change and its file's name not."""
    if not _has_keys(settings):
        return {}
    from chimera.stores import keys  # and cryptography with it: 8 MB

    found: dict[str, str] = {}
    try:
        found["keys.believed"] = " ".join(sorted(one.text for one in keys.trusted(settings.keys)))
        signing = keys.find_key(settings.audit.key_file, settings.audit.key, "CHIMERA_AUDIT__KEY")
        found["audit.public_key"] = signing.public.text if signing else ""
    except ConfigurationError as error:  # who needs the key says so, and ends
        log.warning("key_not_read", reason=str(error))
    return {name: text for name, text in found.items() if text}


def _has_keys(settings: Settings) -> bool:
    models, audit = settings.keys, settings.audit
    files = (models.signing_file, models.trusted_dir, audit.key_file)
    given = (models.signing, models.trusted, audit.key)
    return any(given) or any(one.expanduser().exists() for one in files)


async def _last(
    settings: Settings, bootstrap: str, state: SettingsInForce
) -> SettingsInForce | None:
    """Of the role on the host; else the newest of the role."""
    topic = catalogue(settings).settings_state.name
    async with admin.connected(settings.kafka, bootstrap, CLIENT) as client:
        if not await admin.topic_ids(client, [topic]):
            raise ConfigurationError(f"no topic {topic}: `chimera topics sync --apply`")
    here: SettingsInForce | None = None
    anywhere: SettingsInForce | None = None
    arguments = clients.consumer_arguments(settings.kafka, bootstrap, CLIENT)
    try:
        async with log_reader.reading(arguments, topic) as reader:
            async for values in reader.values():
                for one in _of_role(values, state.role):
                    anywhere = one
                    here = one if one.host == state.host else here
    except KafkaError as error:
        raise KafkaUnavailable(f"{topic}: {str(error) or repr(error)}") from error
    return here or anywhere


def _of_role(values: list[bytes], role: str) -> list[SettingsInForce]:
    found: list[SettingsInForce] = []
    for value in values:
        try:
            one = decode_in_force(value)
        except RequestError as error:
            log.warning("settings_state_unreadable", reason=str(error))
            continue
        if one.role == role:
            found.append(one)
    return found
