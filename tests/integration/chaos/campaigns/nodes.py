"""What happens to nodes: they die anywhere, wake as zombies, join and leave."""

import threading
import time
import uuid

from chimera.agents.failpoints import STEPS
from tests.integration.chaos import nemeses
from tests.integration.chaos.arena import Arena
from tests.integration.chaos.broker import Broker
from tests.integration.chaos.campaigns.size import Size
from tests.integration.chaos.judge import Verdict
from tests.integration.chaos.nodes import Node

FROZEN_S = 6.0  # longer than the arena's session (4 s) and its transactions (6 s, with waking up)
VISITS = 12  # a fail-point strikes at one of its step's first visits
STALL_STEPS = ("after_produce", "after_send_offsets", "before_commit", "after_poll")


def prefix() -> str:
    return f"c{uuid.uuid4().hex[:8]}."


def crashes(broker: Broker, seed: int, size: Size) -> Verdict:
    """kill -9 of two nodes at random moments, and at each named step."""
    with Arena(broker.bootstrap, prefix(), seed=seed, rate=size.rate) as arena:
        arena.wait_until_serving()
        steps = [(step, arena.rng.randint(1, VISITS)) for step in STEPS * size.crashes]
        arena.rng.shuffle(steps)
        nodes = arena.supervisor.nodes
        shares = [steps[number :: len(nodes)] for number in range(len(nodes))]
        hands = [
            threading.Thread(target=_crash_node, args=(arena, node, share))
            for node, share in zip(nodes, shares, strict=True)
        ]
        for hand in hands:
            hand.start()
        for hand in hands:
            hand.join()
        for _ in range(size.kills - len(steps)):
            time.sleep(arena.rng.uniform(*size.kill_every_s))
            nemeses.kill(arena, arena.rng.choice(nodes))
        arena.settle()
        return arena.verdict("crashes")


def _crash_node(arena: Arena, node: Node, steps: list[tuple[str, int]]) -> None:
    for step, visit in steps:
        arena.expect(nemeses.crash_at(arena, node, step, visit), f"{step}:{visit} was reached")


def zombies(broker: Broker, seed: int, size: Size) -> Verdict:
    """Nodes freeze for longer than their session, at random and inside a commit, and wake again."""
    with Arena(broker.bootstrap, prefix(), seed=seed, rate=size.rate) as arena:
        arena.wait_until_serving()
        nodes = arena.supervisor.nodes
        for number in range(size.freezes):
            nemeses.freeze(arena, nodes[number % 2], FROZEN_S)
            time.sleep(arena.rng.uniform(0.5, 2))
        for number in range(size.stalls):
            step = STALL_STEPS[number % len(STALL_STEPS)]
            nemeses.stall_at(arena, nodes[number % 2], step, arena.rng.randint(1, VISITS), FROZEN_S)
            time.sleep(FROZEN_S + 4)
        arena.settle()
        fenced = arena.supervisor.events("lane_fenced")["lane_fenced"]
        arena.expect(fenced >= size.freezes, f"zombies were fenced ({fenced} times)")
        return arena.verdict("zombies")


def membership(broker: Broker, seed: int, size: Size) -> Verdict:
    """Nodes join and leave every 2 s, between one and four of them."""
    with Arena(broker.bootstrap, prefix(), seed=seed, rate=size.rate) as arena:
        arena.wait_until_serving()
        nemeses.storm(arena, size.storm_s, every_s=2.0, least=1, most=4)
        arena.settle()
        return arena.verdict("membership")
