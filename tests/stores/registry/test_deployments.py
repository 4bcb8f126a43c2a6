"""Deployments: a history without gaps, one outbox record for each event, and what served when."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import asyncpg
import msgspec
import pytest

from chimera.cli.postgres.server import EmbeddedPostgres
from chimera.schemas.deployments import Change, Live
from chimera.schemas.errors import DeploymentRefused, UnknownModel
from chimera.schemas.model_commands import WatchPolicy
from chimera.schemas.model_events import CommandAnswered, Event, encode_event
from chimera.schemas.model_state import ModelState, decode_state
from chimera.stores.registry import artifacts, deployments
from chimera.stores.registry.outbox import Outbox
from chimera.stores.registry.records import Artifact, OutboxRecord
from tests.stores.places import Place, compiled, opened, register, verified

POLICY = WatchPolicy(window_s=5, max_disagreement=0.1)
TOLD = CommandAnswered(
    event_id="e", tenant="t", model="digits", at_ms=1, source="us", action="keep", outcome="done"
)
NO_LONGER = Artifact("onnx-cpu", "fp32", "x86-64", "refused", "max error 1.0")


def play(server: EmbeddedPostgres, work: Callable[[Place], Awaitable[None]]) -> None:
    """`work` on a tenant with the versions 1 and 2 of `digits`."""

    async def run() -> None:
        async with opened(server) as place:
            for version in ("1", "2"):
                await compiled(place.registry, version=version)
            await work(place)

    asyncio.run(run())


async def published(place: Place) -> list[OutboxRecord]:
    """What is in the outbox for this tenant."""
    key = f"{place.tenant.name}/".encode()
    return [one for one in await Outbox(place.database).pending(10_000) if one.key.startswith(key)]


def change(version: str | None, **more: object) -> Change:
    fields = {"action": "deploy", "actor": "test", "version": version, **more}
    return Change(**fields)  # type: ignore[arg-type]  # fields of several types


def test_a_shadow_s_share_is_in_its_history_and_in_the_record(server: EmbeddedPostgres) -> None:
    async def work(place: Place) -> None:
        record = place.registry.record_deployment
        with pytest.raises(DeploymentRefused, match="nothing serves"):
            await record("digits", change("1", weight=0))
        await record("digits", change("1"))
        live = await record("digits", change("2", weight=0, share=25))
        assert (live.candidate and live.candidate.version, live.weight, live.share) == ("2", 0, 25)
        told = decode_state((await published(place))[-1].value)
        assert told.shadow is not None
        assert (told.shadow.version, told.shadow.share) == ("2", 0.25)
        assert [event.share for event in await place.registry.history("digits")] == [100, 25]

    play(server, work)


def test_each_event_has_one_record_with_the_state_after_it(server: EmbeddedPostgres) -> None:
    async def work(place: Place) -> None:
        record = place.registry.record_deployment
        states = [
            await record("digits", change("1", reason="first")),
            await record("digits", change("2", weight=10)),
            await record("digits", change(None, action="promote")),
            await record("digits", change(None, action="rollback", actor="controller")),
        ]
        rows = await published(place)
        told = [decode_state(row.value) for row in rows]
        assert [one.revision for one in told] == [1, 2, 3, 4]
        assert [one.weights for one in told] == [
            {"1": 1.0},
            {"1": 90.0, "2": 10.0},
            {"2": 1.0},
            {"1": 1.0},
        ]
        assert {row.topic for row in rows} == {deployments.STATE}
        assert {row.key for row in rows} == {f"{place.tenant.name}/digits".encode()}
        assert await place.registry.live("digits") == states[-1]
        history = await place.registry.history("digits")
        assert [event.sequence for event in history] == [1, 2, 3, 4]
        events = [(event.action, event.actor, event.reason, event.weight) for event in history[:2]]
        assert events == [("deploy", "test", "first", 100), ("deploy", "test", "", 10)]
        serving = [state.serving.version if state.serving else None for state in states]
        assert serving == ["1", "1", "2", "1"]

    play(server, work)


def test_live_names_the_digest_that_results_name(server: EmbeddedPostgres) -> None:
    async def work(place: Place) -> None:
        state = await place.registry.record_deployment("digits", change("2"))
        assert state.serving is not None
        version = await place.registry.version("digits", "2")
        assert state.serving.sha256 == hashlib.sha256(version.manifest_bytes).hexdigest()
        (row,) = await published(place)
        assert decode_state(row.value).live[0].sha256 == version.digest

    play(server, work)


def test_a_command_that_is_repeated_changes_nothing(server: EmbeddedPostgres) -> None:
    async def work(place: Place) -> None:
        first = change("1", command_id="one")
        state = await place.registry.record_deployment("digits", first)
        await place.registry.record_deployment("digits", change("2", command_id="two"))
        assert await place.registry.record_deployment("digits", first) == state
        assert len(await place.registry.history("digits")) == len(await published(place)) == 2

    play(server, work)


def test_a_watch_rests_with_its_event_and_is_ended_once(server: EmbeddedPostgres) -> None:
    """By whoever is first; its events stand in the outbox, behind the state that they tell of."""

    async def work(place: Place) -> None:
        record = place.registry.record_deployment
        await record("digits", change("1"))
        live = await record("digits", change("2", watch=POLICY))
        assert live.watch is not None and live.watch.policy == POLICY
        assert await place.registry.live("digits") == live
        assert [one.watch for one in await place.registry.history("digits")] == [None, POLICY]
        told: list[tuple[int, int]] = []

        def tell(before: Live, after: Live) -> list[Event]:
            told.append((before.sequence, after.sequence))
            return [TOLD]

        keep = {"action": "keep", "judges": 2}
        with pytest.raises(DeploymentRefused, match="watch that event 1 opened is over"):
            await record("digits", change("2", **keep | {"judges": 1}), tell)
        kept = await record("digits", change("2", command_id="judged", **keep), tell)
        assert (kept.watch, kept.serving) == (None, live.serving)
        assert await record("digits", change("2", command_id="judged", **keep), tell) == kept
        with pytest.raises(DeploymentRefused, match="is over"):
            await record("digits", change("1", **keep | {"action": "rollback"}), tell)
        assert told == [(2, 3)]
        rows = [(row.topic, row.value) for row in await published(place)]
        assert rows[-1] == (deployments.EVENTS, encode_event(TOLD))
        assert [topic for topic, _ in rows] == [*[deployments.STATE] * 3, deployments.EVENTS]

    play(server, work)


def test_changes_at_once_come_one_after_the_other(server: EmbeddedPostgres) -> None:
    async def work(place: Place) -> None:
        one = [change(str(number % 2 + 1)) for number in range(12)]
        states = await asyncio.gather(
            *(place.registry.record_deployment("digits", each) for each in one)
        )
        assert sorted(state.sequence for state in states) == list(range(1, 13))
        rows = [decode_state(row.value) for row in await published(place)]
        assert [row.revision for row in rows] == list(range(1, 13))
        times = [row.changed_ms for row in rows]
        assert times == sorted(times)

    play(server, work)


def test_a_change_that_makes_no_sense_leaves_nothing(server: EmbeddedPostgres) -> None:
    async def work(place: Place) -> None:
        with pytest.raises(DeploymentRefused, match="no candidate"):
            await place.registry.record_deployment("digits", change(None, action="promote"))
        with pytest.raises(UnknownModel, match="no version 9"):
            await place.registry.record_deployment("digits", change("9"))
        with pytest.raises(UnknownModel, match="no model other"):
            await place.registry.record_deployment("other", change("1"))
        assert await place.registry.history("digits") == []
        assert await published(place) == []

    play(server, work)


def test_a_version_that_was_not_compiled_is_not_deployed(server: EmbeddedPostgres) -> None:
    """Nor one whose newest artifact was refused."""

    async def work(place: Place) -> None:
        await register(place.registry, version="3")
        await place.registry.add_artifact("digits", "1", NO_LONGER)
        for version in ("1", "3"):
            with pytest.raises(DeploymentRefused, match="compile it first"):
                await place.registry.record_deployment("digits", change(version))
        assert await place.registry.history("digits") == []

    play(server, work)


async def recompiled(place: Place, version: str, *made: Artifact) -> Live | None:
    told = change(version, action="recompile", command_id=f"compile-{version}-{len(made)}")
    async with place.database.tenant(place.tenant.id) as connection:
        for one in made:
            await artifacts.add(connection, place.tenant.id, "digits", version, one)
        return await deployments.recompile(connection, place.tenant.id, "digits", told)


async def last_told(place: Place) -> ModelState:
    return decode_state((await published(place))[-1].value)


def test_recompile_of_what_the_state_names_is_a_state_of_its_own(server: EmbeddedPostgres) -> None:
    """Not of another version, and not where what serves would have nothing left."""

    async def work(place: Place) -> None:
        fast = verified("f" * 64, tier="torch-cpu")
        await compiled(place.registry, version="3")
        for version in ("1", "2"):
            await place.registry.record_deployment("digits", change(version))
        assert await recompiled(place, "3", fast) is None
        live = await recompiled(place, "2", NO_LONGER, fast)
        assert live is not None and live.serving is not None
        assert (live.sequence, live.serving.version) == (3, "2")
        assert [one.tier for one in (await last_told(place)).live[0].tiers] == ["torch-cpu"]
        lost = msgspec.structs.replace(NO_LONGER, tier="torch-cpu")
        assert await recompiled(place, "2", lost) is None
        last = (await place.registry.history("digits"))[-1]
        assert (last.action, last.sequence, last.command_id) == ("recompile", 3, "compile-2-2")

    play(server, work)


CHANGES_OF_ANYTHING_ELSE = {
    "pause": change(None, action="pause"),
    "a candidate with a weight": change("2", weight=10),
    "a shadow": change("2", weight=0),
    "recompile of the way back": change("1", action="recompile"),
}


@pytest.mark.parametrize("what", CHANGES_OF_ANYTHING_ELSE)
def test_what_serves_keeps_the_tiers_it_has_whatever_else_is_changed(
    server: EmbeddedPostgres, what: str
) -> None:
    """A report that rejects all of them leaves nodes with what they have, then and later."""

    async def work(place: Place) -> None:
        for version in ("1", "3"):
            await compiled(place.registry, version=version)
            await place.registry.record_deployment("digits", change(version))
        had = (await last_told(place)).live
        assert await recompiled(place, "3", NO_LONGER) is None
        await place.registry.record_deployment("digits", CHANGES_OF_ANYTHING_ELSE[what])
        state = await last_told(place)
        assert state.live[0].version == "3" and state.live[0].tiers == had[0].tiers
        kept = await place.registry.kept(0)
        assert {one.sha256 for one in had[0].tiers} <= kept, "a node that starts needs them"

    play(server, work)


def test_history_and_outbox_are_one_transaction(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the outbox row cannot be written there is no event either."""

    async def work(place: Place) -> None:
        monkeypatch.setattr(deployments, "STATE", "")  # the table refuses it
        with pytest.raises(asyncpg.CheckViolationError):
            await place.registry.record_deployment("digits", change("1"))
        assert await place.registry.history("digits") == []

    play(server, work)


def test_what_served_is_what_the_history_said_at_that_moment(server: EmbeddedPostgres) -> None:
    async def work(place: Place) -> None:
        await compiled(place.registry, "other")
        record = place.registry.record_deployment
        first = await record("digits", change("1"))
        second = await record("digits", change("2"))
        other = await record("other", change("1"))
        for at, expected in (
            (datetime(2020, 1, 1, tzinfo=UTC), []),
            (first.at, [first]),
            (second.at, [second]),
            (None, [second, other]),
        ):
            assert await place.registry.what_served(at) == expected

    play(server, work)


def test_live_of_a_model_that_was_never_deployed_is_nothing(server: EmbeddedPostgres) -> None:
    async def work(place: Place) -> None:
        assert await place.registry.live("digits") == Live(place.tenant.name, "digits")

    play(server, work)
