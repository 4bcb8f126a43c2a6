"""What nodes count, read from their pages: after traffic and faults, and after a second node took lanes over."""

# pyright: reportPrivateImportUsage=false
# (confluent-kafka re-exports names without saying so)

import asyncio
import os
import signal
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from chimera.cli.stack.child import Child
from chimera.cli.stack.ports import free_port
from chimera.schemas.server_settings import KafkaSettings
from chimera.topics import admin
from chimera.topics.transactions import TransactionalProducer
from tests.cli.places import Place, make_place
from tests.integration.traffic import Traffic
from tests.waiting import until

pytestmark = pytest.mark.timeout(240)

PORT = "CHIMERA_OBSERVABILITY__METRICS_PORT"
OF_LANES = ("chimera_window_records", "chimera_deferred_records", "chimera_lane_halted")
LAG = "chimera_consumer_lag_records"
LANES = 2 * 4  # partitions of the requests and of three retry topics
OK, REFUSED = 20, 3

Labels = frozenset[tuple[str, str]]


@dataclass
class Metrics:
    """A page as it is now."""

    samples: Mapping[tuple[str, Labels], float]

    def value(self, name: str, **labels: str) -> float:
        """Of one sample; 0: there is none."""
        return self.samples.get((name, frozenset(labels.items())), 0.0)

    def labels(self, name: str) -> set[Labels]:
        """Of all samples of that name."""
        return {labels for one, labels in self.samples if one == name}


def metrics(place: Place) -> Metrics:
    with urllib.request.urlopen(f"http://127.0.0.1:{place.environment[PORT]}/metrics") as page:
        families = text_string_to_metric_families(page.read().decode())
        samples = [sample for family in families for sample in family.samples]
    return Metrics({(one.name, frozenset(one.labels.items())): one.value for one in samples})


@dataclass
class Served:
    """A place where a node serves, and what is sent to it."""

    place: Place
    node: Child
    traffic: Traffic

    @property
    def requests(self) -> str:
        return f"{self.place.prefix}inference.requests"

    def value(self, name: str, **labels: str) -> float:
        return metrics(self.place).value(name, **labels)

    def answer(self) -> None:
        """Requests of the first partition."""
        self.traffic.send("digits", 0, OK, "good")
        self.traffic.send("nobody", 0, REFUSED, "bad")
        until(lambda: self.traffic.answered("bad") == ["unknown_model"] * REFUSED)
        until(lambda: self.traffic.answered("good") == ["1"] * OK)


@pytest.fixture
def served(kafka: str, prefix: str, tmp_path: Path) -> Iterator[Served]:
    place = make_place(kafka, tmp_path, prefix.rstrip("."))
    traffic, node = Traffic(place), place.node()
    yield Served(place, node, traffic)
    traffic.close()
    assert node.stop(30) == 0, (tmp_path / "node.log").read_text()[-3000:]


def test_node_counts_its_requests_and_how_long_each_part_of_their_way_took(served: Served) -> None:
    served.answer()
    until(lambda: served.value("chimera_outcomes_total", code="ok") == OK)
    page = metrics(served.place)
    assert page.value("chimera_requests_total", topic=served.requests) == OK + REFUSED
    assert page.value("chimera_outcomes_total", code="unknown_model") == REFUSED
    batch = {"model": "digits", "version": "1", "tier": "onnx-cpu"}
    assert page.value("chimera_batch_size_sum", **batch) == OK
    batches = page.value("chimera_batch_size_count", **batch)
    assert 1 <= batches <= OK
    assert page.value("chimera_compute_seconds_count", **batch) == batches
    assert page.value("chimera_compute_seconds_sum", **batch) > 0
    assert page.value("chimera_queue_seconds_count") == batches
    assert page.value("chimera_queue_seconds_sum") > 0
    commits = page.value("chimera_transaction_seconds_count")
    assert 1 <= commits <= OK + REFUSED
    assert page.value("chimera_transaction_seconds_sum") > 0
    assert page.value("chimera_total_seconds_count") == commits
    assert page.value("chimera_total_seconds_sum") > 0
    for stage in ("produce", "offsets", "end"):
        assert page.value("chimera_transaction_stage_seconds_count", stage=stage) >= commits
        assert page.value("chimera_transaction_stage_seconds_sum", stage=stage) > 0
    assert ("chimera_holes_total", frozenset[tuple[str, str]]()) in page.samples


