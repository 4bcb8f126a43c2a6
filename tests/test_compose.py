"""docker-compose.yml: pinned images, ports on loopback, health checks, and settings that exist."""

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml

from chimera.cli import settings as command
from chimera.cli.kafka import jars as kafka_jars
from chimera.cli.postgres import cluster as postgres_cluster
from chimera.cli.postgres.config import APPLICATION, DATABASE, OWNER
from chimera.cli.stack.child import Child
from chimera.cli.stack.ports import HOST, free_port
from chimera.stores import schema
from chimera.stores.postgres import Database

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LASTING = [name for name, service in SERVICES.items() if "restart" in service]


def test_services_are_those_that_the_design_names() -> None:
    ours = {"topics", "registry", "node", "trainer", "sequencer", "warehouse"}
    assert set(SERVICES) == {"kafka", "postgres", *ours}


@pytest.mark.parametrize("name", SERVICES)
def test_image_has_a_whole_version(name: str) -> None:
    whole = r"postgres:\d+\.\d+" if name == "postgres" else r"[a-z/-]+:\d+\.\d+\.\d+"
    assert re.fullmatch(whole, SERVICES[name]["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_on_loopback(name: str) -> None:
    ports = SERVICES[name].get("ports", [])
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_no_two_services_publish_the_same_port() -> None:
    published = [
        port.rpartition(":")[0] for one in SERVICES.values() for port in one.get("ports", [])
    ]
    assert len(set(published)) == len(published)


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


def test_postgres_is_of_the_same_version_as_the_embedded_one() -> None:
    program = postgres_cluster.programs() / "postgres"
    said = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    assert SERVICES["postgres"]["image"] == f"postgres:{said.split()[-1]}"


def test_only_migrations_know_the_owner_of_the_tables() -> None:
    holders = {
        name
        for name, service in SERVICES.items()
        if "CHIMERA_POSTGRES__OWNER_DSN" in service.get("environment", {})
    }
    assert holders == {"registry"}
    assert f"//{APPLICATION}:" in SERVICES["node"]["environment"]["CHIMERA_POSTGRES__DSN"]


@pytest.fixture
def container(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A server as the image's entry point has it when it runs scripts; how to reach it."""
    cluster = postgres_cluster.Cluster(tmp_path, is_kept=False)
    tmp_path.chmod(0o711)
    cluster.data.mkdir(mode=0o700)
    cluster.account.give(cluster.data)
    auth = ("--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync", "--username=postgres")
    made = cluster.command("initdb", "-D", str(cluster.data), *auth)
    subprocess.run(made, check=True, capture_output=True)
    port = str(free_port())
    options = ("-F", "-p", port, "-h", HOST, "-k", str(cluster.data))
    server = Child(
        cluster.command("postgres", "-D", str(cluster.data), *options), log_file=tmp_path / "log"
    )
    programs = str(postgres_cluster.programs())
    yield {"PGHOST": str(cluster.data), "PGPORT": port, "PATH": f"{programs}:{os.environ['PATH']}"}
    server.signal(signal.SIGINT)
    assert server.wait(20) is not None


def test_roles_of_the_container_are_let_in(container: dict[str, str]) -> None:
    """The script as it is, then what `registry` and `node` do with its roles."""
    passwords = {"POSTGRES_OWNER_PASSWORD": "o'wner", "POSTGRES_APP_PASSWORD": "app"}
    script = ["sh", str(ROOT / "deploy" / "postgres-roles.sh")]
    subprocess.run(
        ["sh", "-c", "until pg_isready -q; do sleep 0.1; done"],
        env=container,
        check=True,
        timeout=20,
    )
    done = subprocess.run(
        script, env={**container, **passwords}, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    where = f"{HOST}:{container['PGPORT']}/{DATABASE}"
    owner, app = f"postgresql://{OWNER}:o%27wner@{where}", f"postgresql://{APPLICATION}:app@{where}"
    asyncio.run(schema.upgrade(owner, APPLICATION))
    asyncio.run(answers(app))
    with pytest.raises(asyncpg.InvalidPasswordError):
        asyncio.run(asyncpg.connect(app.replace(":app@", ":wrong@")))


async def answers(dsn: str) -> None:
    """As a role that may be let in, on this release's tables; or it raises."""
    async with Database(dsn):
        pass


@pytest.mark.parametrize(("name", "setting"), [("node", "OBSERVABILITY"), ("sequencer", "AUDIT")])
def test_metrics_port_is_the_one_that_is_published(name: str, setting: str) -> None:
    environment = SERVICES[name]["environment"]
    port = environment[f"CHIMERA_{setting}__METRICS_PORT"]
    assert SERVICES[name]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert environment["CHIMERA_OBSERVABILITY__METRICS_HOST"] == "0.0.0.0"


def test_what_the_sequencer_may_not_lose_is_in_its_volume() -> None:
    environment, volumes = SERVICES["sequencer"]["environment"], SERVICES["sequencer"]["volumes"]
    assert volumes == ["audit:/audit"]
    for name in ("KEY_FILE", "CHECKPOINTS_FILE"):
        assert environment[f"CHIMERA_AUDIT__{name}"].startswith("/audit/")


def test_trainer_is_scraped_where_it_is_published_and_waits_for_others() -> None:
    trainer = SERVICES["trainer"]
    port = trainer["environment"]["CHIMERA_TRAINER__METRICS_PORT"]
    assert trainer["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert trainer["cpu_shares"] < 1_024


def test_warehouse_is_published_where_it_listens_and_asks_for_a_password() -> None:
    warehouse = SERVICES["warehouse"]
    port = warehouse["environment"]["CHIMERA_CLICKHOUSE__HTTP_PORT"]
    assert warehouse["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert warehouse["environment"]["CHIMERA_CLICKHOUSE__HTTP_PASSWORD"]
    assert SERVICES["node"]["environment"]["CHIMERA_JOURNAL__ENABLED"] == "true"


def test_image_is_built_from_what_the_package_needs() -> None:
    build = SERVICES["topics"]["build"]
    dockerfile = (ROOT / build["dockerfile"]).read_text("utf-8")
    copied = {line.split()[1] for line in dockerfile.splitlines() if line.startswith("COPY ")}
    sent = (ROOT / ".dockerignore").read_text("utf-8")
    rooms = {"agents", "cli", "schemas", "stores", "topics", "workers", "pyproject.toml"}
    assert rooms <= copied
    assert all(f"!{name}" in sent for name in copied)
