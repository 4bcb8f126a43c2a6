"""What happens to deployments: versions come and go under load, while nodes and controllers die.

A command every few seconds, whoever lives to hear it; between two of them a node is killed, and with
it the controller if it has that, or an executor. In the end all serve what the registry says.
"""

import time
from collections import Counter

from tests.integration.chaos import nemeses, observe_models, turns
from tests.integration.chaos.arena import Arena
from tests.integration.chaos.campaigns.size import Size
from tests.integration.chaos.commands import plan
from tests.integration.chaos.judge import percentiles
from tests.waiting import wait

WITHIN_S = 90.0
LOOK_EVERY_S = 0.5
STAYS_S = 2.0


def deployments(arena: Arena, size: Size) -> None:
    """Promote, roll back, share, shadow, pause and resume; kill -9 in between."""
    operator = arena.operator()
    for number, action in enumerate(plan(size.commands)):
        until = time.monotonic() + size.command_every_s
        operator.give(action)
        time.sleep(arena.rng.uniform(0, size.command_every_s))
        if number < size.commands - 1:
            _disturb(arena, number)
        time.sleep(max(0.0, until - time.monotonic()))
    arena.expect(wait(lambda: all_answered(arena), WITHIN_S), "every command was answered")
    _see_all_turn(arena)
    led = arena.supervisor.events("controller_leads").total()
    arena.happened(led > 1, f"a controller was killed, and another one led ({led} led)")
    arena.settle()
    arena.look()
    _note(arena)


def _disturb(arena: Arena, number: int) -> None:
    """After every other command one node after the other, so who leads is hit; or an executor."""
    nodes = arena.supervisor.nodes
    if number % 2:
        nemeses.kill(arena, nodes[number // 2 % len(nodes)])
    elif number % 4 == 2:
        nemeses.kill_executor(arena)


def all_answered(arena: Arena) -> bool:
    """Whether every command that was given has an answer that can be seen."""
    time.sleep(LOOK_EVERY_S)
    found = observe_models.answers(arena.broker.bootstrap, arena.cluster.catalogue)
    given = {row[0] for row in arena.ledger.rows("SELECT command_id FROM commands")}
    return given <= {command_id for command_id, _, _ in found}


def _see_all_turn(arena: Arena) -> None:
    """Every node is there, and every partition's answers are of what the registry says."""
    assert arena.releases is not None
    live = arena.releases.live()
    assert live.serving is not None
    digest, nodes = live.serving.sha256, len(arena.supervisor.nodes)
    arena.expect(live.candidate is None and not live.paused, "the last command's version serves")

    def turned() -> bool:
        time.sleep(LOOK_EVERY_S)
        latest = observe_models.latest(arena.broker.bootstrap, arena.cluster.catalogue)
        return set(latest.values()) == {digest} and arena.cluster.members() == nodes

    arena.expect(wait(turned, WITHIN_S), "all nodes serve what the registry says")
    arena.ledger.add("settled", [(time.time_ns() // 1_000_000, digest)])
    time.sleep(STAYS_S)


def _note(arena: Arena) -> None:
    """How long nodes answered with a version after its turn, and what became of commands."""
    outcomes = arena.ledger.rows(
        "SELECT c.action || ' ' || a.outcome FROM commands c JOIN answers a USING (command_id)"
    )
    states = arena.ledger.number("SELECT count(DISTINCT revision) FROM live")
    arena.note(
        turn_lag_ms=percentiles(turns.lags(arena.ledger)),
        commands=dict(sorted(Counter(row[0] for row in outcomes).items())),
        states=states,
        answered_by=dict(
            arena.ledger.rows("SELECT version, count(*) FROM served GROUP BY version ORDER BY 1")
        ),
    )
