"""Settings in, keyword arguments of a Kafka client out: one place for addresses, TLS and SASL.

Every aiokafka client (consumer, producer, admin, plain client) takes what `arguments()` gives, and
a consumer takes `consumer_arguments()`, which reads committed records only (DESIGN 5.1).
Settings that contradict one another are refused here, before a client would ignore one of them.
`tests/integration/test_secured_clients.py` opens real clients with them.
"""

import ssl
from typing import NotRequired, TypedDict

from chimera.schemas.errors import ConfigurationError
from chimera.schemas.server_settings import KafkaSettings


class ClientArguments(TypedDict):
    bootstrap_servers: str
    client_id: str
    request_timeout_ms: int
    metadata_max_age_ms: int
    security_protocol: str
    ssl_context: ssl.SSLContext | None
    sasl_mechanism: NotRequired[str]
    sasl_plain_username: NotRequired[str]
    sasl_plain_password: NotRequired[str]


class ConsumerArguments(ClientArguments):
    isolation_level: str
    enable_auto_commit: bool


def arguments(
    kafka: KafkaSettings, bootstrap: str | None = None, client_id: str = "chimera"
) -> ClientArguments:
    """Arguments for any aiokafka client.

    Args:
        bootstrap: `host:port[,host:port]`, for example of the embedded stack; wins over the setting.
        client_id: what brokers write in their logs and quotas.

    Raises:
        ConfigurationError: no address, or settings that contradict one another; names the setting.
    """
    check(kafka)
    found: ClientArguments = {
        "bootstrap_servers": ",".join(addresses(bootstrap or kafka.bootstrap)),
        "client_id": client_id,
        "request_timeout_ms": kafka.request_timeout_ms,
        "metadata_max_age_ms": kafka.metadata_max_age_ms,
        "security_protocol": kafka.security_protocol,
        "ssl_context": ssl_context(kafka),
    }
    if kafka.security_protocol.startswith("SASL") and kafka.sasl_username and kafka.sasl_password:
        found["sasl_mechanism"] = kafka.sasl_mechanism
        found["sasl_plain_username"] = kafka.sasl_username
        found["sasl_plain_password"] = kafka.sasl_password.get_secret_value()
    return found


def consumer_arguments(
    kafka: KafkaSettings, bootstrap: str | None = None, client_id: str = "chimera"
) -> ConsumerArguments:
    """The same for a consumer: committed records only, offsets are the caller's business."""
    return {
        **arguments(kafka, bootstrap, client_id),
        "isolation_level": "read_committed",
        "enable_auto_commit": False,
    }


def confluent_arguments(
    kafka: KafkaSettings, bootstrap: str | None = None, client_id: str = "chimera"
) -> dict[str, str]:
    """The same for a librdkafka client, as tests and benchmarks use one."""
    check(kafka)
    found = {
        "bootstrap.servers": ",".join(addresses(bootstrap or kafka.bootstrap)),
        "client.id": client_id,
        "security.protocol": kafka.security_protocol,
    }
    if kafka.security_protocol.startswith("SASL") and kafka.sasl_username and kafka.sasl_password:
        found["sasl.mechanism"] = kafka.sasl_mechanism
        found["sasl.username"] = kafka.sasl_username
        found["sasl.password"] = kafka.sasl_password.get_secret_value()
    files = {
        "ssl.ca.location": kafka.ssl_cafile,
        "ssl.certificate.location": kafka.ssl_certfile,
        "ssl.key.location": kafka.ssl_keyfile,
    }
    return found | {name: str(path) for name, path in files.items() if path is not None}


def check(kafka: KafkaSettings) -> None:
    """Refuse what one client would ignore and another would stumble over.

    Raises:
        ConfigurationError: names the setting and what to do.
    """
    protocol = kafka.security_protocol
    sasl = {"SASL_USERNAME": kafka.sasl_username, "SASL_PASSWORD": kafka.sasl_password}
    for name, value in sasl.items():
        if protocol.startswith("SASL") and not value:
            raise ConfigurationError(f"CHIMERA_KAFKA__{name}: {protocol} needs it")
        if not protocol.startswith("SASL") and value:
            raise ConfigurationError(
                f"CHIMERA_KAFKA__{name}: {protocol} does not use it; "
                "set CHIMERA_KAFKA__SECURITY_PROTOCOL to SASL_SSL or unset it"
            )
    files = {
        "SSL_CAFILE": kafka.ssl_cafile,
        "SSL_CERTFILE": kafka.ssl_certfile,
        "SSL_KEYFILE": kafka.ssl_keyfile,
    }
    for name, path in files.items():
        if path is not None and not protocol.endswith("SSL"):
            raise ConfigurationError(
                f"CHIMERA_KAFKA__{name}: {protocol} does not use it; "
                "set CHIMERA_KAFKA__SECURITY_PROTOCOL to SSL or SASL_SSL, or unset it"
            )
    if kafka.ssl_keyfile is not None and kafka.ssl_certfile is None:
        raise ConfigurationError("CHIMERA_KAFKA__SSL_CERTFILE: a key without its certificate")
    if kafka.heartbeat_interval_ms * 3 > kafka.session_timeout_ms:
        raise ConfigurationError(
            f"CHIMERA_KAFKA__HEARTBEAT_INTERVAL_MS: {kafka.heartbeat_interval_ms} is over a third "
            f"of the session time-out ({kafka.session_timeout_ms}); one lost heartbeat would do"
        )


def addresses(bootstrap: str | None) -> list[str]:
    """`host:port,host:port` as a list; `[::1]:9092` for an IPv6 address.

    Raises:
        ConfigurationError: none given, or one has no port.
    """
    found = [one.strip() for one in (bootstrap or "").split(",") if one.strip()]
    if not found:
        raise ConfigurationError(
            "CHIMERA_KAFKA__BOOTSTRAP: no broker's address; set it, or start the embedded "
            "Kafka with `chimera up`"
        )
    for address in found:
        host, _, port = address.rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
            raise ConfigurationError(f"CHIMERA_KAFKA__BOOTSTRAP: {address!r} is not host:port")
    return found


def ssl_context(kafka: KafkaSettings) -> ssl.SSLContext | None:
    """The TLS side: certificates and host names are always checked; none without TLS.

    Raises:
        ConfigurationError: a file is missing or is not PEM.
    """
    if not kafka.security_protocol.endswith("SSL"):
        return None
    try:
        context = ssl.create_default_context(cafile=kafka.ssl_cafile)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"CHIMERA_KAFKA__SSL_CAFILE: {kafka.ssl_cafile}: {error}"
        ) from error
    if kafka.ssl_certfile is not None:
        try:
            context.load_cert_chain(kafka.ssl_certfile, kafka.ssl_keyfile, password="")
        except (OSError, ssl.SSLError) as error:
            pair = f"{kafka.ssl_certfile}, {kafka.ssl_keyfile or 'key in the same file'}"
            raise ConfigurationError(f"CHIMERA_KAFKA__SSL_CERTFILE: {pair}: {error}") from error
    return context
