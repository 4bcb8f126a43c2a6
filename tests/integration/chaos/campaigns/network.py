"""What happens to the broker, and to the way there."""

import time

from tests.integration.chaos.arena import Arena
from tests.integration.chaos.campaigns.size import Size
from tests.integration.chaos.nodes import EX_SOFTWARE
from tests.integration.chaos.proxy import (
    END_TXN,
    FETCH,
    HEARTBEAT,
    INIT_PRODUCER_ID,
    PRODUCE,
    TXN_OFFSET_COMMIT,
    Action,
    Rule,
)

CALL_S = 3.0  # a node's deadline for one call, in these campaigns
RESUME_S = 20.0  # after the broker serves again
PATIENT = {
    "CHIMERA_KAFKA__REQUEST_TIMEOUT_MS": "20000",  # as Chimera comes
    "CHIMERA_KAFKA__METADATA_MAX_AGE_MS": "300000",  # as aiokafka comes
}
LOST = (END_TXN, PRODUCE, TXN_OFFSET_COMMIT, INIT_PRODUCER_ID, FETCH, HEARTBEAT)


def outages(arena: Arena, size: Size) -> None:
    """The broker is killed and restarted, and once it stays away for long.

    Hasty nodes give up and are started again; a patient one waits until the broker is back.
    """
    patient = arena.supervisor.add(PATIENT)
    time.sleep(2)
    aways = [arena.rng.uniform(0, 2) for _ in range(size.broker_kills)]
    for away_s in (*aways, size.away_s):
        arena.fault("broker kill -9", f"away for {away_s:.1f} s")
        arena.broker.kill(away_s)
        resumed_s = arena.seconds_until_all_advance()
        arena.happened(resumed_s < RESUME_S, f"lanes go on ({resumed_s:.1f} s)")
        time.sleep(arena.rng.uniform(0, 2))
    arena.supervisor.retire(patient)


def network(arena: Arena, size: Size) -> None:
    """Commits come after their deadline; requests and answers are lost; the line is slow, or dead."""
    for _ in range(size.network_rounds):
        _delay_a_commit(arena)
        _lose(arena)
        _disturb(arena)


def _delay_a_commit(arena: Arena) -> None:
    """The node gives up, ends and is replaced; then the old commit reaches the broker."""
    rule = Rule(END_TXN, "hold", seconds=CALL_S * 2, after=arena.rng.randint(0, 20))
    before = arena.supervisor.exits()[EX_SOFTWARE]
    arena.fault("commit delayed", f"{rule.seconds} s")
    arena.broker.proxy.rules[:] = [rule]
    time.sleep(CALL_S * 3)
    arena.happened(rule.fired == 1, "a commit was delayed")
    arena.happened(arena.supervisor.exits()[EX_SOFTWARE] > before, "its node gave up and ended")


def _lose(arena: Arena) -> None:
    actions: tuple[Action, ...] = ("lose_request", "lose_answer")
    rules = [
        Rule(key, action, after=arena.rng.randint(0, 10)) for key in LOST for action in actions
    ]
    for rule in rules:
        arena.fault(rule.action, f"API {rule.api_key}")
    arena.broker.proxy.rules[:] = rules
    time.sleep(4)
    lost = sum(rule.fired for rule in rules)
    arena.happened(lost >= len(LOST), f"requests and answers were lost ({lost})")
    arena.broker.proxy.rules.clear()


def _disturb(arena: Arena) -> None:
    proxy = arena.broker.proxy
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
