"""The broker's configuration: what is written is read back, and the caller has the last word."""

import base64
from pathlib import Path

import pytest

from chimera.cli.kafka import config as kafka_config
from chimera.schemas.errors import ConfigurationError


def test_ports_of_reads_what_properties_wrote() -> None:
    text = kafka_config.properties(Path("/data"), (20_001, 20_002), {})
    assert kafka_config.ports_of(text) == (20_001, 20_002)


def test_ports_of_listeners_of_ones_own_are_unknown() -> None:
    extra = {"listeners": "SSL://127.0.0.1:1,CONTROLLER://127.0.0.1:2"}
    assert kafka_config.ports_of(kafka_config.properties(Path("/data"), (1, 2), extra)) is None


def test_cluster_of_reads_what_kafka_wrote() -> None:
    assert kafka_config.cluster_of("#\nversion=1\ncluster.id=XAJ-_Q\nnode.id=1\n") == "XAJ-_Q"
    with pytest.raises(ConfigurationError, match="names no cluster"):
        kafka_config.cluster_of("node.id=1\n")


def test_properties_put_extra_over_our_own() -> None:
    text = kafka_config.properties(Path("/data"), (1, 2), {"node.id": "7", "a": "b\\c"})
    assert "node.id=7\n" in text
    assert "node.id=1\n" not in text
    assert "a=b\\\\c\n" in text


def test_properties_name_loopback_alone() -> None:
    lines = kafka_config.properties(Path("/data"), (1, 2), {}).splitlines()
    addresses = [part for line in lines for part in line.split("://")[1:]]
    assert len(addresses) == 3
    assert all(address.startswith("127.0.0.1:") for address in addresses)


def test_new_cluster_id_is_16_bytes_and_no_option() -> None:
    ids = {kafka_config.new_cluster_id() for _ in range(2_000)}
    assert len(ids) == 2_000
    assert not any(one.startswith("-") for one in ids)
    assert {len(base64.urlsafe_b64decode(one + "==")) for one in ids} == {16}


def test_java_that_is_wanted_briefly_leaves_the_best_code_out() -> None:
    long, brief = (kafka_config.java([Path("a.jar")], is_brief=one) for one in (False, True))
    assert set(brief) - set(long) == {"-XX:TieredStopAtLevel=1"}
    assert brief[-2:] == long[-2:] == ["-cp", "a.jar"]
