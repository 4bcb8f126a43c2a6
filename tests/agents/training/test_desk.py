"""Triggers on a real Kafka and a real Postgres: each is taken once and answered once, or refused."""

import asyncio
import multiprocessing
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.training_events import RunCancelled, RunQueued, TriggerAnswered
from chimera.schemas.training_triggers import ConfigReference
from tests.agents.training.stage import Stage, die_at, staged, working
from tests.stores.content import sha256
from tests.workers.training.places import config

STEPS = (
    "after_registry",
    "before_begin",
    "after_produce",
    "after_send_offsets",
    "before_commit",
    "after_commit",
    "after_forget",
)
NOBODY: dict[str, Any] = {"devices": ()}
Play = Callable[[Callable[[Stage], Awaitable[None]]], None]


@pytest.fixture
def play(server: EmbeddedPostgres, kafka: str, prefix: str, tmp_path: Path) -> Play:
    """Runs a coroutine function with a stage on which nothing is trained."""

    def run(work: Callable[[Stage], Awaitable[None]]) -> None:
        async def staging() -> None:
            async with staged(server, kafka, prefix, tmp_path) as stage:
                await work(stage.with_trainer(**NOBODY))

        asyncio.run(staging())

    return run


def test_trigger_is_taken_once_however_often_it_comes(play: Play) -> None:
    async def work(stage: Stage) -> None:
        first, second = stage.order(priority=2), stage.order(actor="eve")
        stolen = msgspec.structs.replace(first, priority=1)
        async with working(stage):
            await stage.send(first, first, second, first, stolen)
            answers = await stage.answers(3)
        outcomes = [(one.trigger_id, one.outcome) for one in answers]
        assert sorted(outcomes) == sorted(
            [
                (first.trigger_id, "accepted"),
                (second.trigger_id, "accepted"),
                (first.trigger_id, "refused"),
            ]
        )
        queued = await stage.events(RunQueued)
        assert [(one.run_id, one.priority) for one in queued] == [
            (stage.run_id(first), 2),
            (stage.run_id(second), 5),
        ]
        assert (await stage.run(stage.run_id(first))).state == "queued"
        (dead,) = await stage.records(stage.topics.training_dead_letters.name)
        assert b"has ordered another run" in dict(dead.headers)["chimera-error-message"]

    play(work)


def test_bad_triggers_are_dead_letters_with_every_reason(play: Play, tmp_path: Path) -> None:
    async def work(stage: Stage) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "order.yaml").write_text("name: [")
        good = msgspec.to_builtins(stage.order())
        faulty = {**good, "priority": 99, "config": {**good["config"], "seed": -1}}
        strange = config(
            model={"definition": "os:system"},
            data={"sources": ["/etc/passwd", "file:///etc/*.csv"]},
        )
        there = f"file://{tmp_path}/data/order.yaml"
        references = [
            ConfigReference(url="file:///etc/passwd", sha256="0" * 64),
            ConfigReference(url=there, sha256="0" * 64),
            ConfigReference(url=there, sha256=sha256(b"name: [")),
            ConfigReference(url=f"{there}.not", sha256="0" * 64),
        ]
        orders = [stage.order(config=None, reference=one) for one in references]
        bad: dict[bytes | None, tuple[str, ...]] = {
            None: ("malformed", "Input data was truncated"),
            b"{": ("malformed", "truncated"),
            b'{"v":9,"action":"train"}': ("schema_invalid", "version 9"),
            msgspec.json.encode(faulty): ("schema_invalid", "$.priority", "$.config.seed"),
            encoded(stage.order(config=strange)): (
                "schema_invalid",
                "os:system",
                "'/etc/passwd'",
                "'file:///etc/*.csv'",
            ),
            encoded(stage.order(tenant="nobody")): ("unauthorised", "no tenant nobody"),
            encoded(stage.order(actor="mallory", promote=True, config=strange)): (
                "unauthorised",
                "mallory has no right to train",
                "mallory has no right to promote",
                "os:system",
            ),
            encoded(stage.order(actor="eve", promote=True)): (
                "unauthorised",
                "eve has no right to promote",
            ),
            encoded(stage.order(actor="eve", config=config(release={"until": "promoted"}))): (
                "unauthorised",
                "eve has no right to promote",
            ),
            encoded(orders[0]): ("schema_invalid", "under no prefix"),
            encoded(orders[1]): ("schema_invalid", "is not 000"),
            encoded(orders[2]): ("schema_invalid", "while parsing"),
            encoded(orders[3]): ("schema_invalid", "there is nothing"),
            encoded(stage.cancel("no-such-run")): ("schema_invalid", "there is no run"),
            encoded(stage.resume("no-such-run", "mallory")): ("unauthorised", "mallory"),
        }
        async with working(stage):
            await stage.send_raw(*bad)
            answers = await stage.answers(len(bad))
        dead = await stage.records(stage.topics.training_dead_letters.name)
        assert [one.value for one in dead] == list(bad)
        for letter, answer, (code, *why) in zip(dead, answers, bad.values(), strict=True):
            assert answer.outcome == "refused"
            headers = dict(letter.headers)
            assert headers["mine"] == b"1"
            assert headers["chimera-error-code"] == code.encode(), answer
            for part in why:
                assert any(part in one for one in answer.reasons), (part, answer.reasons)
                assert part in headers["chimera-error-message"].decode()
        assert await stage.events(RunQueued) == []

    play(work)


