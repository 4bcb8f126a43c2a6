"""What happens to nodes: they die anywhere, wake as zombies, join and leave; and partitions grow."""

import time
from concurrent.futures import ThreadPoolExecutor

from chimera.agents.lanes.failpoints import STEPS
from tests.integration.chaos import nemeses
from tests.integration.chaos.arena import Arena
from tests.integration.chaos.campaigns.size import Size
from tests.integration.chaos.nodes import Node
from tests.waiting import wait

TRIES = 5  # of a fault that meets what it should only with luck
FENCED_WITHIN_S = 2.0
FROZEN_S = 5.0  # longer than an arena's sessions (3 s) and transactions (4 s)
VISITS = 12  # a fail-point strikes at one of its step's first visits
STALL_STEPS = ("after_produce", "before_commit", "after_send_offsets", "after_poll")
MORE_PARTITIONS = 2
SERVED_WITHIN_S = 40.0


def kills(arena: Arena, size: Size) -> None:
    """kill -9 of nodes at random moments."""
    for _ in range(size.kills):
        time.sleep(arena.rng.uniform(*size.kill_every_s))
        nemeses.kill(arena, arena.rng.choice(arena.supervisor.nodes))


def crashes(arena: Arena, size: Size) -> None:
    """Nodes die at each named step, again and again: the next one as soon as it is back."""
    steps = [(step, arena.rng.randint(1, VISITS)) for step in STEPS * size.crashes]
    arena.rng.shuffle(steps)
    nodes = arena.supervisor.nodes
    with ThreadPoolExecutor(len(nodes)) as hands:
        crashed = [
            hands.submit(_crash_node, arena, node, steps[number :: len(nodes)])
            for number, node in enumerate(nodes)
        ]
    for one in crashed:
        one.result()


def _crash_node(arena: Arena, node: Node, steps: list[tuple[str, int]]) -> None:
    for step, visit in steps:
        arena.happened(nemeses.crash_at(arena, node, step, visit), f"{step}:{visit} was reached")


def zombies(arena: Arena, size: Size) -> None:
    """Nodes freeze for longer than their session, at random and inside a commit, and wake again."""
    nodes = arena.supervisor.nodes
    for number in range(size.freezes):
        fenced = any(_freeze_node(arena, nodes[number % len(nodes)]) for _ in range(TRIES))
        arena.happened(fenced, f"zombie {number} was fenced")
    for number in range(size.stalls):
        step = STALL_STEPS[number % len(STALL_STEPS)]
        visit = arena.rng.randint(1, VISITS)
        nemeses.stall_at(arena, nodes[number % len(nodes)], step, visit, FROZEN_S)
        time.sleep(FROZEN_S + 3)


def _freeze_node(arena: Arena, node: Node) -> bool:
    """Whether a lane of it was fenced when it woke; it may have had none, or lost it in good order."""
    arena.seconds_until_all_advance()
    before = node.count("lane_fenced")
    nemeses.freeze(arena, node, FROZEN_S)
    return wait(lambda: node.count("lane_fenced") > before, FENCED_WITHIN_S)


def membership(arena: Arena, size: Size) -> None:
    """Nodes join and leave every 2 s, between one and four of them."""
    nemeses.storm(arena, size.storm_s, every_s=2.0, least=1, most=4)


def growth(arena: Arena, size: Size) -> None:
    """Partitions are added while nodes run: they are taken up, results go to their numbers."""
    before = arena.partitions
    after = before + MORE_PARTITIONS
    arena.fault("partitions added", f"{before} to {after}")
    arena.cluster.add_partitions(after)
    arena.load.partitions = after
    served = wait(lambda: _serves(arena, range(before, after)), SERVED_WITHIN_S)
    arena.expect(served, "the new partitions are served")


def _serves(arena: Arena, partitions: range) -> bool:
    committed = arena.committed()
    return all(committed.get(number, 0) > 0 for number in partitions)
