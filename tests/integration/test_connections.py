"""A broken connection on uvloop is a KafkaConnectionError."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
from typing import Any

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import KafkaConnectionError

from chimera.topics import connections, protocol
from chimera.topics.protocol import Exact


async def send_on_a_closed_transport(bootstrap: str) -> None:
    host, port = bootstrap.split(":")
    connection: Any = await create_conn(host, int(port))
    request = Exact(protocol.ApiVersionsStruct, "chimera", "0")
    await connection.send(request)
    connection._writer.transport.abort()
    await asyncio.sleep(0)  # the transport is closed, and aiokafka has not been told yet
    try:
        await connection.send(request)
    finally:
        connection.close()


def test_sending_on_a_connection_that_just_broke_is_a_connection_error(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AIOKafkaConnection, "send", connections.plain_send)
    with pytest.raises(RuntimeError, match="closed"):
        uvloop.run(send_on_a_closed_transport(kafka))
    connections.install()
    with pytest.raises(KafkaConnectionError, match="closed"):
        uvloop.run(send_on_a_closed_transport(kafka))
