"""What requests do: poison of every kind, sizes at the limit, killers, hangs, ghosts, floods."""

import time

from chimera.schemas import headers as names
from tests.integration.chaos import nemeses
from tests.integration.chaos.arena import Arena
from tests.integration.chaos.campaigns.size import Size
from tests.integration.chaos.cases import (
    INT64_MIN,
    MAX_BYTES,
    OK,
    POISON,
    Case,
    Headers,
    counting,
    division,
    good,
    padded,
    poison,
    wide,
)
from tests.integration.chaos.cluster import RETRY_DELAYS_MS
from tests.integration.chaos.gauge import Gauge
from tests.integration.chaos.load import withdraw

FOREVER = 10**12  # steps: days
STEPS = 3_000  # 2 ms
WINDOW_RECORDS = 512
FETCH_RECORDS = 400  # what is on its way when a lane pauses: a fetch being read, and the next one
SMALLER = 4  # times, compressed: so many more records are in a fetch of so many bytes
FLOOD_RATE = 5_000  # ten times what the model can do
NODE_MIB = 200
PRESSED = {
    "CHIMERA_SERVING__WINDOW_RECORDS": str(WINDOW_RECORDS),
    "CHIMERA_FETCH__MAX_RUN_RECORDS": "128",
    "CHIMERA_FETCH__MAX_BYTES": str(FETCH_RECORDS * 150),
    "CHIMERA_OBSERVABILITY__METRICS_PORT": "0",
}


def hostile(arena: Arena, size: Size) -> None:
    """Requests that break things, executors that are killed, records that never were."""
    _ghosts(arena)
    side = arena.side()
    for case in _edges():
        side.send(case, b"edge", _anywhere(arena))
    for _ in range(size.hangs):
        side.send(counting(FOREVER, "worker_crashed"), b"hang", _anywhere(arena))
    for number in range(size.killers):
        partition = _anywhere(arena)
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
    arena.happened(climbed >= len(RETRY_DELAYS_MS), "a failure climbed the retry ladder")
    arena.expect(not arena.supervisor.events("lane_halted"), "no lane halted")


def _anywhere(arena: Arena) -> int:
    return arena.rng.randrange(arena.partitions)


def _edges() -> list[Case]:
    cases = [padded(n, MAX_BYTES - 1 + n) for n in (0, 1)]
    cases += [poison(kind, n, MAX_BYTES) for n, kind in enumerate(POISON)]
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
    requests = arena.cluster.requests
    ghosts: list[tuple[str, int, bytes, Headers]] = []
    for topic in arena.cluster.catalogue.inputs:
        story = [] if topic.name == requests else _story_of_nobody(requests)
        ghosts += [(topic.name, n % arena.partitions, value, story) for n in range(20)]
    arena.fault("aborted transaction", f"{len(ghosts)} records")
    withdraw(arena.broker.bootstrap, arena.ledger, ghosts, name=f"ghosts-{arena.cluster.group}")
    arena.ledger.add("withdrawn", [(requests, 0, 10**9)])


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


def pressure(arena: Arena, size: Size) -> None:
    """A producer at ten times what the model can do: memory stays, lanes pause, none is lost."""
    with Gauge(arena.supervisor.nodes[0]) as gauge:
        arena.fault("flood", f"{FLOOD_RATE} requests/s for {size.pressure_s} s")
        _flood(arena, size.pressure_s)
        arena.settle()
    fullest, peak_mib = max(gauge.windows), max(gauge.memory_mib)
    arena.note(peak_mib=round(peak_mib), growth=round(gauge.growth(), 3), fullest=fullest)
    arena.expect(gauge.growth() < 1.1, f"memory stays: {gauge.memory_mib}")
    arena.expect(peak_mib < NODE_MIB, f"below {NODE_MIB} MiB: {peak_mib}")
    on_their_way = 2 * FETCH_RECORDS * (1 if arena.compression == "none" else SMALLER)
    arena.expect(fullest <= WINDOW_RECORDS + on_their_way, f"windows hold: {fullest}")
    arena.happened(fullest >= WINDOW_RECORDS, f"windows were full: {fullest}")


def _flood(arena: Arena, seconds: float) -> None:
    """Requests for a slow model, each of which may wait for some seconds."""
    side = arena.side()
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        deadline_ms = time.time_ns() // 1_000_000 + 3_000
        while side.sent < passed * FLOOD_RATE:
            case = counting(STEPS, f"{OK}|deadline_exceeded", deadline_ms)
            side.send(case, b"flood", side.sent % arena.partitions)
        side.flush()
    side.stop()
