"""The Kafka requests that aiokafka does not speak: transactions after KIP-890, stable offsets,
fetches by topic id (KIP-516).

Each message is a schema and a request built on aiokafka's own structs, so its connections carry
them. Versions follow the message definitions of Apache Kafka 4.0 (`clients/src/main/resources/
common/message/*.json`); from Produce 12, TxnOffsetCommit 5 and EndTxn 5 on, a broker adds
partitions to the transaction by itself and gives every transaction an epoch of its own.
`tests/integration/test_transactions.py` runs them against a real broker.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportIncompatibleMethodOverride=false, reportAssignmentType=false
# (aiokafka ships no type information; it declares API_KEY and API_VERSION as properties)

from base64 import urlsafe_b64decode, urlsafe_b64encode
from io import BytesIO
from typing import Any

from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int8,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
    UnsignedVarInt32,
)

TEXT = CompactString("utf-8")
TAGS = ("tags", TaggedFields)


class Uuid(AbstractType[bytes]):
    """Sixteen bytes; `shown` is how Kafka's own tools write them."""

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(16)

    @staticmethod
    def shown(value: bytes) -> str:
        return urlsafe_b64encode(value).decode().rstrip("=")

    @staticmethod
    def read(shown: str) -> bytes:
        return urlsafe_b64decode(shown + "==")


class CompactView(AbstractType[memoryview | None]):
    """Bytes of an answer as a view of it: records are megabytes, and nobody changes them.

    The view is of the bytes that `data` was made of, not of `data`: where both are garbage at once,
    Python 3.12 ends `data` first, and crashes.
    """

    @classmethod
    def encode(cls, value: memoryview | None) -> bytes:
        body = b"" if value is None else bytes(value)
        return UnsignedVarInt32.encode(0 if value is None else len(body) + 1) + body

    @classmethod
    def decode(cls, data: BytesIO) -> memoryview | None:
        length = UnsignedVarInt32.decode(data) - 1
        if length < 0:
            return None
        start = data.tell()
        found = memoryview(data.getvalue())[start : start + length]
        if len(found) != length:
            raise ValueError("Buffer underrun decoding bytes")
        data.seek(start + length)
        return found


def _by_topic(*fields: Any) -> Any:
    """The list that most messages have: topics by name, and of each its partitions."""
    return _topics(("name", TEXT), fields)


def _by_topic_id(*fields: Any) -> Any:
    return _topics(("topic_id", Uuid), fields)


def _topics(key: Any, fields: tuple[Any, ...]) -> Any:
    partitions = CompactArray(*fields, TAGS)
    return ("topics", CompactArray(key, ("partitions", partitions), TAGS))


class ApiVersionsResponse(Response):
    API_KEY = 18
    API_VERSION = 3
    SCHEMA = Schema(
        ("error_code", Int16),
        (
            "api_keys",
            CompactArray(("key", Int16), ("min_version", Int16), ("max_version", Int16), TAGS),
        ),
        ("throttle_ms", Int32),
        TAGS,
    )


FEATURES = CompactArray(("name", TEXT), ("max_level", Int16), ("min_level", Int16), TAGS)
"""What tagged field 2 of an ApiVersions answer holds: the finalised features."""


class ApiVersionsStruct(RequestStruct):
    API_KEY = 18
    API_VERSION = 3
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = ApiVersionsResponse
    SCHEMA = Schema(("software_name", TEXT), ("software_version", TEXT), TAGS)

    def parse_response_header(self, read_buffer: Any) -> Any:
        """The one flexible response whose header stays at version 0 (KIP-511)."""
        self.FLEXIBLE_VERSION = False  # type: ignore[misc]  # read by the parent for this instance alone
        return super().parse_response_header(read_buffer)


class InitProducerIdResponse(Response):
    API_KEY = 22
    API_VERSION = 4
    SCHEMA = Schema(
        ("throttle_ms", Int32),
        ("error_code", Int16),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        TAGS,
    )


class InitProducerIdStruct(RequestStruct):
    API_KEY = 22
    API_VERSION = 4
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = InitProducerIdResponse
    SCHEMA = Schema(
        ("transactional_id", TEXT),
        ("transaction_timeout_ms", Int32),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        TAGS,
    )


class ProduceResponse(Response):
    API_KEY = 0
    API_VERSION = 12
    SCHEMA = Schema(
        _by_topic(
            ("index", Int32),
            ("error_code", Int16),
            ("base_offset", Int64),
            ("log_append_time_ms", Int64),
            ("log_start_offset", Int64),
            (
                "record_errors",
                CompactArray(("batch_index", Int32), ("message", TEXT), TAGS),
            ),
            ("error_message", TEXT),
        ),
        ("throttle_ms", Int32),
        TAGS,
    )


