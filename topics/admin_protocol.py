"""Two administrative Kafka requests that aiokafka lacks, as `protocol.Exact` sends them.

Metadata 12 tells topic ids and never creates a topic by asking for it; IncrementalAlterConfigs 1
leaves the settings alone that it does not name (aiokafka's AlterConfigs resets them). Brokers from
3.0 on speak both. `tests/integration/test_topics_admin.py` runs them against a real broker.
"""

# pyright: reportMissingTypeStubs=false, reportIncompatibleMethodOverride=false
# pyright: reportAssignmentType=false
# (aiokafka declares API_KEY and API_VERSION as properties and overrides them with numbers)

from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, Int8, Int16, Int32, Schema

from chimera.topics.protocol import TAGS, TEXT, Uuid

NO_ID = bytes(16)
TOPIC = 2  # a configuration resource's type
SET = 0  # an operation on a configuration entry


class MetadataResponse(Response):
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_ms", Int32),
        (
            "brokers",
            CompactArray(("node_id", Int32), ("host", TEXT), ("port", Int32), ("rack", TEXT), TAGS),
        ),
        ("cluster_id", TEXT),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", TEXT),
                ("topic_id", Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("index", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("in_sync", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        TAGS,
                    ),
                ),
                ("operations", Int32),
                TAGS,
            ),
        ),
        TAGS,
    )


class MetadataStruct(RequestStruct):
    API_KEY = 3
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = MetadataResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", Uuid), ("name", TEXT), TAGS)),
        ("allow_auto_creation", Boolean),
        ("include_operations", Boolean),
        TAGS,
    )


class IncrementalAlterConfigsResponse(Response):
    API_KEY = 44
    API_VERSION = 1
    SCHEMA = Schema(
        ("throttle_ms", Int32),
        (
            "resources",
            CompactArray(
                ("error_code", Int16),
                ("error_message", TEXT),
                ("resource_type", Int8),
                ("name", TEXT),
                TAGS,
            ),
        ),
        TAGS,
    )


class IncrementalAlterConfigsStruct(RequestStruct):
    API_KEY = 44
    API_VERSION = 1
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = IncrementalAlterConfigsResponse
    SCHEMA = Schema(
        (
            "resources",
            CompactArray(
                ("resource_type", Int8),
                ("name", TEXT),
                (
                    "entries",
                    CompactArray(("name", TEXT), ("operation", Int8), ("value", TEXT), TAGS),
                ),
                TAGS,
            ),
        ),
        ("validate_only", Boolean),
        TAGS,
    )
