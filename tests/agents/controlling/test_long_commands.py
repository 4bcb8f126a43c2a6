"""Behind a compile or a register that takes long: traffic is steered at once, and nothing is lost or repeated."""

import asyncio
from dataclasses import replace
from pathlib import Path

from chimera.schemas.model_commands import (
    Command,
    DeployModel,
    PauseModel,
    RegisterModel,
    RollBackModel,
)
from chimera.schemas.model_events import CommandAnswered, CommandBegun
from chimera.schemas.model_names import key
from chimera.stores.artifacts import Artifacts
from chimera.stores.versions import Versions
from tests.agents.controlling.stage import (
    WITHIN_S,
    Play,
    Stage,
    asked_in_vain,
    steered,
    with_source,
)
from tests.agents.controlling.test_compilation import sums
from tests.stores.content import version_in

STEPS = (
    "after_begun",
    "after_registry",
    "before_begin:2",  # the first is that it is begun
    "after_send_offsets:2",
    "after_commit",
    "after_commit:2",
)


def register(stage: Stage, version: str, source: str, digest: str = "0" * 64) -> RegisterModel:
    return stage.command(RegisterModel, version=version, source=source, manifest_sha256=digest)


def attempting(stage: Stage, most: int) -> Stage:
    controller = stage.settings.controller.model_copy(update={"max_attempts": most})
    return replace(stage, settings=stage.settings.model_copy(update={"controller": controller}))


def told(answers: list[CommandAnswered]) -> list[tuple[str, str, str | None, int]]:
    return [(one.action, one.outcome, one.version, one.revision) for one in answers]


def test_rollback_by_hand_is_done_while_a_version_is_being_made(play_deployed: Play) -> None:
    """And what waits for that version is withdrawn by it; whoever leads next does what is left."""

    async def work(stage: Stage) -> None:
        async with asked_in_vain() as (url, asked):
            slow = with_source(stage, url)
            commands: list[Command] = [
                register(stage, "3", f"{url}3"),
                stage.command(DeployModel, version="3"),
                stage.command(RollBackModel, reason="incident"),
                stage.command(PauseModel),
            ]
            at = key(stage.tenant, "digits")
            async with steered(slow):
                await stage.send(commands[0])
                await asyncio.wait_for(asked.wait(), WITHIN_S)
                await stage.send(commands[1], *commands[1:3])
                await stage.send_raw((at, b"{"))
                await stage.send(commands[3])
                answers = await stage.answers(6)
            expected = [
                ("deploy", "done", "1", 1),
                ("deploy", "done", "2", 2),
                ("deploy", "refused", "3", 0),
                ("rollback", "done", "1", 3),
                ("unknown", "refused", None, 0),
                ("pause", "done", None, 4),
            ]
            assert told(answers) == expected
            assert commands[2].command_id in answers[2].error
            async with steered(slow):
                await stage.send(stage.command(RollBackModel))
                await stage.answers(7)
        async with steered(stage):  # its source is allowed no more
            await stage.answers(8)
            await stage.send(stage.command(PauseModel))
            answers = await stage.answers(9)
        assert told(answers)[:6] == expected, "nothing is done or told again"
        assert told(answers)[6:] == [
            ("rollback", "refused", None, 0),
            ("register", "refused", "3", 0),
            ("pause", "done", None, 5),
        ]
        begun = [one for one in await stage.events() if isinstance(one, CommandBegun)]
        assert [(one.command_id, one.attempt) for one in begun] == [
            (commands[0].command_id, attempt) for attempt in (1, 2, 3)
        ]

    play_deployed(work)


def test_command_that_ends_its_controllers_is_given_up(play_deployed: Play) -> None:
    async def work(stage: Stage) -> None:
        fatal, behind = register(stage, "3", "gone:"), register(stage, "3", "gone:")
        await stage.send(fatal, behind)
        for _ in range(2):
            await stage.die("after_begun")
        async with steered(attempting(stage, 2)):
            answers = await stage.answers(4)
        given_up, other = answers[2:]
        assert (given_up.command_id, given_up.outcome) == (fatal.command_id, "failed")
        assert "begun 2 times" in given_up.error
        assert (other.command_id, other.outcome) == (behind.command_id, "refused")

    play_deployed(work)


def test_controller_killed_while_it_makes_a_version_loses_nothing_and_repeats_nothing(
    play_deployed: Play, tmp_path: Path
) -> None:
    async def work(stage: Stage) -> None:
        stage = attempting(stage, 100)
        store = Artifacts(stage.settings.artifacts.url, stage.settings.artifacts.cache_dir)
        versions = [str(number) for number in range(3, 3 + len(STEPS))]
        ids: list[str] = []
        async with steered(stage):
            await stage.answers(2)
        for step, version in zip(STEPS, versions, strict=True):
            signed = version_in(tmp_path / version, version, model=sums())
            digest = Versions(store).add(tmp_path / version, *signed)
            commands = (
                register(stage, version, "store:", digest),
                stage.command(DeployModel, version=version),  # it is not compiled
            )
            await stage.send(*commands)
            ids += [one.command_id for one in commands]
            await stage.die(step)
        async with steered(stage):
            await stage.answers(2 + len(ids))
            await stage.send(stage.command(PauseModel))
            answers = await stage.answers(3 + len(ids))
        assert [one.command_id for one in answers[2:-1]] == ids
        assert [one.outcome for one in answers[2:-1]] == ["done", "refused"] * len(STEPS)
        found = await stage.place.registry.versions("digits")
        assert sorted(one.version for one in found) == sorted(["1", "2", *versions])

    play_deployed(work)
