"""What happens to the broker, and to the way there."""

import time

from tests.integration.chaos.arena import Arena
from tests.integration.chaos.broker import Broker
from tests.integration.chaos.campaigns.nodes import prefix
from tests.integration.chaos.campaigns.size import Size
from tests.integration.chaos.judge import Verdict
from tests.integration.chaos.proxy import (
    END_TXN,
    FETCH,
    HEARTBEAT,
    INIT_PRODUCER_ID,
    PRODUCE,
    TXN_OFFSET_COMMIT,
    Action,
    Proxy,
    Rule,
)

RESUME_S = 20.0  # after the broker serves again
CALL_S = 3.0  # a node's deadline for one call, in this campaign
LOST = (END_TXN, PRODUCE, TXN_OFFSET_COMMIT, INIT_PRODUCER_ID, FETCH, HEARTBEAT)


def outages(broker: Broker, seed: int, size: Size) -> Verdict:
    """The broker is killed and restarted, and once it stays away for long.

    One node gives up soon and is started again, the other one waits until the broker is back.
    """
    with Arena(
        broker.bootstrap,
        prefix(),
        seed=seed,
        rate=size.rate,
        nodes=1,
        environment={
            "CHIMERA_KAFKA__REQUEST_TIMEOUT_MS": "4000",
            "CHIMERA_KAFKA__METADATA_MAX_AGE_MS": "300000",  # as aiokafka comes
        },
    ) as arena:
        arena.supervisor.add({"CHIMERA_KAFKA__REQUEST_TIMEOUT_MS": "20000"})
        arena.wait_until_serving()
        aways = [arena.rng.uniform(0, 2) for _ in range(size.broker_kills)]
        for away_s in (*aways, size.away_s):
            arena.fault("broker kill -9", f"away for {away_s:.1f} s")
            broker.kill(away_s)
            resumed_s = arena.seconds_until_all_advance()
            arena.expect(resumed_s < RESUME_S, f"lanes go on ({resumed_s:.1f} s)")
            time.sleep(arena.rng.uniform(0, 2))
        arena.settle()
        return arena.verdict("outages")


def network(broker: Broker, seed: int, size: Size) -> Verdict:
    """Commits come after their deadline; requests and answers are lost; the line is slow, or dead."""
    with Arena(
        broker.bootstrap,
        prefix(),
        seed=seed,
        rate=size.rate / 2,
        nodes_bootstrap=broker.proxied,
        environment={"CHIMERA_KAFKA__REQUEST_TIMEOUT_MS": str(int(CALL_S * 1000))},
    ) as arena:
        arena.wait_until_serving()
        for _ in range(size.network_rounds):
            _delay_a_commit(arena, broker.proxy)
            _lose(arena, broker.proxy)
            _disturb(arena, broker.proxy)
        arena.settle()
        return arena.verdict("network")


def _delay_a_commit(arena: Arena, proxy: Proxy) -> None:
    """The node gives up, dies and is replaced; then the old commit reaches the broker."""
    rule = Rule(END_TXN, "hold", seconds=CALL_S * 3, after=arena.rng.randint(0, 20))
    before = arena.supervisor.exits()[70]
    arena.fault("commit delayed", f"{rule.seconds} s")
    proxy.rules[:] = [rule]
    time.sleep(CALL_S * 4)
    arena.expect(rule.fired == 1, "a commit was delayed")
    arena.expect(arena.supervisor.exits()[70] > before, "its node gave up and ended")


def _lose(arena: Arena, proxy: Proxy) -> None:
    actions: tuple[Action, ...] = ("lose_request", "lose_answer")
    rules = [
        Rule(key, action, after=arena.rng.randint(0, 10)) for key in LOST for action in actions
    ]
    for rule in rules:
        arena.fault(rule.action, str(rule.api_key))
    proxy.rules[:] = rules
    time.sleep(4)
    lost = sum(rule.fired for rule in rules)
    arena.expect(lost >= len(LOST), f"requests and answers were lost ({lost})")
    proxy.rules.clear()


def _disturb(arena: Arena, proxy: Proxy) -> None:
    arena.fault("latency")
    proxy.latency_s = 0.2
    time.sleep(2)
    proxy.latency_s = 0
    arena.fault("reset after bytes")
    proxy.drop_after = arena.rng.randint(2_000, 200_000)
    time.sleep(2)
    proxy.drop_after = None
    arena.fault("all connections reset")
    proxy.reset_all()
    time.sleep(1)
    arena.fault("stall", f"{CALL_S * 2} s")
    proxy.stall()
    time.sleep(CALL_S * 2)
    proxy.go_on()
    time.sleep(2)
