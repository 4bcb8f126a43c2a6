"""The demo from its registered versions on: compiled, deployed, traffic, promotion, everything judged.

    1 compiled ── 1 deployed ── burst ─┬─ requests by the clock ─┬─ 2 promoted ── taken back ── judged
                                       └─ 2 compiled ────────────┘

`tests/cli/demoing/test_demo.py` runs it.
"""

import asyncio

import uvloop

from chimera.cli.asking.results import DEAD_LETTER
from chimera.cli.demoing import promotion, requests, traffic
from chimera.cli.demoing.configuration import QUICK
from chimera.cli.demoing.maker import REGISTERED
from chimera.cli.demoing.operator import Operator
from chimera.cli.demoing.promotion import Promotion
from chimera.cli.demoing.publisher import Publisher, publishing
from chimera.cli.demoing.recording import Recording, recording
from chimera.cli.demoing.report import Report, report
from chimera.cli.demoing.requests import GOOD, MODEL, WORSE, Digits, Plan
from chimera.cli.demoing.stack import DemoStack
from chimera.cli.demoing.stages import Stages
from chimera.cli.demoing.traffic import Traffic
from chimera.cli.demoing.verdict import Verdict, judge
from chimera.schemas.compile_report import CompileReport, Step
from chimera.topics.catalogue import catalogue


def run(stack: DemoStack, stages: Stages, count: int) -> Report:
    """On a stack that has started.

    Raises:
        ChimeraError: a part of it failed; says which, and what its log says.
    """
    run = _Run(stack, stages, Operator(stack.settings, stack.bootstrap, stack.require_node))
    stack.await_made(REGISTERED[GOOD])
    good = uvloop.run(run.begin())
    stack.await_made(REGISTERED[WORSE])
    digits = requests.load(stack.folder)
    with stages.begin("requests written"):
        plan = requests.plan(digits, count, stack.settings.serving.max_request_bytes)
    sent, promoted, seen, worse = uvloop.run(run.exchange(plan, digits))
    with stages.begin("outcomes checked"):
        verdicts = _judge(seen, promoted, sent, digits)
    return report(
        sent,
        plan,
        seen,
        promoted,
        verdicts=verdicts,
        compiled={GOOD: good, WORSE: worse},
        digests=digits.digests,
    )


class _Run:
    def __init__(self, stack: DemoStack, stages: Stages, operator: Operator) -> None:
        self._stack, self._stages, self._operator = stack, stages, operator

    async def begin(self) -> CompileReport:
        """Version 1, compiled; when it returns, it answers."""
        compiled = await self._compile(GOOD)
        with self._stages.begin(f"version {GOOD} deployed"):
            deployed = await self._operator.deploy(GOOD)
            await asyncio.to_thread(self._stack.await_served, MODEL, deployed.revision)
        return compiled

    async def exchange(
        self, plan: Plan, digits: Digits
    ) -> tuple[Traffic, Promotion, Recording, CompileReport]:
        stack, stages = self._stack, self._stages
        settings, bootstrap = stack.settings, stack.bootstrap
        topics = catalogue(settings)
        async with (
            recording(settings, bootstrap, topics, stack.require_node) as seen,
            publishing(settings, bootstrap, topics.requests.name) as publisher,
        ):
            with stages.begin("burst answered", len(plan.burst)) as stage:
                sent = await traffic.burst(publisher, seen, plan.burst, stage.update)
            pacing = self._pace(publisher, seen, plan, sent)
            compiled, _ = await asyncio.gather(self._compile(WORSE), pacing)
            promoted = await promotion.promote(
                self._operator, publisher, seen, digits, stages=stages
            )
            with stages.begin("node stopped, topics read to their end"):
                await asyncio.to_thread(stack.stop_node)
                await seen.drain()
        return sent, promoted, seen, compiled

    async def _compile(self, version: str) -> CompileReport:
        tiers = self._stack.tiers or (() if version == GOOD else QUICK)  # all of one is enough
        with self._stages.begin(f"version {version} compiled") as stage:

            def tell(step: Step) -> None:
                stage.update(0, f"{step.variant}: {step.stage}")

            return await self._operator.compile(version, tiers, tell)

    async def _pace(self, publisher: Publisher, seen: Recording, plan: Plan, sent: Traffic) -> None:
        with self._stages.begin("requests by the clock answered", len(plan.paced)) as stage:
            await traffic.pace(publisher, seen, plan.paced, sent, stage.update)


def _judge(
    seen: Recording, promoted: Promotion, sent: Traffic, digits: Digits
) -> tuple[Verdict, Verdict]:
    """Over the traffic, and whatever answers nobody; over the requests of the promotion."""
    theirs, ours = traffic.parted(seen.answers, promoted.sent)
    their_letters, our_letters = traffic.parted(seen.dead_letters, promoted.sent, DEAD_LETTER)
    return (
        judge(sent.sent, ours, our_letters, digits),
        judge(promoted.sent, theirs, their_letters, digits),
    )
