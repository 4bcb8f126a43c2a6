"""docker-compose.yml: pinned images, ports on loopback, health checks, and settings that exist."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from chimera.cli import kafka_jars
from chimera.cli import settings as command

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LASTING = [name for name, service in SERVICES.items() if "restart" in service]


def test_services_are_those_that_the_design_names() -> None:
    assert set(SERVICES) == {"kafka", "topics", "node"}


@pytest.mark.parametrize("name", SERVICES)
def test_image_has_a_whole_version(name: str) -> None:
    assert re.fullmatch(r"[a-z/-]+:\d+\.\d+\.\d+", SERVICES[name]["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_on_loopback(name: str) -> None:
    ports = SERVICES[name].get("ports", [])
    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("name", LASTING)
def test_service_that_lasts_has_a_health_check(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "retries"} <= set(check)


@pytest.mark.parametrize("name", SERVICES)
def test_each_variable_of_ours_is_a_setting(name: str) -> None:
    known = {command.variable(section, field) for section, field, _ in command.fields()}
    used = {key for key in SERVICES[name].get("environment", {}) if key.startswith("CHIMERA_")}
    assert used - known == set()


def test_what_another_service_waits_for_is_there() -> None:
    for service in SERVICES.values():
        for name, condition in service.get("depends_on", {}).items():
            healthy = condition["condition"] == "service_healthy"
            assert ("healthcheck" in SERVICES[name]) >= healthy


def test_kafka_is_of_the_same_minor_version_as_the_embedded_one() -> None:
    version = SERVICES["kafka"]["image"].split(":")[1]
    assert version.split(".")[:2] == kafka_jars.pinned().kafka.split(".")[:2]


def test_metrics_port_is_the_one_that_is_published() -> None:
    node = SERVICES["node"]
    port = node["environment"]["CHIMERA_OBSERVABILITY__METRICS_PORT"]
    assert node["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_image_is_built_from_what_the_package_needs() -> None:
    build = SERVICES["topics"]["build"]
    dockerfile = (ROOT / build["dockerfile"]).read_text("utf-8")
    copied = {line.split()[1] for line in dockerfile.splitlines() if line.startswith("COPY ")}
    sent = (ROOT / ".dockerignore").read_text("utf-8")
    rooms = {"agents", "cli", "schemas", "stores", "topics", "workers", "pyproject.toml"}
    assert rooms <= copied
    assert all(f"!{name}" in sent for name in copied)
