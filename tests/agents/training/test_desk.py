"""Triggers on a real Kafka and a real Postgres: each is taken once and answered once, or refused."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka.admin import AdminClient
from msgspec.structs import replace

from chimera.agents.training.orders import MAX_CONFIG_BYTES
from chimera.agents.training.telling import tell
from chimera.schemas.training_events import (
    LeftOut,
    RunCancelled,
    RunFinished,
    RunQueued,
    TriggerAnswered,
    encode_event,
)
from chimera.schemas.training_rights import POLICY
from chimera.schemas.training_triggers import ConfigReference
from chimera.stores.registry import outbox, training_runs
from chimera.stores.registry.outbox import COMMANDS, TRAINING
from chimera.stores.registry.training_runs import NewRun
from tests.agents.scene import TRANSACTION_STEPS
from tests.agents.training.stage import Play, Stage, working
from tests.agents.training.test_fitting import FEATURES, wide
from tests.schemas.test_training_events import RUN
from tests.stores.content import sha256
from tests.workers.training.places import config

STEPS = ("after_registry", *TRANSACTION_STEPS)


def test_trigger_is_taken_once_however_often_it_comes(play_untrained: Play) -> None:
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

    play_untrained(work)


def test_bad_triggers_are_dead_letters_with_every_reason(
    play_untrained: Play, tmp_path: Path
) -> None:
    async def work(stage: Stage) -> None:
        bad = bad_triggers(stage, tmp_path)
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

    play_untrained(work)


def bad_triggers(stage: Stage, folder: Path) -> dict[bytes | None, tuple[str, ...]]:
    """Each with the code of its error, and parts of its reasons."""
    return unreadable(stage) | forbidden(stage) | misreferring(stage, folder)


STRANGE: dict[str, Any] = {
    "model": {"definition": "os:system"},
    "data": {"sources": ["/etc/passwd", "file:///etc/*.csv"]},
}


def unreadable(stage: Stage) -> dict[bytes | None, tuple[str, ...]]:
    good = msgspec.to_builtins(stage.order())
    unknown = config(
        loss={"name": "bce"},
        optimizer={"name": "Sgd"},
        loop={"threads": 2},
        scheduler={"name": "x"},
    )
    faulty = {**good, "priority": 99, "config": {**good["config"], "seed": -1}}
    return {
        None: ("malformed", "Input data was truncated"),
        b"{": ("malformed", "truncated"),
        b'{"v":9,"action":"train"}': ("schema_invalid", "version 9"),
        msgspec.json.encode(faulty): ("schema_invalid", "$.priority", "$.config.seed"),
        encoded(stage.order(config=config(**STRANGE))): (
            "schema_invalid",
            "os:system",
            "'/etc/passwd' is not a plain URL: a URL is as file:///data/",
            "'file:///etc/*.csv' is under no prefix",
            """CHIMERA_TRAINING__SOURCES='["file:///etc/"]' would allow it""",
        ),
        encoded(stage.order(config=unknown)): (
            "schema_invalid",
            "loss.name 'bce': regression has mse",
            "optimizer.name 'Sgd'",
            "scheduler.name 'x'",
            "loop.threads 2: at most 1 (CHIMERA_TRAINER__THREADS)",
        ),
        encoded(stage.cancel("no-such-run")): ("schema_invalid", "there is no run"),
        **unwritable(stage),
    }


def unwritable(stage: Stage) -> dict[bytes | None, tuple[str, ...]]:
    """Orders that are JSON, of which a hash, a row or an answer cannot be made."""
    good: dict[str, Any] = msgspec.to_builtins(stage.order())
    endless = {**good["config"], "loop": {"epochs": 10**16}}
    strange = {f"a{at}": 0 for at in range(60_000)}
    seeded = {"arguments": {"in_features": 4, "out_features": 1, "seed": 2**53}}
    deep = encoded(stage.order(config=config(model={"arguments": {"a": "deep"}})))
    return {
        msgspec.json.encode({**good, "config": endless}): ("schema_invalid", "$.config.loop.epoch"),
        encoded(stage.order(config=config(model=seeded))): (
            "schema_invalid",
            "model.arguments.seed: 9007199254740992 exceeds",
        ),
        deep.replace(b'"deep"', b"[" * 9_999 + b"]" * 9_999): ("malformed", "recursion"),
        encoded(stage.order(actor="ci-\0")): ("schema_invalid", "$.actor"),
        msgspec.json.encode({**good, "config": {**good["config"], **strange}}): (
            "schema_invalid",
            "$.config.a0: is no field",
        ),
    }


def forbidden(stage: Stage) -> dict[bytes | None, tuple[str, ...]]:
    promoted = config(release={"until": "promoted"})
    may_not = ("unauthorised", "eve has no right to promote")
    return {
        encoded(stage.order(tenant="nobody")): ("unauthorised", "no tenant nobody"),
        encoded(stage.order(actor="mallory", promote=True, config=config(**STRANGE))): (
            "unauthorised",
            "mallory has no right to train",
            "mallory has no right to promote",
            "os:system",
        ),
        encoded(stage.order(actor="eve", promote=True)): may_not,
        encoded(stage.order(actor="eve", config=promoted)): may_not,
        encoded(stage.resume("no-such-run", "mallory")): ("unauthorised", "mallory"),
    }


def misreferring(stage: Stage, folder: Path) -> dict[bytes | None, tuple[str, ...]]:
    (folder / "data").mkdir()
    (folder / "data" / "order.yaml").write_text("name: [")
    there = f"file://{folder}/data/order.yaml"
    order = msgspec.json.encode(config()).replace(b'"lr":0.1', b'"lr":0.1,"momentum":MOMENTUM')
    wrong = {
        b".nan": "optimizer.arguments.momentum: nan is not representable",
        b"2024-13-45": "month must be in 1..12",
        b"[" * 3_000 + b"]" * 3_000: "recursion",
        b"!!int ''": "out of range",
        billion(): "more than 200,000 values, with what its aliases stand for",
        b"'" + b"x" * MAX_CONFIG_BYTES + b"'": "more than 1,048,576 bytes",
    }
    reasons = {
        referred(folder / "data" / f"{at}.yaml", order.replace(b"MOMENTUM", value)): reason
        for at, (value, reason) in enumerate(wrong.items())
    } | {
        ConfigReference(url="file:///etc/passwd", sha256="0" * 64): "under no prefix",
        ConfigReference(url=there, sha256="0" * 64): "is not 000",
        ConfigReference(url=there, sha256=sha256(b"name: [")): "while parsing",
        ConfigReference(url=f"{there}.not", sha256="0" * 64): "there is nothing",
    }
    return {
        encoded(stage.order(config=None, reference=one)): ("schema_invalid", reason)
        for one, reason in reasons.items()
    }


def billion() -> bytes:
    """A few hundred bytes that stand for gigabytes."""
    rows = (f"&a{at} [{', '.join([f'*a{at - 1}'] * 10)}]" for at in range(1, 10))
    return f"[&a0 [x], {', '.join(rows)}]".encode()


def referred(path: Path, content: bytes) -> ConfigReference:
    path.write_bytes(content)
    return ConfigReference(url=f"file://{path}", sha256=sha256(content))


def encoded(trigger: msgspec.Struct) -> bytes:
    return msgspec.json.encode(trigger)


def test_trigger_that_meets_a_fault_is_refused_and_changes_nothing(play_untrained: Play) -> None:
    async def work(stage: Stage) -> None:
        unread = NewRun(  # as no release writes it
            run_id="strange", trigger_id="t", trigger="", model="line", actor="ada", priority=5,
            reason="manual", config="{}", until="registered",
        )  # fmt: skip
        async with stage.place.database.tenant(stage.place.tenant.id) as connection:
            await training_runs.add(connection, stage.place.tenant.id, unread)
        order = stage.order()
        async with working(stage):
            await stage.send(stage.cancel("strange"), stage.resume("strange"), order)
            answers = await stage.answers(3)
        refused = {one.action: one.reasons for one in answers if one.outcome == "refused"}
        assert list(refused) == ["resume"]
        assert "missing required field" in refused["resume"][0]
        assert (await stage.run("strange")).state == "cancelled"
        assert (await stage.run(stage.run_id(order))).state == "queued"

    play_untrained(work)


def test_row_that_its_topic_would_not_take_holds_up_no_other(play_untrained: Play) -> None:
    async def work(stage: Stage) -> None:
        database, tenant = stage.place.database, stage.place.tenant
        finished = RunFinished(manifest=wide(), **RUN)
        before = encode_event(replace(finished, event_id="by-the-release-before"))
        strange = msgspec.json.encode({"event": "dream", "event_id": "e", "body": "x" * 2**20})
        assert len(before) > stage.topics.training_events.max_message_bytes
        async with database.tenant(tenant.id) as connection:
            for topic, value in ((TRAINING, before), (TRAINING, strange), (COMMANDS, strange)):
                await outbox.add(connection, tenant.id, topic, b"key", value)
            await tell(connection, tenant, finished)
        order = stage.order()
        async with working(stage):
            await stage.send(order)
            await stage.until(RunQueued, stage.run_id(order))
            told = await stage.until(RunFinished, count=2)
        counted = LeftOut(compared=FEATURES, drifted=FEATURES // 2, slices=0)
        assert [one.left_out for one in told] == [counted, counted]
        assert [one.event_id for one in told] == ["by-the-release-before", finished.event_id]
        assert await stage.records(stage.topics.model_commands.name) == []

    play_untrained(work)


def test_run_that_waits_is_cancelled_and_resumed(play_untrained: Play) -> None:
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

    play_untrained(work)


def test_triggers_are_not_judged_again_where_their_position_is_lost(play_untrained: Play) -> None:
    async def work(stage: Stage) -> None:
        order, bad = stage.order(), stage.order(actor="mallory", promote=True)
        run_id = stage.run_id(order)
        async with working(stage):
            await stage.send(order, stage.cancel(run_id), stage.resume(run_id), bad)
            await stage.send_raw(b"{")
            await stage.answers(5)
        await stage.place.registry.put_policy(
            POLICY, {"train": ["*"], "promote": ["*"]}, actor="test"
        )
        await asyncio.to_thread(forget_positions, stage)
        last = stage.order()
        async with working(stage):
            await stage.send(last)
            await stage.until(RunQueued, stage.run_id(last))
        assert len(await stage.events(TriggerAnswered)) == 6
        assert len(await stage.events(RunCancelled)) == 1
        assert len(await stage.records(stage.topics.training_dead_letters.name)) == 2
        assert stage.run_id(bad) not in {one.run_id for one in await stage.events(RunQueued)}
        assert (await stage.run(run_id)).state == "queued"

    play_untrained(work)


def forget_positions(stage: Stage) -> None:
    """As a broker does after `offsets.retention.minutes` without a commit."""
    group = f"{stage.settings.kafka.group}-training"
    client: Any = AdminClient({"bootstrap.servers": stage.bootstrap})
    client.delete_consumer_groups([group])[group].result(30)


def test_cancel_and_resume_of_one_batch_are_done_once_by_whoever_takes_it_again(
    play_untrained: Play,
) -> None:
    async def work(stage: Stage) -> None:
        order = stage.order()
        run_id = stage.run_id(order)
        await stage.send(order, stage.cancel(run_id), stage.resume(run_id))
        await stage.die("after_registry")
        async with working(stage):
            last = stage.order()
            await stage.send(last)
            await stage.until(RunQueued, stage.run_id(last))
        answers = await stage.events(TriggerAnswered)
        done = [(one.action, one.outcome) for one in answers]
        actions = ("train", "cancel", "resume", "train")
        assert done == [(action, "accepted") for action in actions]
        assert len(await stage.events(RunCancelled)) == 1

    play_untrained(work)


def test_agent_killed_at_each_step_takes_and_tells_everything_once(
    play_untrained: Play,
) -> None:
    async def work(stage: Stage) -> None:
        orders = [stage.order() for _ in STEPS]
        bad = stage.order(actor="mallory")
        for step, order in zip(STEPS, orders, strict=True):
            await stage.send(order, bad)
            await stage.die(step)
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

    play_untrained(work)
