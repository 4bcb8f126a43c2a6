"""The demo's commands where they come to nothing: refused by a real controller, or the node is gone."""

import asyncio
from pathlib import Path

import pytest

from chimera.cli.demoing.failure import DemoFailed
from chimera.cli.demoing.operator import Operator
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.compile_report import Step
from tests.agents.controlling.stage import staged, steered

pytestmark = pytest.mark.timeout(120)

UNKNOWN = "no-such-version"


def hear(_: Step) -> None:
    raise AssertionError("nothing is compiled")


def test_a_command_that_is_refused_ends_the_demo_with_the_reason(
    server: EmbeddedPostgres, kafka: str, prefix: str, tmp_path: Path
) -> None:
    async def run() -> None:
        async with staged(server, kafka, prefix, tmp_path) as stage, steered(stage):
            operator = Operator(stage.settings, kafka, lambda: None)
            with pytest.raises(DemoFailed, match=r"CompileModel: .*digits"):
                await operator.compile(UNKNOWN, (), hear)
            with pytest.raises(DemoFailed, match=r"PromoteModel: .*digits"):
                await operator.promote(UNKNOWN)

    asyncio.run(run())


def test_a_command_waits_no_longer_than_there_is_a_node(
    server: EmbeddedPostgres, kafka: str, prefix: str, tmp_path: Path
) -> None:
    def require_node() -> None:
        raise DemoFailed("the node ended")

    async def run() -> None:
        async with staged(server, kafka, prefix, tmp_path) as stage:
            operator = Operator(stage.settings, kafka, require_node)
            for doing in (operator.compile("1", (), hear), operator.promote("1")):
                with pytest.raises(DemoFailed, match="the node ended"):
                    await doing

    asyncio.run(run())
