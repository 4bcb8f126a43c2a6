"""Topics on a broker: look, compare with the catalogue, and put right what can be put right.

`plan` reads only. `apply` creates, adds partitions and sets configuration, then waits until the
broker shows it. Everything goes through one client from `connected`.
`tests/integration/test_topics_admin.py` runs it against a real broker.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import (
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DescribeConfigsRequest,
)

from chimera.schemas.errors import KafkaUnavailable
from chimera.schemas.server_settings import KafkaSettings
from chimera.topics import admin_protocol as wire
from chimera.topics import clients
from chimera.topics.catalogue import Catalogue
from chimera.topics.differences import Difference, Found, differences
from chimera.topics.protocol import Exact, Uuid

NO_SUCH_TOPIC, TOPIC_EXISTS, LEADER_NOT_AVAILABLE, INVALID_PARTITIONS = 3, 36, 5, 37
SETTLE_S = 10.0  # longer than metadata takes to reach a broker; a wait past it is reported
POLL_S = 0.05


@asynccontextmanager
async def connected(
    kafka: KafkaSettings, bootstrap: str | None = None, client_id: str = "chimera-admin"
) -> AsyncGenerator[AIOKafkaClient, None]:
    """A client that has found the cluster.

    Raises:
        KafkaUnavailable: nobody answers there. ConfigurationError: see `clients.arguments`.
    """
    arguments = clients.arguments(kafka, bootstrap, client_id)
    client = AIOKafkaClient(**arguments)
    try:
        try:
            await client.bootstrap()
        except KafkaError as error:
            where = arguments["bootstrap_servers"]
            raise KafkaUnavailable(
                f"no broker answers at {where}, or none lets us in; the log says which"
            ) from error
        yield client
    finally:
        await client.close()


async def plan(client: AIOKafkaClient, catalogue: Catalogue) -> list[Difference]:
    """Every difference between the broker and the catalogue; changes nothing.

    Raises:
        KafkaUnavailable: the broker did not answer, or may not describe a topic.
    """
    return differences(catalogue, await describe(client, [topic.name for topic in catalogue]))


async def apply(
    client: AIOKafkaClient, catalogue: Catalogue, planned: Sequence[Difference]
) -> list[Difference]:
    """Do what the planned differences' remedies say; returns what is left for a person.

    Raises:
        KafkaUnavailable: the broker refuses one of them; says which and why.
    """
    create = [one for one in planned if one.remedy == "create"]
    extend = [one for one in planned if one.remedy == "add partitions"]
    configure = [one for one in planned if one.remedy == "configure"]
    if create:
        await _create(client, create)
    if extend:
        await _add_partitions(client, extend)
    if configure:
        await _configure(client, configure)
    until = time.monotonic() + SETTLE_S
    while True:
        left = await plan(client, catalogue)
        if not any(one.remedy for one in left) or time.monotonic() > until:
            return left
        await asyncio.sleep(POLL_S)


async def describe(client: AIOKafkaClient, names: Sequence[str]) -> dict[str, Found]:
    """The topics that exist, with their whole configuration; asking creates none."""
    topics = await _metadata(client, names)
    if not topics:
        return {}
    resources = [(wire.TOPIC, name, None) for name in topics]
    response = await _send(client, DescribeConfigsRequest(resources))
    configs: dict[str, dict[str, str]] = {}
    for code, message, _kind, name, entries in response.resources:
        _check(code, message, name)
        configs[name] = {entry[0]: entry[1] or "" for entry in entries}
    return {
        name: Found(
            topic_id=Uuid.shown(topic_id),
            partitions=len(partitions),
            replication=min(len(replicas) for replicas in partitions),
            config=configs[name],
        )
        for name, (topic_id, partitions) in topics.items()
    }


async def topic_ids(client: AIOKafkaClient, names: Sequence[str]) -> dict[str, str]:
    """The ids of the topics that exist, as Kafka's tools write them.

    A topic that was deleted and created again has another id: its offsets mean other records.
    """
    found = await _metadata(client, names)
    return {name: Uuid.shown(topic_id) for name, (topic_id, _) in found.items()}


async def _metadata(
    client: AIOKafkaClient, names: Sequence[str]
) -> dict[str, tuple[bytes, list[list[int]]]]:
    """Each existing topic's id, and the replicas of each of its partitions."""
    asked: list[Any] = [(wire.NO_ID, name, {}) for name in names]
    response = await _send(client, Exact(wire.MetadataStruct, asked, False, False))
    found: dict[str, tuple[bytes, list[list[int]]]] = {}
    for code, name, topic_id, _internal, partitions, *_ in response.topics:
        if code == NO_SUCH_TOPIC:
            continue
        if code != LEADER_NOT_AVAILABLE:  # just created: its id and partitions are there
            _check(code, None, name)
        found[name] = (topic_id, [partition[4] for partition in partitions])
    return found


async def _create(client: AIOKafkaClient, missing: Iterable[Difference]) -> None:
    topics: list[Any] = [
        (one.topic.name, int(one.wanted), one.topic.replication, [], list(one.topic.config.items()))
        for one in missing
    ]
    response = await _send(client, CreateTopicsRequest(topics, _timeout_ms(client), False))
    for name, code, message in response.topic_errors:
        if code != TOPIC_EXISTS:  # somebody else was faster; the plan that follows looks again
            _check(code, message, name)


async def _add_partitions(client: AIOKafkaClient, short: Iterable[Difference]) -> None:
    topics: list[Any] = [(one.topic.name, (int(one.wanted), None)) for one in short]
    response = await _send(client, CreatePartitionsRequest(topics, _timeout_ms(client), False))
    for name, code, message in response.topic_errors:
        if code != INVALID_PARTITIONS:  # as above
            _check(code, message, name)


async def _configure(client: AIOKafkaClient, wrong: Iterable[Difference]) -> None:
    entries: dict[str, list[Any]] = {}
    for one in wrong:
        entries.setdefault(one.topic.name, []).append((one.what, wire.SET, one.wanted, {}))
    resources: list[Any] = [(wire.TOPIC, name, listed, {}) for name, listed in entries.items()]
    request = Exact(wire.IncrementalAlterConfigsStruct, resources, False)
    response = await _send(client, request)
    for code, message, _kind, name, _tags in response.resources:
        _check(code, message, name)


async def _send(client: AIOKafkaClient, request: Any) -> Any:
    """To any broker: those that have no controller beside them pass it on (KRaft)."""
    try:
        return await client.send(client.get_random_node(), request)
    except KafkaError as error:
        raise KafkaUnavailable(f"the broker did not answer: {error}") from error


def _timeout_ms(client: AIOKafkaClient) -> int:
    return int(client._request_timeout_ms)  # pyright: ignore[reportPrivateUsage]  # no public name


def _check(code: int, message: str | None, name: str) -> None:
    if code:
        reason = message or for_code(code).description
        raise KafkaUnavailable(f"{name}: the broker refuses: {reason}")