class ProduceStruct(RequestStruct):
    API_KEY = 0
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = ProduceResponse
    SCHEMA = Schema(
        ("transactional_id", TEXT),
        ("acks", Int16),
        ("timeout_ms", Int32),
        _by_topic(("index", Int32), ("records", CompactView)),
        TAGS,
    )


class TxnOffsetCommitResponse(Response):
    API_KEY = 28
    API_VERSION = 5
    SCHEMA = Schema(
        ("throttle_ms", Int32),
        _by_topic(("index", Int32), ("error_code", Int16)),
        TAGS,
    )


class TxnOffsetCommitStruct(RequestStruct):
    API_KEY = 28
    API_VERSION = 5
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = TxnOffsetCommitResponse
    SCHEMA = Schema(
        ("transactional_id", TEXT),
        ("group", TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("generation", Int32),
        ("member_id", TEXT),
        ("group_instance_id", TEXT),
        _by_topic(
            ("index", Int32),
            ("offset", Int64),
            ("leader_epoch", Int32),
            ("metadata", TEXT),
        ),
        TAGS,
    )


class EndTxnResponse(Response):
    API_KEY = 26
    API_VERSION = 5
    SCHEMA = Schema(
        ("throttle_ms", Int32),
        ("error_code", Int16),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        TAGS,
    )


class EndTxnStruct(RequestStruct):
    API_KEY = 26
    API_VERSION = 5
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = EndTxnResponse
    SCHEMA = Schema(
        ("transactional_id", TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("committed", Boolean),
        TAGS,
    )


class OffsetFetchResponse(Response):
    API_KEY = 9
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_ms", Int32),
        _by_topic(
            ("index", Int32),
            ("offset", Int64),
            ("leader_epoch", Int32),
            ("metadata", TEXT),
            ("error_code", Int16),
        ),
        ("error_code", Int16),
        TAGS,
    )


class OffsetFetchStruct(RequestStruct):
    API_KEY = 9
    API_VERSION = 7
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = OffsetFetchResponse
    SCHEMA = Schema(
        ("group", TEXT),
        (
            "topics",
            CompactArray(("name", TEXT), ("partitions", CompactArray(Int32)), TAGS),
        ),
        ("require_stable", Boolean),
        TAGS,
    )


class FetchResponse(Response):
    API_KEY = 1
    API_VERSION = 15
    SCHEMA = Schema(
        ("throttle_ms", Int32),
        ("error_code", Int16),
        ("session_id", Int32),
        _by_topic_id(
            ("index", Int32),
            ("error_code", Int16),
            ("high_watermark", Int64),
            ("last_stable_offset", Int64),
            ("log_start_offset", Int64),
            (
                "aborted_transactions",
                CompactArray(("producer_id", Int64), ("first_offset", Int64), TAGS),
            ),
            ("preferred_read_replica", Int32),
            ("records", CompactView),
        ),
        TAGS,
    )


class FetchStruct(RequestStruct):
    API_KEY = 1
    API_VERSION = 15
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = FetchResponse
    SCHEMA = Schema(
        ("max_wait_ms", Int32),
        ("min_bytes", Int32),
        ("max_bytes", Int32),
        ("isolation_level", Int8),
        ("session_id", Int32),
        ("session_epoch", Int32),
        _by_topic_id(
            ("index", Int32),
            ("leader_epoch", Int32),
            ("fetch_offset", Int64),
            ("last_fetched_epoch", Int32),
            ("log_start_offset", Int64),
            ("max_bytes", Int32),
        ),
        (
            "forgotten_topics",
            CompactArray(("topic_id", Uuid), ("partitions", CompactArray(Int32)), TAGS),
        ),
        ("rack", TEXT),
        TAGS,
    )


class Exact(Request[Any]):
    """A request at one version, its fields given in the struct's order.

    A broker that does not speak the version answers through `KafkaUnavailable` at start-up:
    `transactions.require_features` asks before the first lane opens.
    """

    API_KEY = -1

    def __init__(self, struct: type[RequestStruct], *fields: Any) -> None:
        self._struct = struct
        self._fields = (*fields, {})

    def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct:
        return request_struct_class(*self._fields)

    def prepare(self, versions: dict[int, tuple[int, int]]) -> RequestStruct:
        return self.build(self._struct)
