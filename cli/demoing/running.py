"""The demo on a stack that has started: two runs, traffic, a promotion, and what is kept of all of it.

    triggers ── first run ── promoted by its policy ── burst ── requests by the clock ─┬─ second promoted
          └───── second run, on shifted data ── compiled ──────────────────────────────┘       │
    audit log verified, altered ── SQL ── warehouse has all ── node stops ── taken back ───────┘

`tests/cli/demoing/test_demo.py` runs it.
"""

import asyncio
from typing import NamedTuple

import uvloop

from chimera.cli.asking.results import DEAD_LETTER
from chimera.cli.demoing import digits, orders, promotion, requests, traffic
from chimera.cli.demoing.configuration import QUICK
from chimera.cli.demoing.digits import Parts
from chimera.cli.demoing.keeping import keep
from chimera.cli.demoing.learned import learned
from chimera.cli.demoing.learning import Learning, publish
from chimera.cli.demoing.lessons import Lesson
from chimera.cli.demoing.operator import Operator
from chimera.cli.demoing.promotion import Promotion
from chimera.cli.demoing.publisher import Publisher, publishing
from chimera.cli.demoing.recording import Recording, recording
from chimera.cli.demoing.report import Report, Training, report
from chimera.cli.demoing.requests import Digits, Plan
from chimera.cli.demoing.stack import DemoStack
from chimera.cli.demoing.stages import Stages
from chimera.cli.demoing.traffic import Traffic
from chimera.cli.demoing.verdict import Verdict, judge
from chimera.cli.demoing.versions import GOOD, MODEL, NTH, WORSE
from chimera.schemas.compile_report import CompileReport, Step
from chimera.topics.catalogue import catalogue


def run(stack: DemoStack, stages: Stages, count: int) -> Report:
    """All of it.

    Raises:
        ChimeraError: a part of it failed; says which, and what its log says.
    """
    parts = digits.parts()
    digits.write(stack.data, parts)
    with stages.begin("requests written"):
        limit_bytes = stack.settings.serving.max_request_bytes
        plan = requests.plan(learned(parts, (), stack.settings.training.dir), count, limit_bytes)
    seen = uvloop.run(_Run(stack, stages, parts).all(plan))
    with stages.begin("outcomes checked"):
        verdicts = _judge(seen)
    kept = keep(stack, stages, len(seen.recording.answers))
    return report(
        seen.sent,
        plan,
        seen.recording,
        seen.promotion,
        verdicts=verdicts,
        compiled=seen.compiled,
        training=Training.of(seen.lessons, stack.settings.training.dir),
        kept=kept,
    )


class Seen(NamedTuple):
    """What went on, and what came of it."""

    lessons: tuple[Lesson, Lesson]
    sent: Traffic
    promotion: Promotion
    recording: Recording
    compiled: dict[str, CompileReport]  # by version
    digits: Digits


class _Run:
    def __init__(self, stack: DemoStack, stages: Stages, parts: Parts) -> None:
        self._stack, self._stages, self._parts = stack, stages, parts
        self._operator = Operator(stack.settings, stack.bootstrap, stack.children.require)
        self._lessons = Lesson(GOOD), Lesson(WORSE)

    async def all(self, plan: Plan) -> Seen:
        stack, settings = self._stack, self._stack.settings
        topics, require = catalogue(settings), stack.children.require
        async with (
            recording(settings, stack.bootstrap, topics, require) as seen,
            publishing(settings, stack.bootstrap, topics.requests.name) as publisher,
        ):
            first, second = [Learning(one, seen, self._stages) for one in self._lessons]
            await self._order()
            await asyncio.gather(asyncio.to_thread(stack.await_node), first.until_trained())
            sent, worse = await asyncio.gather(
                self._serve(first, publisher, seen, plan), self._learn(second)
            )
            known = learned(self._parts, self._lessons, settings.training.dir)
            promoted = await promotion.promote(
                self._operator, publisher, seen, known, stages=self._stages
            )
            with self._stages.begin("node stopped, topics read to their end"):
                await asyncio.to_thread(stack.stop_node)
                await seen.drain()
        compiled = {GOOD: first.compiled(settings), WORSE: worse}
        return Seen(self._lessons, sent, promoted, seen, compiled, known)

    async def _order(self) -> None:
        stack = self._stack
        await orders.allow(stack.settings)
        await publish(stack.settings, stack.bootstrap, orders.orders(stack.data, stack.tiers))

    async def _serve(
        self, first: Learning, publisher: Publisher, seen: Recording, plan: Plan
    ) -> Traffic:
        """Once its policy has promoted it, and the node serves it: a burst, then by the clock."""
        await first.until_registered()
        revision = await first.until_promoted()
        with self._stages.begin(f"{NTH[GOOD]} version served"):
            await asyncio.to_thread(self._stack.await_served, MODEL, revision)
        with self._stages.begin("burst answered", len(plan.burst)) as stage:
            sent = await traffic.burst(publisher, seen, plan.burst, stage.update)
        with self._stages.begin("requests by the clock answered", len(plan.paced)) as stage:
            await traffic.pace(publisher, seen, plan.paced, sent, stage.update)
        return sent

    async def _learn(self, second: Learning) -> CompileReport:
        """Its compilation waits in the controller's queue for the first one's to end."""
        await second.until_trained()
        await second.until_registered()
        return await self._compile()

    async def _compile(self) -> CompileReport:
        """The second version, by a person's command."""
        tiers = self._stack.tiers or QUICK  # all of the first one are enough
        with self._stages.begin(f"{NTH[WORSE]} version compiled") as stage:

            def tell(step: Step) -> None:
                stage.update(0, f"{step.variant}: {step.stage}")

            return await self._operator.compile(WORSE, tiers, tell)


def _judge(seen: Seen) -> tuple[Verdict, Verdict]:
    """Over the traffic, and whatever answers nobody; over the requests of the promotion."""
    recorded, promoted = seen.recording, seen.promotion
    theirs, ours = traffic.parted(recorded.answers, promoted.sent)
    their_letters, our_letters = traffic.parted(recorded.dead_letters, promoted.sent, DEAD_LETTER)
    return (
        judge(seen.sent.sent, ours, our_letters, seen.digits),
        judge(promoted.sent, theirs, their_letters, seen.digits),
    )
