"""The controller on a real Kafka and a real Postgres: each command is done once and answered once."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from chimera.agents.controlling.command_log import CommandLog
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.deployments import Change
from chimera.schemas.model_commands import (
    Command,
    DeployModel,
    PauseModel,
    PromoteModel,
    RegisterModel,
    ResumeModel,
    RollBackModel,
    encode_command,
)
from chimera.schemas.model_events import CommandAnswered, ModelRolledBack
from chimera.schemas.model_names import key
from chimera.stores.artifacts import Artifacts
from chimera.stores.registry import outbox
from chimera.stores.versions import Versions
from tests.agents.controlling.stage import (
    WITHIN_S,
    Play,
    Stage,
    settings_of,
    steered,
    until,
)
from tests.agents.controlling.test_compilation import sums
from tests.agents.scene import TRANSACTION_STEPS
from tests.stores.content import version_in
from tests.stores.places import compiled, connected, verified

STEPS = ("after_registry", *TRANSACTION_STEPS)
END_LEADERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
)


def told(answers: list[CommandAnswered]) -> list[tuple[str, str, str | None, int]]:
    return [(one.action, one.outcome, one.version, one.revision) for one in answers]


def test_controller_does_commands_in_order_and_answers_each(play: Play) -> None:
    async def work(stage: Stage) -> None:
        for version in ("1", "2"):
            await compiled(stage.place.registry, version=version)
        commands: list[Command] = [
            stage.command(DeployModel, version="1"),
            stage.command(DeployModel, version="2", weight=0.1),
            stage.command(PromoteModel),
            stage.command(DeployModel, version="1", shadow_share=1.0),
            stage.command(RollBackModel, reason="enough"),
            stage.command(RollBackModel),
            stage.command(PauseModel),
            stage.command(ResumeModel),
        ]
        async with steered(stage):
            await stage.send(*commands)
            answers = await stage.answers(len(commands))
        assert [one.command_id for one in answers] == [one.command_id for one in commands]
        assert told(answers) == [
            ("deploy", "done", "1", 1),
            ("deploy", "done", "2", 2),
            ("promote", "done", "2", 3),
            ("deploy", "done", "1", 4),
            ("rollback", "done", "2", 5),
            ("rollback", "done", "1", 6),
            ("pause", "done", None, 7),
            ("resume", "done", None, 8),
        ]
        states = await stage.states()
        assert [one.command_id for one in states] == [one.command_id for one in commands]
        assert [one.weights for one in states[:3]] == [{"1": 1}, {"1": 90, "2": 10}, {"2": 1}]
        assert states[3].shadow is not None
        assert [one.paused for one in states[6:]] == [True, False]
        back = [one for one in await stage.events() if isinstance(one, ModelRolledBack)]
        assert [(one.withdrawn, one.restored, one.reason) for one in back] == [
            (("1",), ("2",), "enough"),
            (("2",), ("1",), ""),
        ]

    play(work)


def test_controller_registers_what_a_trusted_key_has_signed(play: Play, tmp_path: Path) -> None:
    async def work(stage: Stage) -> None:
        store = Artifacts(stage.settings.artifacts.url, stage.settings.artifacts.cache_dir)
        raw, signature = version_in(tmp_path / "digits", model=sums())
        digest = Versions(store).add(tmp_path / "digits", raw, signature)
        good = stage.command(RegisterModel, version="1", source="store:", manifest_sha256=digest)
        commands: list[Command] = [
            good,
            stage.command(RegisterModel, version="2", source="store:", manifest_sha256=digest),
            stage.command(RegisterModel, version="1", source="store:", manifest_sha256="0" * 64),
            stage.command(DeployModel, version="1"),
            stage.command(RegisterModel, tenant="nobody-of-us", version="1", source="store:",
                          manifest_sha256=digest),
        ]  # fmt: skip
        async with steered(stage):
            await stage.send(*commands)
            answers = await stage.answers(4)
            await stage.place.registry.add_artifact("digits", "1", verified("a" * 64))
            await stage.send(stage.command(DeployModel, version="1"))
            answers = await stage.answers(5)
        assert [one.outcome for one in answers] == ["done", *["refused"] * 3, "done"]
        for answer, why in zip(
            answers, ("", "not of digits 2", "not a plain URL", "compile it first", ""), strict=True
        ):
            assert why in answer.error
        found = await stage.place.registry.version("digits", "1")
        assert (found.digest, found.registered_by) == (digest, "ada")
        assert [one.live[0].sha256 for one in await stage.states()] == [digest]

    play(work)


def test_what_another_release_left_in_the_outbox_waits_for_it(play: Play) -> None:
    async def work(stage: Stage) -> None:
        await compiled(stage.place.registry, version="1")
        async with stage.place.database.tenant(stage.place.tenant.id) as connection:
            await outbox.add(connection, stage.place.tenant.id, outbox.AUDIT, b"later", b'{"v":99}')
        async with steered(stage):
            await stage.send(stage.command(DeployModel, version="1"))
            await stage.answers(1)
            await until(lambda: stage.unread() >= 1)
        box = outbox.Outbox(stage.place.database)
        mine = {key(stage.tenant, "digits"), b"later"}
        left = [one for one in await box.pending(10_000) if one.key in mine]
        await box.forget([one.id for one in left])  # the server is other tests', too
        assert [one.value for one in left] == [b'{"v":99}']
        assert len(await stage.states()) == 1

    play(work)


def test_controller_killed_at_each_step_loses_nothing_and_repeats_nothing(
    play: Play,
) -> None:
    async def work(stage: Stage) -> None:
        for version in ("1", "2"):
            await compiled(stage.place.registry, version=version)
        commands = [stage.command(DeployModel, version=str(n % 2 + 1)) for n in range(len(STEPS))]
        await stage.send(*commands)
        for step in STEPS:
            await stage.die(step)
        last = stage.command(PauseModel)
        async with steered(stage):
            await stage.send(last)
            answers = await stage.answers(len(commands) + 1)
            await asyncio.sleep(0.2)
        ids = [one.command_id for one in (*commands, last)]
        answers = await stage.answers(len(ids))
        assert [one.command_id for one in answers] == ids
        assert [one.command_id for one in await stage.place.registry.history("digits")] == ids
        assert [one.command_id for one in await stage.states()] == ids

    play(work)


def test_controller_beside_another_waits_and_takes_over(play: Play) -> None:
    async def work(stage: Stage) -> None:
        await compiled(stage.place.registry)
        commands = [stage.command(kind) for kind in (PauseModel, ResumeModel)]
        async with steered(stage) as first:
            second = stage.controller()
            await second.start()
            await stage.send(commands[0])
            await stage.answers(1)
            assert not second.leads.is_set()
            await first.stop()
            await stage.send(commands[1])
            answers = await stage.answers(2)
            assert second.leads.is_set()
            await second.stop()
        assert [one.command_id for one in answers] == [one.command_id for one in commands]

    play(work)


def test_controller_that_was_fenced_makes_nothing_visible_before_it_leads_again(
    play: Play,
) -> None:
    async def work(stage: Stage) -> None:
        await compiled(stage.place.registry)
        async with steered(stage) as controller:
            async with CommandLog(stage.settings, stage.bootstrap, lambda _: None).opened():
                await stage.send(stage.command(PauseModel))
                await until(lambda: not controller.leads.is_set())
                assert await stage.events() == []
            answers = await stage.answers(1)
        assert told(answers) == [("pause", "done", None, 1)]
        assert len(await stage.place.registry.history("digits")) == 1

    play(work)


def test_controller_that_lost_its_lock_leads_again_and_goes_on(
    play: Play, server: EmbeddedPostgres
) -> None:
    async def work(stage: Stage) -> None:
        await compiled(stage.place.registry)
        commands = [stage.command(kind) for kind in (PauseModel, ResumeModel)]
        async with steered(stage) as controller:
            await stage.send(commands[0])
            await stage.answers(1)
            async with connected(server.dsn) as connection:
                ended = await connection.fetch(END_LEADERS)
            assert len(ended) == 1
            await until(lambda: not controller.leads.is_set())
            await stage.send(commands[1])
            answers = await stage.answers(2)
        assert [one.command_id for one in answers] == [one.command_id for one in commands]

    play(work)


def test_controller_refuses_what_is_no_command_and_goes_on(play: Play) -> None:
    async def work(stage: Stage) -> None:
        await compiled(stage.place.registry)
        at = key(stage.tenant, "digits")
        good = stage.command(PauseModel)
        await stage.send_raw(
            (at, b"\xff{"),
            (at, None),
            (at, b'{"v":1,"action":"explode","command_id":"c-1","tenant":"a"}'),
            (key(stage.tenant, "other"), encode_command(good)),
            (None, b"{}"),
            (b"no model's key", b"{}"),
        )
        later = stage.command(ResumeModel)
        async with steered(stage):
            await stage.send(later)
            answers = await stage.answers(5)
        assert [(one.model, one.action, one.outcome, one.command_id) for one in answers] == [
            ("digits", "unknown", "refused", None),
            ("digits", "unknown", "refused", None),
            ("digits", "explode", "refused", "c-1"),
            ("other", "pause", "refused", good.command_id),
            ("digits", "resume", "done", later.command_id),
        ]
        assert all(one.error for one in answers[:-1])

    play(work)


def test_controller_answers_a_command_once_however_often_it_comes(
    play: Play, tmp_path: Path
) -> None:
    """Twice in the log; and again to a group that has lost its offset."""

    async def work(stage: Stage) -> None:
        await compiled(stage.place.registry)
        one, last = stage.command(DeployModel, version="1"), stage.command(PauseModel)
        async with steered(stage):
            await stage.send(one, one)
            await stage.answers(1)
        settings = settings_of(stage.bootstrap, stage.settings.kafka.topic_prefix, tmp_path)
        kafka = settings.kafka.model_copy(update={"group": f"{settings.kafka.group}-other"})
        forgetful = replace(stage, settings=settings.model_copy(update={"kafka": kafka}))
        async with steered(forgetful):
            await stage.send(last)
            answers = await stage.answers(2)
        assert [each.command_id for each in answers] == [one.command_id, last.command_id]
        assert len(await stage.place.registry.history("digits")) == 2

    play(work)


def test_controller_tells_what_others_left_in_the_outbox(play: Play) -> None:
    async def work(stage: Stage) -> None:
        await compiled(stage.place.registry)
        async with steered(stage):
            change = Change("deploy", "by hand", version="1")
            await stage.place.registry.record_deployment("digits", change)
            async with asyncio.timeout(WITHIN_S):
                while not (states := await stage.states()):  # noqa: ASYNC110  # nothing announces it
                    await asyncio.sleep(0.05)
        assert [one.revision for one in states] == [1]

    play(work)


@pytest.mark.parametrize("step", ["after_commit", "after_forget"])
def test_change_of_a_policy_is_told_once_through_a_kill(play: Play, step: str) -> None:
    async def work(stage: Stage) -> None:
        await stage.place.registry.put_policy("canary", {"share": 0.1}, actor="ada")
        await stage.die(step)
        async with steered(stage):
            await stage.place.registry.put_policy("canary", {"share": 0.2}, actor="bob")
            async with asyncio.timeout(10):
                while len(told := await stage.actions()) < 2:  # noqa: ASYNC110  # nothing announces it
                    await asyncio.sleep(0.02)
        assert [(one.action, one.actor) for one in told] == [
            ("policies.put", "ada"),
            ("policies.put", "bob"),
        ]

    play(work)