def test_node_shows_what_a_lane_has_read_and_not_committed(served: Served) -> None:
    """What it has no executor for; and that nothing is left, once it has one."""
    where = {"topic": served.requests, "partition": "0"}
    until(lambda: len(metrics(served.place).labels(OF_LANES[0])) == LANES)
    (executor,) = executors(served.node)
    os.kill(executor, signal.SIGSTOP)
    served.traffic.send("digits", 0, OK, "held")
    for name in ("chimera_window_records", LAG):
        until(lambda name=name: served.value(name, **where) == OK)  # type: ignore[misc]
    os.kill(executor, signal.SIGCONT)
    until(lambda: served.traffic.answered("held") == ["1"] * OK)
    for name in ("chimera_window_records", LAG):
        until(lambda name=name: served.value(name, **where) == 0)  # type: ignore[misc]
    left = metrics(served.place)
    assert (left.value("chimera_window_records", **where), left.value(LAG, **where)) == (0, 0)


def test_node_counts_executors_that_it_replaced_and_fences(served: Served) -> None:
    served.answer()
    assert served.value("chimera_fences_total") == 0
    assert not metrics(served.place).labels("chimera_executor_restarts_total")
    (executor,) = executors(served.node)
    os.kill(executor, signal.SIGKILL)
    until(lambda: served.value("chimera_executor_restarts_total", reason="crashed") == 1)
    asyncio.run(fence(served, 0))
    served.traffic.send("digits", 0, 1, "after")
    until(lambda: served.traffic.answered("after") == ["1"])
    assert served.value("chimera_fences_total") == 1


def test_node_whose_lanes_another_took_over_tells_no_more_of_them(
    served: Served, tmp_path: Path
) -> None:
    served.answer()
    for name in (*OF_LANES, LAG):
        until(lambda name=name: len(metrics(served.place).labels(name)) == LANES)  # type: ignore[misc]
    folder = tmp_path / "other"
    folder.mkdir()
    environment = {**served.place.environment, PORT: str(free_port())}
    other = replace(served.place, folder=folder, environment=environment)
    node = other.node()
    try:
        for name in (*OF_LANES, LAG):
            until(lambda name=name: are_shared(served.place, other, name))  # type: ignore[misc]
    finally:
        assert node.stop(30) == 0, (folder / "node.log").read_text()[-3000:]
    until(lambda: len(metrics(served.place).labels(LAG)) == LANES)


def are_shared(one: Place, other: Place, name: str) -> bool:
    """Whether each lane is on one of the two pages, and some are on either."""
    mine, others = metrics(one).labels(name), metrics(other).labels(name)
    return bool(mine) and bool(others) and len(mine) + len(others) == len(mine | others) == LANES


def executors(node: Child) -> list[int]:
    children = psutil.Process(node.pid).children()
    return [child.pid for child in children if "executor" in " ".join(child.cmdline())]


async def fence(served: Served, partition: int) -> None:
    """As somebody would that took the lane over."""
    group = served.place.environment["CHIMERA_KAFKA__GROUP"]
    async with admin.connected(KafkaSettings(), served.place.bootstrap) as client:
        producer = TransactionalProducer(
            client,
            f"{group}-{served.requests}-{partition}",
            group,
            transaction_timeout_ms=15_000,
            call_timeout_s=30,
        )
        await producer.open()
        await producer.close()
