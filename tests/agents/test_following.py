"""What a node asks of its executors as states change; `tests/integration/test_following.py` runs real ones."""

# pyright: reportPrivateUsage=false

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import cast

from msgspec import structs

from chimera.agents.following.following import Following
from chimera.agents.following.refusals import Refusals
from chimera.schemas.model_state import LiveVersion, ModelState, ShadowVersion, TierArtifact
from chimera.schemas.placements import Placement, Shadow, Shadows, Traffic
from chimera.schemas.work import Loaded
from chimera.stores.layout import Layout

DIGEST = "0" * 64
TIERS = (TierArtifact("onnx-cpu", DIGEST),)


class Executors:
    """They load all but what is `broken`, as soon as they `may`, and remember what they were asked for."""

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.held: list[Placement] = []
        self.loads, self.may = asyncio.Event(), asyncio.Event()
        self.may.set()
        self.asked: list[tuple[list[str], list[str]]] = []
        self.refused: Sequence[Loaded] = ()
        self.traffic: Traffic = {}
        self.shadows: Shadows = {}

    async def hold(
        self,
        needed: Sequence[Placement],
        spare: Sequence[Placement],
        traffic: Traffic,
        superseded: asyncio.Event,
    ) -> tuple[Loaded, ...]:
        self.asked.append(([one.name for one in needed], [one.name for one in spare]))
        self.loads.set()
        waits = [asyncio.ensure_future(one.wait()) for one in (self.may, superseded)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for one in waits:
            one.cancel()
        if superseded.is_set():
            return ()
        refused = tuple(
            Loaded(one.model, one.version, one.digest, "", 0, "no room")
            for one in needed
            if one.name in self.broken
        )
        if not refused:
            self.held = [*needed, *spare]
        return refused

    def switch(self, model: str, weights: Mapping[str, float], shadow: Shadow | None) -> None:
        self.traffic = {name: one for name, one in self.traffic.items() if name != model}
        self.shadows = {name: one for name, one in self.shadows.items() if name != model}
        self.traffic |= {model: dict(weights)} if weights else {}
        self.shadows |= {model: shadow} if shadow is not None else {}

    def direct(self, traffic: Traffic) -> None:
        self.traffic = traffic

    def pause(self, models: Collection[str]) -> None: ...

    def mirror(self, shadows: Shadows) -> None:
        self.shadows = shadows


class Folders:
    """A layout that has every version."""

    def place(self, model: str, version: LiveVersion | ShadowVersion) -> Placement:
        return Placement(model, version.version, version.sha256, "")


def live(version: str) -> LiveVersion:
    return LiveVersion(version=version, sha256=DIGEST, weight=1.0, tiers=TIERS)


def state(
    model: str, revision: int, version: str, before: str = "", shadow: str = ""
) -> ModelState:
    shadowing = ShadowVersion(version=shadow, sha256=DIGEST, share=1.0, tiers=TIERS)
    return ModelState(
        tenant="default",
        model=model,
        revision=revision,
        changed_ms=0,
        command_id="c",
        live=(live(version),),
        before=(live(before),) if before else (),
        shadow=shadowing if shadow else None,
    )


class Case:
    """A node that follows, its executors, and what it told: model, version and how often."""

    def __init__(self) -> None:
        self.executors = Executors()
        self.told: list[tuple[str, str, int]] = []
        self.serves: dict[str, int] = {}
        layout, refusals = cast(Layout, Folders()), Refusals(60.0)
        self.following = Following("t", {}, layout, refusals, self.serves.update)
        self.following._tell = lambda _, one, tries: self.told.append(
            (one.model, one.version, tries)
        )

    def read(self, *states: ModelState) -> None:
        for one in states:
            self.following._take(one.model, one, self.executors)

    async def follow(self, *states: ModelState) -> None:
        self.read(*states)
        await self.following._change(self.executors)

    async def loading(self, *states: ModelState) -> "asyncio.Task[None]":
        """The executors are asked, and load until they `may` have done so."""
        self.executors.may.clear()
        self.executors.loads.clear()
        change = asyncio.create_task(self.follow(*states))
        await self.executors.loads.wait()
        return change


def run(scenario: Callable[[Case], Awaitable[None]]) -> None:
    async def main() -> None:
        case = Case()
        try:
            await asyncio.wait_for(scenario(case), 60)
        finally:
            await case.following.stop()

    asyncio.run(main())


def test_live_versions_come_before_shadows_and_ways_back_are_spare() -> None:
    async def scenario(case: Case) -> None:
        await case.follow(state("a", 1, "1", before="0", shadow="2"), state("b", 1, "1"))
        assert case.executors.asked == [(["a/1", "b/1", "a/2"], ["a/0"])]
        await case.follow(state("b", 2, "2"))
        assert case.executors.asked[1] == (["a/1", "b/2", "a/2"], ["a/0", "b/1"])
        assert case.serves == {"a": 1, "b": 2}

    run(scenario)


def test_shadow_without_room_is_left_out_and_told() -> None:
    async def scenario(case: Case) -> None:
        case.executors.broken = {"a/2", "b/1"}
        await case.follow(state("a", 1, "1", shadow="2"), state("b", 1, "1"))
        assert case.told == [("a", "2", 1), ("b", "1", 1)]
        assert case.executors.traffic == {"a": {"1": 1.0}} and case.executors.shadows == {}
        case.executors.broken = set()
        await case.follow(state("a", 2, "1", shadow="2"))
        assert case.executors.shadows == {"a": Shadow("2")} and case.serves == {"a": 2}

    run(scenario)


def test_served_version_that_is_refused_for_anothers_sake_goes_on_being_ordered() -> None:
    async def scenario(case: Case) -> None:
        await case.follow(state("a", 1, "1"))
        case.executors.broken = {"a/1"}  # an executor came back without it
        await case.follow(state("b", 1, "1"))
        assert case.executors.traffic == {"a": {"1": 1.0}, "b": {"1": 1.0}}
        assert case.executors.asked[-2:] == [(["a/1", "b/1"], []), (["b/1"], [])]
        assert case.told == [("a", "1", 1)]

    run(scenario)


def test_refusal_of_executors_that_started_is_told_once() -> None:
    async def scenario(case: Case) -> None:
        await case.follow(state("a", 1, "2", before="1"))
        refused = [Loaded("a", version, DIGEST, "", 0, "no room") for version in "12"]
        case.following._note_lacking(refused * 2)
        assert case.told == [("a", "2", 1)], "a way back is not missed until it is wanted"
        assert not list(case.following._pending()), "not before a pause"

    run(scenario)


def test_rollback_to_what_executors_have_does_not_wait_for_a_load() -> None:
    async def scenario(case: Case) -> None:
        await case.follow(state("a", 1, "1"))
        await case.follow(state("a", 2, "2", before="1"), state("b", 1, "1"))
        load = await case.loading(state("b", 2, "2", before="1"))
        case.read(state("a", 3, "1", before="2"))
        assert case.executors.traffic == {"a": {"1": 1.0}, "b": {"1": 1.0}}
        assert case.serves == {"a": 3, "b": 1} and not load.done()
        case.executors.may.set()
        await load
        assert case.executors.traffic == {"a": {"1": 1.0}, "b": {"2": 1.0}}
        assert case.serves == {"a": 3, "b": 2}, "what a load was begun for turns nothing back"
        assert case.following.state("a") == state("a", 3, "1", before="2")

    run(scenario)


def test_model_that_is_gone_answers_nothing_while_another_loads() -> None:
    async def scenario(case: Case) -> None:
        await case.follow(state("a", 1, "1"), state("b", 1, "1"))
        load = await case.loading(state("b", 2, "2"))
        case.following._take("a", None, case.executors)
        assert case.executors.traffic == {"b": {"1": 1.0}}
        case.executors.may.set()
        await load
        assert case.executors.traffic == {"b": {"2": 1.0}} and case.following.state("a") is None

    run(scenario)


def test_load_that_nobody_wants_any_more_is_given_up() -> None:
    async def scenario(case: Case) -> None:
        await case.follow(state("a", 1, "1"))
        load = await case.loading(state("a", 2, "2", before="1"))
        case.read(state("a", 3, "1"))
        await load  # and it may not
        assert case.executors.traffic == {"a": {"1": 1.0}} and case.serves == {"a": 3}
        assert case.told == [], "it was not refused"
        case.executors.may.set()
        await case.follow()
        assert case.executors.asked[-1] == (["a/1"], [])

    run(scenario)


def test_load_goes_on_where_what_is_loaded_is_a_way_back_now() -> None:
    async def scenario(case: Case) -> None:
        await case.follow(state("a", 1, "1"))
        load = await case.loading(state("a", 2, "2", before="1"))
        case.read(state("a", 3, "1", before="2"))
        assert case.serves == {"a": 3} and not load.done()
        case.executors.may.set()
        await load
        assert case.executors.traffic == {"a": {"1": 1.0}} and case.serves == {"a": 3}
        case.read(state("a", 4, "2", before="1"))
        assert case.executors.traffic == {"a": {"2": 1.0}}, "it is there"

    run(scenario)


def test_version_of_other_tiers_is_no_version_that_executors_have() -> None:
    async def scenario(case: Case) -> None:
        await case.follow(state("a", 1, "1"))
        await case.follow(state("a", 2, "2", before="1"))
        again = state("a", 3, "1")
        other = structs.replace(again.live[0], tiers=(TierArtifact("torch-cpu", DIGEST),))
        case.read(structs.replace(again, live=(other,)))
        assert case.executors.traffic == {"a": {"2": 1.0}}, "it is laid out and loaded first"

    run(scenario)
