"""What happens to offsets: retention passes them, they are lost, the topic is made anew.

Where something cannot be right a lane halts, its neighbours go on, and only a command resumes it.
"""

import signal
import time
from collections.abc import Iterable

from confluent_kafka import Producer

from tests.integration.chaos.arena import Arena
from tests.integration.chaos.campaigns.size import Size
from tests.integration.chaos.cases import division, good
from tests.waiting import wait

HALTS_WITHIN_S = 40.0
STAYS_S = 2.0
CLIMBERS = 3  # in each partition
CLIMBS_WITHIN_S = 40.0


def retention(arena: Arena, size: Size) -> None:
    """Retention passes the offset of a node that is away, and of one that is behind."""
    node = arena.supervisor.nodes[0]
    node.stop()
    until = _remove_unread(arena, 0)
    node.start()
    _see_it_halt(arena, 0, until)
    node.signal(signal.SIGSTOP, group=True)
    until = _remove_unread(arena, 1)
    node.signal(signal.SIGCONT, group=True)
    _see_it_halt(arena, 1, until)


def _remove_unread(arena: Arena, partition: int) -> int:
    """Publish requests and remove them before anybody can read them; returns the log's new start."""
    side = arena.side()
    for number in range(400):
        side.send(good(number), b"retained", partition)
    side.stop()
    until = arena.cluster.offsets.last(arena.cluster.requests)[partition] - 20
    arena.remove(partition, arena.committed()[partition], until)
    return until


def _see_it_halt(arena: Arena, partition: int, until: int) -> None:
    """It halts, and only it; a command resumes it, and no other lane stops for that."""
    before = arena.committed()
    others = set(before) - {partition}
    halted = wait(lambda: arena.halts(partition) > 0, HALTS_WITHIN_S)
    arena.expect(halted, f"partition {partition} halted")
    went_on = wait(
        lambda: all(arena.committed()[number] > before[number] for number in others),
        HALTS_WITHIN_S,
    )
    arena.expect(went_on, f"the others went on while partition {partition} was halted")
    time.sleep(STAYS_S)
    stayed = arena.committed()[partition] < until
    arena.expect(stayed, f"partition {partition} passed nothing over by itself")
    arena.command("offsets", "set", arena.cluster.requests, str(partition), str(until), "--yes")
    arena.expect(_go_on(arena, [partition], until), f"partition {partition} went on")


def forgotten(arena: Arena, size: Size) -> None:
    """The group's offsets are lost: nothing is answered again, and a command restores them."""
    _climb(arena)
    arena.seconds_until_all_advance()  # each has an answer by which its offset can be restored
    node = arena.supervisor.nodes[0]
    lanes = [
        (topic.name, number)
        for topic in arena.cluster.catalogue.inputs
        for number in range(arena.partitions)
    ]
    before = arena.halted()
    node.stop()
    arena.fault("offsets lost")
    arena.cluster.delete_group()
    node.start()
    halted = wait(
        lambda: all((arena.halted() - before)[lane] for lane in lanes),
        HALTS_WITHIN_S,
    )
    arena.expect(halted, "every lane with a history refused to start, retry topics' as well")
    time.sleep(STAYS_S)
    arena.expect(set(arena.committed().values()) == {-1}, "nothing was committed meanwhile")
    arena.command("offsets", "restore", "--yes")
    arena.expect(_go_on(arena, range(arena.partitions)), "every lane went on beside the others")


def _climb(arena: Arena) -> None:
    """In every partition some requests fail on each retry topic, and then for good."""
    side = arena.side()
    for number in range(CLIMBERS * arena.partitions):
        failing = division(number, 0, model="freely", ordered=False)
        side.send(failing, b"climber", number % arena.partitions)
    side.stop()
    offsets, retries = arena.cluster.offsets, arena.cluster.catalogue.retries
    climbed = wait(
        lambda: all(
            len(offsets.last(topic.name)) == arena.partitions and not offsets.behind(topic.name)
            for topic in retries
        ),
        CLIMBS_WITHIN_S,
    )
    arena.happened(climbed, "each retry topic had a history in every partition")


def _go_on(arena: Arena, partitions: Iterable[int], after: int = 0) -> bool:
    """Whether these lanes of the requests come past an offset."""
    numbers = list(partitions)
    return wait(
        lambda: min(arena.committed()[number] for number in numbers) > after, HALTS_WITHIN_S
    )


def recreation(arena: Arena, size: Size) -> None:
    """The topic of requests is deleted and made anew, under a running node: all is refused."""
    arena.settle()
    arena.look()
    before = {number: arena.halts(number) for number in range(arena.partitions)}
    answered = arena.results()
    arena.fault("topic made anew")
    arena.cluster.delete_topic(arena.cluster.requests)
    arena.cluster.create()
    _send_unrecorded(arena, 2 * answered)  # so that old positions lie inside the new log
    halted = wait(
        lambda: all(arena.halts(number) > halts for number, halts in before.items()),
        HALTS_WITHIN_S,
    )
    arena.expect(halted, "every lane refused the new topic")
    arena.expect(arena.results() == answered, "nothing of it was answered")


def _send_unrecorded(arena: Arena, count: int) -> None:
    """Requests on coordinates that the ledger knows from the topic's former life."""
    producer = Producer({"bootstrap.servers": arena.broker.bootstrap})
    for number in range(count):
        partition = number % arena.partitions
        producer.produce(arena.cluster.requests, good(number).value, partition=partition)
    producer.flush(30)
