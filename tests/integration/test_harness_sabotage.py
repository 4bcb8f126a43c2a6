"""The harness finds what it looks for: nodes that break one promise each are found out."""

import sys
import time
from pathlib import Path

import pytest

from tests.integration.chaos import nemeses
from tests.integration.chaos.arena import Arena
from tests.integration.chaos.broker import Broker
from tests.integration.chaos.campaigns import prefix
from tests.integration.chaos.campaigns.deployments import all_answered
from tests.integration.chaos.campaigns.nodes import FROZEN_S
from tests.integration.chaos.judge import Verdict
from tests.integration.chaos.nodes import EX_SOFTWARE, NODE
from tests.waiting import wait

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(300)]
SABOTAGE = (sys.executable, str(Path(__file__).parent / "chaos" / "sabotage.py"))
ANSWERED_WITHIN_S = 60.0
FREEZES = 6


def arena(
    broker: Broker,
    seed: int,
    *command: str,
    nodes: int = 2,
    registered: bool = False,
    **environment: str,
) -> Arena:
    return Arena(
        broker,
        prefix(),
        seed=seed,
        rate=300,
        nodes=nodes,
        environment=environment,
        command=command or NODE,
        registered=registered,
    )


def kills(found: Arena, count: int) -> Verdict:
    found.wait_until_serving()
    for _ in range(count):
        time.sleep(1)
        nemeses.kill(found, found.rng.choice(found.supervisor.nodes))
    found.settle()
    return found.verdict("sabotage")


def test_harness_finds_duplicates_when_nobody_is_fenced(broker: Broker) -> None:
    """Who wakes may have had nothing in hand, or all of it in a transaction that was aborted since: then
    it is tried again."""
    assert any("duplicated" in frozen(broker, seed).violations for seed in range(1, 4))


def frozen(broker: Broker, seed: int) -> Verdict:
    """Both nodes, by turns, while the other has its partitions."""
    with arena(broker, seed, *SABOTAGE, "no-fence") as found:
        found.wait_until_serving()
        for number in range(FREEZES):
            found.seconds_until_all_advance()
            nemeses.freeze(found, found.supervisor.nodes[number % 2], FROZEN_S)
        found.settle()
        return found.verdict("sabotage")


def test_harness_finds_losses_when_offsets_are_committed_early(broker: Broker) -> None:
    """One node: where another joins, lanes open anew past the log's end, and halt."""
    with arena(broker, 2, *SABOTAGE, "early-commit", nodes=1) as found:
        assert kills(found, 3).violations.keys() >= {"lost", "committed_early"}


def test_harness_finds_nodes_that_answer_with_what_is_no_longer_deployed(broker: Broker) -> None:
    with arena(broker, 3, *SABOTAGE, "stale", nodes=1, registered=True) as found:
        assert found.releases is not None
        found.wait_until_serving()
        found.operator().give("settle", "2")
        assert wait(lambda: all_answered(found), ANSWERED_WITHIN_S)
        found.ledger.add("settled", [(time.time_ns() // 1_000_000, found.releases.digests["2"])])
        found.seconds_until_all_advance()
        found.settle()
        assert found.verdict("sabotage").violations.keys() >= {"strayed"}


@pytest.mark.parametrize("how", ["deaf", "clumsy"])
def test_node_that_fails_inside_ends_and_its_requests_are_answered_by_the_next(
    broker: Broker, how: str
) -> None:
    with arena(broker, 4, *SABOTAGE, how) as found:
        ended = wait(lambda: found.supervisor.exits()[EX_SOFTWARE] >= 2, 60)
        found.settle()
        verdict = found.verdict(how)
    assert ended and not verdict.violations, verdict.as_json()


def test_harness_finds_only_repeats_when_results_lie_outside_of_transactions(
    broker: Broker,
) -> None:
    """`at_least_once` promises no more: nothing is lost, and after a crash outcomes repeat.

    Kills at random may all come when every offset is committed; one between a result and its offset
    does not.
    """
    with arena(broker, 3, CHIMERA_SERVING__GUARANTEE="at_least_once") as found:
        found.wait_until_serving()
        nodes = found.supervisor.nodes
        assert any(nemeses.crash_at(found, node, "after_produce", 3) for node in nodes)
        verdict = kills(found, 3)
    assert "duplicated" in verdict.violations
    assert verdict.violations.keys() <= {"duplicated", "reordered", "letters_extra"}
