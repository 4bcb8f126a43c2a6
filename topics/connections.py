"""aiokafka's connections on uvloop: a connection that has just broken is an error like any other.

A plain loop ignores a write to a closed transport; uvloop raises RuntimeError, which aiokafka does
not expect: whatever task was sending ends, for example the one that fetches, and nobody notices.
`install` makes it the KafkaConnectionError that all of aiokafka, and our producers, try again after.
`tests/integration/test_connections.py` breaks one.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

plain_send: Any = AIOKafkaConnection.send


def install() -> None:
    """For the whole process; once or more often."""
    connection: Any = AIOKafkaConnection
    connection.send = _send


def _send(self: Any, request: Any, expect_response: bool = True) -> Any:
    try:
        return plain_send(self, request, expect_response)
    except RuntimeError as error:
        self.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"{self.host}:{self.port}: {error}") from error
