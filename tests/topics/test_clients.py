# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import inspect
import ssl
from pathlib import Path
from typing import Any

import aiokafka
import confluent_kafka
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient

from chimera.schemas.errors import ConfigurationError
from chimera.schemas.server_settings import KafkaSettings
from chimera.topics import clients

AUTHORITY = Path(__file__).parent / "data" / "authority.pem"  # a public certificate, no key
BROKER = "127.0.0.1:9092"


def sasl(protocol: str, **more: Any) -> KafkaSettings:
    return KafkaSettings.model_validate(
        {"security_protocol": protocol, "sasl_username": "u", "sasl_password": "p", **more}
    )


def test_arguments_with_defaults_are_plaintext() -> None:
    found = clients.arguments(KafkaSettings(), BROKER, "me")
    assert found == {
        "bootstrap_servers": BROKER,
        "client_id": "me",
        "request_timeout_ms": 20_000,
        "metadata_max_age_ms": 30_000,
        "security_protocol": "PLAINTEXT",
        "ssl_context": None,
    }


def test_arguments_address_given_wins_over_the_setting() -> None:
    kafka = KafkaSettings(bootstrap="a:1,b:2")
    assert clients.arguments(kafka)["bootstrap_servers"] == "a:1,b:2"
    assert clients.arguments(kafka, "c:3")["bootstrap_servers"] == "c:3"


def test_arguments_with_sasl_carry_user_and_password() -> None:
    found = clients.arguments(sasl("SASL_PLAINTEXT", sasl_mechanism="PLAIN"), BROKER)
    assert found.get("sasl_mechanism") == "PLAIN"
    assert found.get("sasl_plain_username") == "u"
    assert found.get("sasl_plain_password") == "p"


def test_arguments_with_tls_check_the_brokers_name_against_the_given_authority() -> None:
    context = clients.arguments(sasl("SASL_SSL", ssl_cafile=AUTHORITY), BROKER)["ssl_context"]
    assert context is not None
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert [one["subject"] for one in context.get_ca_certs()] == [((("commonName", "test"),),)]


@pytest.mark.parametrize(
    "client",
    [aiokafka.AIOKafkaConsumer, aiokafka.AIOKafkaProducer, AIOKafkaAdminClient, AIOKafkaClient],
)
def test_arguments_are_known_to_every_client(client: type[Any]) -> None:
    known = inspect.signature(client.__init__).parameters
    assert set(clients.arguments(sasl("SASL_SSL"), BROKER)) <= set(known)


def test_consumer_arguments_read_committed_records_only() -> None:
    found = clients.consumer_arguments(KafkaSettings(), BROKER)
    assert found["isolation_level"] == "read_committed"
    assert not found["enable_auto_commit"]
    assert set(found) <= set(inspect.signature(aiokafka.AIOKafkaConsumer.__init__).parameters)


def test_confluent_arguments_are_accepted_by_librdkafka() -> None:
    found = clients.confluent_arguments(sasl("SASL_SSL", ssl_cafile=AUTHORITY), BROKER)
    assert found["sasl.mechanism"] == "SCRAM-SHA-512"
    confluent_kafka.Producer(dict(found))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"security_protocol": "SASL_SSL"}, "SASL_USERNAME"),
        ({"security_protocol": "SASL_SSL", "sasl_username": "u"}, "SASL_PASSWORD"),
        ({"sasl_username": "u"}, "SASL_USERNAME"),
        ({"security_protocol": "SSL", "sasl_password": "p"}, "SASL_PASSWORD"),
        ({"ssl_cafile": "ca.pem"}, "SSL_CAFILE"),
        ({"security_protocol": "SSL", "ssl_keyfile": "key.pem"}, "SSL_CERTFILE"),
        ({"security_protocol": "SSL", "ssl_cafile": "absent.pem"}, "SSL_CAFILE"),
        ({"security_protocol": "SSL", "ssl_cafile": __file__}, "SSL_CAFILE"),
        ({"security_protocol": "SSL", "ssl_certfile": AUTHORITY}, "SSL_CERTFILE"),
        ({"heartbeat_interval_ms": 4_000}, "HEARTBEAT_INTERVAL_MS"),
    ],
)
def test_arguments_with_contradictory_settings_name_the_one_to_change(
    settings: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"CHIMERA_KAFKA__{named}:"):
        clients.arguments(KafkaSettings.model_validate(settings), BROKER)


def test_arguments_never_show_a_password_in_an_error() -> None:
    kafka = KafkaSettings.model_validate({"sasl_password": "hush-hush"})
    with pytest.raises(ConfigurationError) as caught:
        clients.arguments(kafka, BROKER)
    assert "hush-hush" not in str(caught.value)


@pytest.mark.parametrize("bootstrap", [None, "", " , ", "host", "host:", ":9092", "host:0", "h:x"])
def test_addresses_without_host_or_port_are_refused(bootstrap: str | None) -> None:
    with pytest.raises(ConfigurationError, match="CHIMERA_KAFKA__BOOTSTRAP"):
        clients.addresses(bootstrap)


def test_addresses_may_be_several_and_of_any_family() -> None:
    assert clients.addresses(" a:1, [::1]:2 ,10.0.0.1:65535") == [
        "a:1",
        "[::1]:2",
        "10.0.0.1:65535",
    ]
