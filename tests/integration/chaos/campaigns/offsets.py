"""What happens to offsets: retention passes them, they are lost, topics grow or are made anew.

Where something cannot be right a lane halts, its neighbours go on, and only a command resumes it.
"""

import signal
import time

from confluent_kafka import Producer

from tests.integration.chaos.arena import Arena
from tests.integration.chaos.broker import Broker
from tests.integration.chaos.campaigns.nodes import prefix
from tests.integration.chaos.campaigns.size import Size
from tests.integration.chaos.cases import good
from tests.integration.chaos.judge import Verdict
from tests.integration.chaos.nemeses import wait

HALTS_WITHIN_S = 40.0
STAYS_S = 2.0
GROWN = 6
PARTITIONS = 4


def retention(broker: Broker, seed: int, size: Size) -> Verdict:
    """Retention passes the offset of a node that is away, and of one that is behind."""
    with Arena(broker.bootstrap, prefix(), seed=seed, rate=size.rate / 3, nodes=1) as arena:
        arena.wait_until_serving()
        _retain(arena, 0, away=True)
        _retain(arena, 1, away=False)
        arena.settle()
        return arena.verdict("retention")


def _retain(arena: Arena, partition: int, *, away: bool) -> None:
    """Remove requests of one partition unread; see it halt; resume it by command."""
    cluster, node = arena.cluster, arena.supervisor.nodes[0]
    if away:
        node.stop()
    else:
        node.signal(signal.SIGSTOP, group=True)
    first = cluster.offsets.last(cluster.requests)[partition] + 1  # nobody has read this far
    side = arena.side()
    for number in range(400):
        side.send(good(number), b"retained", partition)
    side.stop()
    committed = cluster.offsets.committed(cluster.requests)
    until = cluster.offsets.last(cluster.requests)[partition] - 20
    arena.fault("retention", f"{partition}: {committed[partition]} to {until}")
    cluster.delete_records(cluster.requests, partition, until)
    arena.remove(partition, committed[partition], until)
    halts = arena.halts(partition)
    if away:
        node.start()
    else:
        node.signal(signal.SIGCONT, group=True)
    state = "away" if away else "behind"
    halted = wait(lambda: arena.halts(partition) > halts, HALTS_WITHIN_S)
    arena.expect(halted, f"partition {partition} halted, its node having been {state}")
    others = set(range(PARTITIONS)) - {partition}
    advanced = wait(
        lambda: all(
            offset > committed[number]
            for number, offset in cluster.offsets.committed(cluster.requests).items()
            if number in others
        ),
        HALTS_WITHIN_S,
    )
    arena.expect(advanced, f"the others went on while {partition} was halted")
    time.sleep(STAYS_S)
    stayed = cluster.offsets.committed(cluster.requests)[partition] <= first
    arena.expect(stayed, f"the halted partition {partition} passed nothing over")
    node.stop()
    arena.command("offsets", "set", cluster.requests, str(partition), str(until), "--yes")
    node.start()


def forgotten(broker: Broker, seed: int, size: Size) -> Verdict:
    """The group's offsets are lost: nothing is answered again, and a command restores them."""
    with Arena(broker.bootstrap, prefix(), seed=seed, rate=size.rate / 3, nodes=1) as arena:
        arena.wait_until_serving()
        cluster, node = arena.cluster, arena.supervisor.nodes[0]
        time.sleep(2)
        node.stop()
        arena.fault("offsets lost")
        cluster.delete_group()
        node.start()
        halted = wait(lambda: all(arena.halts(n) for n in range(PARTITIONS)), HALTS_WITHIN_S)
        arena.expect(halted, "every lane with a history refused to start")
        time.sleep(STAYS_S)
        untouched = set(cluster.offsets.committed(cluster.requests).values()) == {-1}
        arena.expect(untouched, "nothing was committed while they refused")
        node.stop()
        arena.command("offsets", "restore", cluster.requests, "--yes")
        node.start()
        arena.settle()
        return arena.verdict("forgotten")


def growth(broker: Broker, seed: int, size: Size) -> Verdict:
    """Partitions are added while nodes run: they are taken up, and results go to their numbers."""
    with Arena(
        broker.bootstrap,
        prefix(),
        seed=seed,
        rate=size.rate / 3,
        environment={"CHIMERA_KAFKA__METADATA_MAX_AGE_MS": "2000"},
    ) as arena:
        arena.wait_until_serving()
        arena.fault("partitions added", f"{PARTITIONS} to {GROWN}")
        arena.cluster.add_partitions(GROWN)
        arena.load.partitions = GROWN
        arena.settle()
        taken = arena.ledger.number("SELECT count(*) FROM requests WHERE partition >= 4")
        arena.expect(taken > 0, "the new partitions had requests")
        return arena.verdict("growth")


def recreation(broker: Broker, seed: int, size: Size) -> Verdict:
    """The topic of requests is deleted and made anew, under a running node: all is refused."""
    with Arena(broker.bootstrap, prefix(), seed=seed, rate=size.rate / 3, nodes=1) as arena:
        arena.wait_until_serving()
        arena.settle()
        arena.look()
        answered = arena.results()
        arena.fault("topic made anew")
        arena.cluster.delete_topic(arena.cluster.requests)
        time.sleep(STAYS_S)
        arena.cluster.create()
        _send_unrecorded(arena, answered)
        halted = wait(lambda: all(arena.halts(n) for n in range(PARTITIONS)), HALTS_WITHIN_S)
        arena.expect(halted, "every lane refused the new topic")
        arena.expect(arena.results() == answered, "nothing of it was answered")
        return arena.verdict("recreation")


def _send_unrecorded(arena: Arena, count: int) -> None:
    """Requests on coordinates that the ledger knows from the topic's former life."""
    producer = Producer({"bootstrap.servers": arena.cluster.bootstrap})
    for number in range(count):
        partition = number % PARTITIONS
        producer.produce(arena.cluster.requests, good(number).value, partition=partition)
    producer.flush(30)
