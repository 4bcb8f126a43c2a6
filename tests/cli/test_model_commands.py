"""`chimera models deploy` and its like, answered by a real controller."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import typer
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from chimera.cli.models import commanding
from chimera.cli.models import commands as model_commands
from chimera.cli.models.registering import register
from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.errors import ModelRefused
from chimera.schemas.model_commands import WatchPolicy
from chimera.schemas.model_events import CommandAnswered
from chimera.schemas.server_settings import PostgresSettings
from chimera.schemas.settings import Settings
from chimera.schemas.signing import SigningKey, new_key
from chimera.workers.models import write_model
from tests.agents.controlling.stage import Stage, events, staged, steered
from tests.stores.content import KEY
from tests.stores.places import compiled
from tests.workers.rig import manifest, sums

app = typer.Typer()
model_commands.register(app)

LIMITS = ("--watch", "60", "--max-error-rate", "0.1", "--max-p99-ratio", "0")
Say = Callable[..., Awaitable[Result]]


@pytest.fixture
def say(kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> Say:
    """`chimera models` with these arguments, beside what this loop runs."""
    monkeypatch.setenv("CHIMERA_KAFKA__BOOTSTRAP", kafka)
    monkeypatch.setenv("CHIMERA_KAFKA__TOPIC_PREFIX", prefix)

    async def run(stage: Stage, *arguments: str) -> Result:
        whole = [*arguments, "--tenant", stage.tenant]
        return await asyncio.to_thread(lambda: CliRunner().invoke(app, whole))

    return run


def test_commands_are_done_by_a_controller_and_told(
    server: EmbeddedPostgres, kafka: str, prefix: str, tmp_path: Path, say: Say
) -> None:
    async def run() -> None:
        async with staged(server, kafka, prefix, tmp_path) as stage:
            for version in ("1", "2"):
                await compiled(stage.place.registry, version=version)
            async with steered(stage):
                for arguments, told in (
                    (("deploy", "digits", "1"), "deploy digits 1: done, revision 1"),
                    (("deploy", "digits", "2", "--weight", "0.1"), "deploy digits 2: done"),
                    (("promote", "digits", "--reason", "better"), "promote digits 2: done"),
                    (("rollback", "digits"), "rollback digits 1: done, revision 4"),
                    (("deploy", "digits", "2", "--shadow", "1"), "deploy digits 2: done"),
                    (("promote", "digits", *LIMITS), "promote digits 2: done"),
                    (("promote", "digits", "1", "--no-watch"), "promote digits 1: done"),
                    (("pause", "digits"), "pause digits: done"),
                    (("resume", "digits"), "resume digits: done, revision 9"),
                ):
                    result = await say(stage, *arguments)
                    assert result.exit_code == 0, result.output
                    assert told in result.output
            states = await stage.states()
            assert [one.weights for one in states[:2]] == [{"1": 1}, {"1": 90, "2": 10}]
            assert states[4].shadow is not None
            events = await stage.place.registry.history("digits")
            assert (events[2].reason, "@" in events[2].actor) == ("better", True)
            assert [one.watch for one in events[:3]] == [None, None, WatchPolicy()]
            limits = WatchPolicy(window_s=60, max_error_rate=0.1, max_p99_ratio=None)
            assert [one.watch for one in events[5:7]] == [limits, None]

    asyncio.run(run())


def test_a_command_that_is_refused_says_why(
    server: EmbeddedPostgres, kafka: str, prefix: str, tmp_path: Path, say: Say
) -> None:
    async def run() -> None:
        async with staged(server, kafka, prefix, tmp_path) as stage, steered(stage):
            result = await say(stage, "promote", "digits")
            assert (result.exit_code, "no model digits" in result.output) == (1, True)
            result = await say(stage, "pause", "no/name")
            assert (result.exit_code, "no/name" in result.output) == (1, False)
            assert "model command" in result.output

    asyncio.run(run())


def test_register_is_a_command_where_a_controller_leads(
    server: EmbeddedPostgres, kafka: str, prefix: str, tmp_path: Path
) -> None:
    """And is told; without a controller the version is registered all the same."""
    model = f"m{uuid.uuid4().hex}"

    def made(version: str) -> Path:
        return write_model(tmp_path / "models", sums(), manifest(model, version))

    def signing(settings: Settings, key: SigningKey) -> Settings:
        own = {"signing": SecretStr(key.pem().decode())}
        postgres = PostgresSettings(dsn=SecretStr(server.dsn))
        keys = settings.keys.model_copy(update=own)
        return settings.model_copy(update={"postgres": postgres, "keys": keys})

    async def run() -> None:
        async with staged(server, kafka, prefix, tmp_path) as stage:
            settings = signing(stage.settings, KEY)
            assert (await register(made("1"), settings, "ada")).is_new
            async with steered(stage):
                second = made("2")
                done = await register(second, settings, "ada")
                assert (done.is_new, done.version.registered_by) == (True, "ada")
                assert not (await register(second, settings, "bob")).is_new
                with pytest.raises(ModelRefused, match="controller has refused it.*not signed by"):
                    await register(made("3"), signing(stage.settings, new_key()), "ada")
            told = await events(kafka, stage.topics)
        answers = [one for one in told if isinstance(one, CommandAnswered)]
        found = [(one.model, one.action, one.version, one.outcome) for one in answers]
        assert found == [(model, "register", "2", "done"), (model, "register", "3", "refused")]

    asyncio.run(run())


def test_a_command_without_a_controller_has_no_answer_in_time(
    server: EmbeddedPostgres, kafka: str, prefix: str, tmp_path: Path, say: Say
) -> None:
    async def run() -> None:
        async with staged(server, kafka, prefix, tmp_path) as stage:
            result = await say(stage, "pause", "digits", "--timeout", "0.2")
            assert (result.exit_code, "no answer" in result.output) == (2, True)

    asyncio.run(run())


def test_a_command_is_not_waited_for_where_nobody_leads(
    server: EmbeddedPostgres,
    kafka: str,
    prefix: str,
    tmp_path: Path,
    say: Say,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHIMERA_POSTGRES__DSN", server.dsn)
    monkeypatch.setattr(commanding, "LED_WITHIN_S", 0.2)

    async def run() -> None:
        async with staged(server, kafka, prefix, tmp_path) as stage:
            result = await say(stage, "pause", "digits", "--timeout", "3600")
            assert result.exit_code == 2
            assert "CHIMERA_SERVING__FOLLOW=true" in result.output

    asyncio.run(run())


def test_a_command_where_there_are_no_topics_says_so(say: Say, kafka: str) -> None:
    result = CliRunner().invoke(app, ["pause", f"m{uuid.uuid4().hex}", "--bootstrap", kafka])
    assert (result.exit_code, "chimera topics sync" in result.output) == (1, True)


def test_weight_and_shadow_are_not_given_at_once() -> None:
    arguments = ["deploy", "digits", "1", "--weight", "0.5", "--shadow", "1"]
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_limits_for_a_watch_and_no_watch_are_not_given_at_once() -> None:
    arguments = ["promote", "digits", "--no-watch", "--max-error-rate", "0.1"]
    assert CliRunner().invoke(app, arguments).exit_code == 2
