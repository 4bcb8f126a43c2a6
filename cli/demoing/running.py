"""The demo from its deployed version on: traffic, promotion, everything read back and judged.

`tests/cli/demoing/test_demo.py` runs it.
"""

import asyncio

import uvloop

from chimera.cli.demoing import promotion, requests, traffic
from chimera.cli.demoing.maker import COMPILED
from chimera.cli.demoing.operator import Operator
from chimera.cli.demoing.promotion import Promotion
from chimera.cli.demoing.publisher import publishing
from chimera.cli.demoing.recording import Recording, recording
from chimera.cli.demoing.report import Report, report
from chimera.cli.demoing.requests import GOOD, MODEL, WORSE, Digits, Plan
from chimera.cli.demoing.stack import DemoStack
from chimera.cli.demoing.stages import Stages
from chimera.cli.demoing.traffic import Traffic
from chimera.cli.demoing.verdict import Verdict, judge
from chimera.cli.results import DEAD_LETTER
from chimera.schemas import compile_report
from chimera.schemas.compile_report import REPORT_FILE, CompileReport
from chimera.topics.catalogue import catalogue


def run(stack: DemoStack, stages: Stages, count: int) -> Report:
    """On a stack that has started.

    Raises:
        ChimeraError: a part of it failed; says which, and what its log says.
    """
    stack.await_made(COMPILED[GOOD])
    operator = Operator(stack.settings, stack.bootstrap)
    with stages.begin(f"version {GOOD} deployed"):
        deployed = uvloop.run(operator.deploy(GOOD))
        stack.await_served(MODEL, deployed.revision)
    stack.await_made(COMPILED[WORSE])
    digits = requests.load(stack.folder)
    with stages.begin("requests written"):
        plan = requests.plan(digits, count, stack.settings.serving.max_request_bytes)
    sent, promoted, seen = uvloop.run(_exchange(stack, stages, operator, plan, digits=digits))
    with stages.begin("outcomes checked"):
        verdicts = _judge(seen, promoted, sent, digits)
    compiled = {version: _compiled(stack, version) for version in (GOOD, WORSE)}
    return report(
        sent,
        plan,
        seen,
        promoted,
        verdicts=verdicts,
        compiled=compiled,
        digests=digits.digests,
    )


async def _exchange(
    stack: DemoStack, stages: Stages, operator: Operator, plan: Plan, *, digits: Digits
) -> tuple[Traffic, Promotion, Recording]:
    settings, bootstrap = stack.settings, stack.bootstrap
    topics = catalogue(settings)
    async with (
        recording(settings, bootstrap, topics, stack.require_node) as seen,
        publishing(settings, bootstrap, topics.requests.name) as publisher,
    ):
        with stages.begin("requests answered", len(plan)) as stage:
            sent = await traffic.exchange(publisher, seen, plan, stage.update)
        promoted = await promotion.promote(operator, publisher, seen, digits, stages=stages)
        with stages.begin("node stopped, topics read to their end"):
            await asyncio.to_thread(stack.stop_node)
            await seen.drain()
    return sent, promoted, seen


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


def _compiled(stack: DemoStack, version: str) -> CompileReport:
    path = stack.folder / "compiled" / version / REPORT_FILE
    return compile_report.decode(path.read_bytes(), str(path))