def encoded(trigger: msgspec.Struct) -> bytes:
    return msgspec.json.encode(trigger)


def test_run_that_waits_is_cancelled_and_resumed(play: Play) -> None:
    async def work(stage: Stage) -> None:
        order = stage.order()
        run_id = stage.run_id(order)
        cancel, resume = stage.cancel(run_id, "eve"), stage.resume(run_id)
        async with working(stage):
            await stage.send(order, cancel, cancel, stage.cancel(run_id), resume, resume)
            answers = await stage.answers(4)
        assert sorted((one.action, one.outcome) for one in answers) == [
            ("cancel", "accepted"),
            ("cancel", "refused"),  # by another trigger: it was cancelled already
            ("resume", "accepted"),
            ("train", "accepted"),
        ]
        assert len(await stage.events(RunQueued)) == 2
        (cancelled,) = await stage.events(RunCancelled)
        assert cancelled.actor == "eve"
        assert (await stage.run(run_id)).state == "queued"

    play(work)


def test_agent_killed_at_each_step_takes_and_tells_everything_once(
    play: Play, server: EmbeddedPostgres, kafka: str, prefix: str, tmp_path: Path
) -> None:
    context = multiprocessing.get_context("forkserver")  # what they import is imported once
    context.set_forkserver_preload([die_at.__module__])

    async def die(step: str) -> None:
        arguments = (kafka, server.dsn, prefix, str(tmp_path), (), step)
        child = context.Process(target=die_at, args=arguments)
        child.start()
        await asyncio.to_thread(child.join)
        assert child.exitcode == -signal.SIGKILL

    async def work(stage: Stage) -> None:
        orders = [stage.order() for _ in STEPS]
        bad = stage.order(actor="mallory")
        for step, order in zip(STEPS, orders, strict=True):
            await stage.send(order, bad)
            await die(step)
        async with working(stage):
            last = stage.order()
            await stage.send(last)
            await stage.until(RunQueued, stage.run_id(last))
        queued = await stage.events(RunQueued)
        assert [one.trigger_id for one in queued] == [one.trigger_id for one in (*orders, last)]
        answers = await stage.events(TriggerAnswered)
        accepted = [one.trigger_id for one in answers if one.outcome == "accepted"]
        assert accepted == [one.trigger_id for one in (*orders, last)]
        assert len(answers) == len(accepted) + len(STEPS)
        assert len(await stage.records(stage.topics.training_dead_letters.name)) == len(STEPS)

    play(work)
