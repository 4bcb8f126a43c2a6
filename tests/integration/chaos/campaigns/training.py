"""What happens to training: agents and trainers die at any moment, over a campaign of runs.

    staged ── agents ── orders ── kill, wait, kill ... ── all is over ── agents leave ── look, compare, judge

Runs are ordered as long as there is something left to kill, so kills always find somebody at work.
Two kills in four are of an agent (its trainer goes with it), two of a trainer: one of those at any moment, one
of a trainer that has left a checkpoint.
"""

import asyncio
import shutil
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from chimera.cli.postgres.config import APPLICATION
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.stores import schema
from tests.agents.controlling.stage import Stage as Steering
from tests.agents.controlling.stage import steered
from tests.agents.training.stage import staged
from tests.integration.chaos.broker import Broker
from tests.integration.chaos.campaigns.size import Size
from tests.integration.chaos.judge import Verdict, judge
from tests.integration.chaos.ledger import Ledger
from tests.integration.chaos.nodes import Supervisor, marked
from tests.integration.chaos.training import observe
from tests.integration.chaos.training.school import AGENT, School
from tests.waiting import wait

SETTLE_WITHIN_S = 600.0
GONE_WITHIN_S = 5.0
QUICK = {"lease_s": 4.0, "max_attempts": 1_000_000}  # kills are no reason to give a run up
TOLD = (
    "lease_lost",
    "run_left",
    "run_claimed",
    "desk_leads",
    "desk_steps_down",
    "trigger_repeated",
)


@dataclass(frozen=True)
class TrainingCampaign:
    """As the other campaigns, on a Postgres of its own."""

    name: str = "training"
    shown: ClassVar[tuple[str, ...]] = ("runs", "attempts", "resumed", "unended", "ended_twice")

    def run(self, broker: Broker, seed: int, size: Size) -> Verdict:
        with EmbeddedPostgres(extra={"fsync": "off"}) as server:
            asyncio.run(schema.upgrade(server.owner_dsn, APPLICATION))
            return play(broker.bootstrap, server, seed, size)


def play(
    bootstrap: str,
    server: EmbeddedPostgres,
    seed: int,
    size: Size,
    command: Sequence[str] = AGENT,
) -> Verdict:
    """All of it; its folder stays where something was wrong."""
    folder = Path(tempfile.mkdtemp(prefix="chimera-training-"))
    with Ledger(folder / "ledger.sqlite") as ledger:
        verdict = asyncio.run(_play(bootstrap, server, _Given(folder, ledger, seed, size, command)))
    if not wait(lambda: not marked(folder), GONE_WITHIN_S):
        raise AssertionError(f"still there: {marked(folder)}")
    if not verdict.violations:
        shutil.rmtree(folder)
    return verdict


@dataclass(frozen=True)
class _Given:
    folder: Path
    ledger: Ledger
    seed: int
    size: Size
    command: Sequence[str]


async def _play(bootstrap: str, server: EmbeddedPostgres, given: _Given) -> Verdict:
    began_s, prefix = time.monotonic(), f"c{uuid.uuid4().hex[:8]}."
    async with staged(server, bootstrap, prefix, given.folder) as stage:
        stage = stage.with_trainer(**QUICK)
        school = School(stage, given.ledger, given.folder, given.seed, given.size)
        async with steered(Steering(stage.place, stage.dsn, stage.settings, stage.topics)):
            with school.supervisor(given.command) as supervisor:
                for _ in range(given.size.agents):
                    supervisor.add()
                await _disturb(school, supervisor, given.size)
                await school.settle(SETTLE_WITHIN_S)
        await observe.compare(given.ledger, given.folder / "undisturbed")
        await observe.look(stage, given.ledger)
    return judge(
        given.ledger,
        0,
        school.unmet,
        school.missed,
        campaign="training",
        seed=given.seed,
        seconds=round(time.monotonic() - began_s, 1),
        exits={str(code): count for code, count in supervisor.exits().items()},
        events=dict(supervisor.events(*TOLD)),
        folder=str(given.folder),
    )


async def _disturb(school: School, supervisor: Supervisor, size: Size) -> None:
    """Orders, and kills of agents and trainers by turns."""
    for number in range(size.run_kills):
        await school.keep_busy()
        await asyncio.sleep(school.rng.uniform(0, size.run_kill_every_s))
        if number % 2:
            await school.kill_agent(supervisor.nodes)
        else:
            await school.kill_trainer(supervisor.nodes, is_at_work=number % 4 == 0)
