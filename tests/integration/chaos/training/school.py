"""Everything of one training campaign together: topics, a tenant, agents and who keeps them alive, a ledger.

Agents are `chimera trainer` in processes of their own; they die by kill -9, and so do their trainers. A
controller in this process registers what is finished: it is not what is tried here.
"""

import asyncio
import random
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
import psutil

from chimera.schemas.training_config import TrainingConfig
from tests.agents.training.stage import Stage
from tests.integration.chaos.ledger import Ledger
from tests.integration.chaos.nodes import CHIMERA, Node, Supervisor
from tests.integration.chaos.training.orders import wanted

AGENT = (*CHIMERA, "trainer")
if TYPE_CHECKING:
    from tests.integration.chaos.campaigns.size import Size

T = TypeVar("T")
TRAINERS = ("chimera.workers.training", f"{__package__}.sabotage")  # honest ones, and others
LOCK = "trainer.lock"
SECTIONS = ("kafka", "training", "trainer", "keys", "artifacts")
POLL_S = 0.1
THERE_WITHIN_S = 300.0  # who was killed comes back, and loads what it needs on a busy machine
GONE_WITHIN_S = 10.0
TWICE = 0.5  # of the triggers are sent again


class School:
    """Of one campaign; agents are the supervisor's."""

    def __init__(self, stage: Stage, ledger: Ledger, folder: Path, seed: int, size: "Size") -> None:
        self.stage, self.ledger, self.rng = stage, ledger, random.Random(seed)
        self.folder, self._size = folder, size
        self._gate = folder / "gate"  # runs go on while it is there
        self._gate.touch()
        self.missed: list[str] = []
        self.unmet: list[str] = []

    def supervisor(self, command: Sequence[str] = AGENT) -> Supervisor:
        return Supervisor(self.folder, self._environment(), command, called="agent")

    def _environment(self) -> dict[str, str]:
        """What a training agent needs, as a deployment would tell it."""
        settings = self.stage.settings
        told = {
            f"CHIMERA_{name.upper()}": getattr(settings, name).model_dump_json(exclude_unset=True)
            for name in SECTIONS
        }
        return {
            **told,
            "CHIMERA_POSTGRES__DSN": self.stage.dsn,
            "CHIMERA_OBSERVABILITY__LOG_FORMAT": "json",
            "CHIMERA_CONFIG": str(self.folder / "none.toml"),
            "CHIMERA_CHAOS_RUN": str(self.folder),  # marks its processes, trainers too
        }

    # What is ordered, and what became of it.

    async def keep_busy(self) -> None:
        """Order what is to be ordered, and one more whenever there is nothing left to kill."""
        size, ordered = self._size, self.ledger.number("SELECT count(*) FROM orders")
        while ordered < size.runs or not await self.unfinished():
            await self._order(wanted(ordered, size.epochs, size.pause_s, self._gate))
            ordered += 1

    async def _order(self, config: TrainingConfig) -> None:
        """Returns when the broker has it; some producers send it again."""
        trigger = self.stage.order(config=config)
        told = msgspec.json.encode(config).decode()
        self.ledger.add("orders", [(self.stage.run_id(trigger), told)])
        again = self.rng.random() < TWICE
        await self.stage.send(trigger, *([trigger] if again else []))

    async def unfinished(self) -> int:
        """Orders whose row does not say yet that all is done."""
        ordered = self.ledger.number("SELECT count(*) FROM orders")
        runs = await self.stage.place.registry.training_runs()
        return ordered - sum(_is_over(run.state, run.stage) for run in runs)

    async def settle(self, within_s: float) -> None:
        """Wait until all is over; if that never comes, the rules will say so."""
        until_s = time.monotonic() + within_s
        while await self.unfinished() and time.monotonic() < until_s:  # noqa: ASYNC110  # others' work
            await asyncio.sleep(POLL_S)

    # What is done to it.

    async def kill_agent(self, agents: Sequence[Node]) -> None:
        """kill -9 of one that has a trainer, which must be gone with it."""
        found = await self._there(lambda: [one for one in agents if trainers(one)], "an agent")
        if not found:
            return
        agent = self.rng.choice(found)
        children = trainers(agent)
        self._fault("kill -9 of an agent", agent.name)
        agent.signal(signal.SIGKILL)
        gone = await _until(lambda: not any(map(_lives, children)), GONE_WITHIN_S)
        if not gone:
            self.unmet.append(f"trainers {children} of {agent.name} ended with it")

    async def kill_trainer(self, agents: Sequence[Node], *, is_at_work: bool) -> None:
        """kill -9 of any; or of one that has left a checkpoint in this life, and waits at the gate."""
        if is_at_work:
            self._gate.unlink()
        found = await self._there(lambda: self._victims(agents, is_at_work), "a trainer")
        self._gate.touch()
        if not found:
            return
        victim = self.rng.choice(found)
        self._fault("kill -9 of a trainer", str(victim.pid))
        victim.kill()
        if not await _until(lambda: not _lives(victim), GONE_WITHIN_S):
            self.unmet.append(f"trainer {victim} was killed")

    def _victims(self, agents: Sequence[Node], is_at_work: bool) -> list[psutil.Process]:
        found = [one for agent in agents for one in trainers(agent)]
        return [one for one in found if not is_at_work or _is_at_work(one)]

    async def _there(self, look: Callable[[], list[T]], what: str) -> list[T]:
        until_s = time.monotonic() + THERE_WITHIN_S
        while time.monotonic() < until_s:
            if found := look():
                return found
            await self.keep_busy()
            await asyncio.sleep(POLL_S)
        self.missed.append(f"there was {what} to kill")
        return []

    def _fault(self, name: str, detail: str) -> None:
        self.ledger.add("faults", [(time.time_ns() // 1_000_000, name, detail)])


def trainers(agent: Node) -> list[psutil.Process]:
    """Its child processes that train."""
    try:
        children = psutil.Process(agent.pid).children() if agent.running else []
        return [child for child in children if not set(TRAINERS).isdisjoint(child.cmdline())]
    except (psutil.NoSuchProcess, psutil.ZombieProcess):  # one of them has just ended
        return []


def _is_at_work(trainer: psutil.Process) -> bool:
    """It has a run's folder, and a checkpoint there is younger than it."""
    try:
        began_s = trainer.create_time()
        opened = [Path(file.path) for file in trainer.open_files()]
        folders = [one.parent / "checkpoints" for one in opened if one.name == LOCK]
        found = [one.stat().st_mtime for folder in folders for one in folder.glob("[0-9]*")]
    except (psutil.Error, OSError):  # it has ended, or a checkpoint made room for the next
        return False
    return any(saved_s > began_s for saved_s in found)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _is_over(state: str, stage: str | None) -> bool:
    return state in ("failed", "cancelled") or stage in ("released", "withheld")


async def _until(claim: Callable[[], bool], within_s: float) -> bool:
    until_s = time.monotonic() + within_s
    while not claim():
        if time.monotonic() > until_s:
            return False
        await asyncio.sleep(POLL_S)
    return True
