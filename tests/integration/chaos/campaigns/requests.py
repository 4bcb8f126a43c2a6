"""What requests do: poison of every kind, sizes at the limit, killers, hangs, floods, ghosts."""

import time

import psutil
from confluent_kafka import KafkaException

from chimera.schemas import headers as names
from tests.integration.chaos import nemeses
from tests.integration.chaos.arena import Arena
from tests.integration.chaos.broker import Broker
from tests.integration.chaos.campaigns.nodes import prefix
from tests.integration.chaos.campaigns.size import Size
from tests.integration.chaos.cases import (
    INT64_MIN,
    POISON,
    Case,
    Headers,
    Mix,
    counting,
    division,
    good,
    padded,
    poison,
    wide,
)
from tests.integration.chaos.cluster import RETRY_DELAYS_MS
from tests.integration.chaos.judge import Verdict
from tests.integration.chaos.load import withdraw
from tests.integration.chaos.nemeses import wait

LIMIT_BYTES = 65_536
FOREVER = 10**12  # steps: days
PARTITIONS = 4


def hostile(broker: Broker, seed: int, size: Size) -> Verdict:
    """Requests that break things, executors that are killed, records that never were."""
    with Arena(
        broker.bootstrap,
        prefix(),
        seed=seed,
        rate=size.rate,
        mix=Mix(poison=0.1, limit_bytes=LIMIT_BYTES),
        environment={
            "CHIMERA_SERVING__EXECUTORS": "2",
            "CHIMERA_SERVING__RUN_TIMEOUT_MS": "1500",
            "CHIMERA_SERVING__INLINE_RETRY_MS": "500",
        },
    ) as arena:
        arena.wait_until_serving()
        _ghosts(arena)
        side = arena.side()
        for case in _edges(arena):
            side.send(case, b"edge", arena.rng.randrange(PARTITIONS))
        for _ in range(size.hangs):
            side.send(counting(FOREVER, "worker_crashed"), b"hang", arena.rng.randrange(PARTITIONS))
        for number in range(size.killers):
            partition = arena.rng.randrange(PARTITIONS)
            for case in _around_a_killer(arena):
                side.send(case, b"near", partition)
            side.flush()
            time.sleep(arena.rng.uniform(0, 3))
            if number % 2:  # its deaths so far must outlive the node
                nemeses.kill(arena, arena.rng.choice(arena.supervisor.nodes))
        for _ in range(size.executor_kills):
            time.sleep(arena.rng.uniform(0.2, 1.5))
            nemeses.kill_executor(arena)
        side.stop()
        arena.settle()
        arena.look()
        climbed = arena.ledger.number("SELECT count(*) FROM retries")
        arena.expect(climbed >= len(RETRY_DELAYS_MS), "a failure climbed the retry ladder")
        return arena.verdict("hostile")


def _edges(arena: Arena) -> list[Case]:
    cases = [padded(n, LIMIT_BYTES - 1 + n) for n in (0, 1)]
    cases += [poison(kind, n, LIMIT_BYTES) for n, kind in enumerate(POISON)]
    cases += [wide(3), division(7, 2), division(1, 0), counting(100)]
    for number in range(5):
        cases.append(division(number, 0 if number == 2 else 1, model="freely", ordered=False))
    return cases


def _around_a_killer(arena: Arena) -> list[Case]:
    """Neighbours in one batch: some before, some after, each to be answered normally."""
    before = [division(number, 3) for number in range(arena.rng.randint(0, 5))]
    after = [division(number, -2) for number in range(arena.rng.randint(1, 5))]
    return [*before, division(INT64_MIN, -1), *after]


def _ghosts(arena: Arena) -> None:
    """Records of an aborted transaction on every input topic: nobody may answer them."""
    value = good(1).value or b""
    ghosts: list[tuple[str, int, bytes, Headers]] = []
    for topic in arena.cluster.catalogue.inputs:
        story: Headers = []
        if topic.name != arena.cluster.requests:
            story = _story_of_nobody(arena.cluster.requests)
        ghosts += [(topic.name, n, value, story) for n in range(PARTITIONS) for _ in range(5)]
    arena.fault("aborted transaction", f"{len(ghosts)} records")
    withdraw(arena.cluster.bootstrap, arena.ledger, ghosts, name=f"ghosts-{arena.cluster.group}")
    arena.ledger.add("withdrawn", [(arena.cluster.requests, 0, 10**9)])


def _story_of_nobody(requests: str) -> Headers:
    return [
        (names.ORIG_TOPIC, requests.encode()),
        (names.ORIG_PARTITION, b"0"),
        (names.ORIG_OFFSET, b"%d" % 10**9),
        (names.ORIG_TIMESTAMP, b"1"),
        (names.ATTEMPT, b"1"),
        (names.ERROR_CODE, b"model_error"),
        (names.ERROR_MESSAGE, b"none"),
        (names.FIRST_FAILURE, b"1"),
        (names.NOT_BEFORE, b"1"),
    ]


def pressure(broker: Broker, seed: int, size: Size) -> Verdict:
    """A producer at ten times what the model can do: memory stays, partitions pause, none is lost."""
    window = 512
    with Arena(
        broker.bootstrap,
        prefix(),
        seed=seed,
        rate=100,
        nodes=1,
        environment={
            "CHIMERA_SERVING__WINDOW_RECORDS": str(window),
            "CHIMERA_FETCH__MAX_RUN_RECORDS": "128",
        },
    ) as arena:
        arena.wait_until_serving()
        node = psutil.Process(arena.supervisor.nodes[0].pid)
        calm = node.memory_info().rss
        side = arena.side()
        until = time.monotonic() + size.pressure_s
        highest = calm
        while time.monotonic() < until:
            deadline_ms = time.time_ns() // 1_000_000 + 3_000
            for number in range(500):
                case = counting(3_000, "ok|deadline_exceeded", deadline_ms)
                side.send(case, b"flood", number % PARTITIONS)
            side.flush()
            highest = max(highest, node.memory_info().rss)
        side.stop()
        wait(lambda: not _behind(arena), 60)
        highest = max(highest, node.memory_info().rss)
        arena.settle()
        arena.expect(highest < calm * 1.25, f"memory stays: {calm >> 20} to {highest >> 20} MiB")
        return arena.verdict("pressure", calm_mib=calm >> 20, highest_mib=highest >> 20)


def _behind(arena: Arena) -> bool:
    try:
        left = arena.cluster.offsets.behind(arena.cluster.requests)
    except KafkaException:
        return True
    return sum(left.values()) > 1_000
