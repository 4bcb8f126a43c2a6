"""What a node serves, where it follows `models.state`: read at its start, and whenever it changes.

    record ─┬ paused? ── executors hand its requests back ────────────────────── at once
            └ newer than what is served? ── files laid out ── executors hold it ── traffic turns

A version is there and warm before any request goes to it; the one before stays while there is room,
so that a rollback is a word to the executors, else it is loaded again. What cannot be had changes
nothing: the model goes on as it was, the reason is logged and told, and it is tried again
(`refusals.py`); a shadow that cannot be had is left out. A pause begins as soon as it is read; it ends
when the version that came with its end answers, or cannot be had. Of tenants only `default` is served
by now. `tests/integration/test_following.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from chimera.agents.following.refusals import Refusals
from chimera.schemas.errors import (
    ArtifactsUnavailable,
    ChimeraError,
    ModelRefused,
    RequestError,
)
from chimera.schemas.model_names import DEFAULT_TENANT, read_key
from chimera.schemas.model_state import LiveVersion, ModelState, ShadowVersion, decode_state
from chimera.schemas.placements import Orders, Placement, Shadow, Shadows, Traffic
from chimera.schemas.work import Loaded

if TYPE_CHECKING:
    from chimera.stores.layout import Layout

log = structlog.get_logger(__name__)

POLL_MS = 200
ASK_S = 1.0  # at the start, between looks whether the store is to be asked again

Served = tuple[ModelState, tuple[Placement, ...]]
Tell = Callable[[ModelState, Loaded, int], None]
"""Hears of each refusal: the state that wanted it, what was refused and why, how often by now."""
Serves = Callable[[Mapping[str, int]], None]


class Executors(Protocol):
    """The pool."""

    @property
    def refused(self) -> Sequence[Loaded]: ...
    async def hold(
        self, needed: Sequence[Placement], spare: Sequence[Placement], traffic: Traffic
    ) -> tuple[Loaded, ...]: ...
    def direct(self, traffic: Traffic) -> None: ...
    def pause(self, models: Collection[str]) -> None: ...
    def mirror(self, shadows: Shadows) -> None: ...


class Following:
    """Of one node; `start`, then `run` until cancelled, then `stop`."""

    def __init__(
        self,
        topic: str,
        client_arguments: Mapping[str, Any],
        layout: "Layout",
        refusals: Refusals,
        serves: Serves = lambda revisions: None,
    ) -> None:
        """`serves` hears which revision of each model's state is served, whenever that changes."""
        self._consumer = AIOKafkaConsumer(  # no group: all partitions, from the start
            topic, **client_arguments, auto_offset_reset="earliest"
        )
        self._layout = layout
        self._refusals, self._serves = refusals, serves
        self._tell: Tell | None = None  # until somebody listens
        self._wanted: dict[str, ModelState] = {}
        self._served: dict[str, Served] = {}
        self._lacking: set[str] = set()  # served, but for what executors refused when they started
        self._changing: set[str] = set()
        self._away: set[str] = set()  # what the store was asked for in vain
        self._paused: tuple[str, ...] = ()
        self._directed: dict[str, ModelState] = {}
        self._answering: list[Placement] = []

    async def start(self) -> Orders:
        """All that the topic says, laid out.

        While the store of artifacts is away it waits: requests would be answered that there is no
        such model. What is refused or missing there is left to `run`.
        """
        await self._consumer.start()
        ends = await self._consumer.end_offsets(self._consumer.assignment())
        while any([await self._consumer.position(part) < end for part, end in ends.items()]):
            for records in (await self._consumer.getmany(timeout_ms=POLL_MS)).values():
                self._take(records)
        await self._lay_out()
        while self._away:  # it is asked, it tells nobody
            await asyncio.sleep(ASK_S)
            await self._lay_out()
        orders = self._orders()
        self._paused = orders.paused
        self._note_answering()
        return orders

    async def stop(self) -> None:
        await self._consumer.stop()

    def state(self, model: str) -> ModelState | None:
        """What answers for a model now, not while it is still being loaded; None: nothing."""
        return self._directed.get(model)

    async def run(self, executors: Executors, tell: Tell) -> None:
        """Follow, until cancelled."""
        self._tell = tell
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read(executors))
            group.create_task(self._settle(executors))

    async def _read(self, executors: Executors) -> None:
        """Goes on while versions are laid out and loaded: a pause does not wait for them."""
        while True:
            for records in (await self._consumer.getmany(timeout_ms=POLL_MS)).values():
                self._take(records)
            self._pause(executors)

    async def _settle(self, executors: Executors) -> None:
        while True:
            self._note_lacking(executors.refused)
            gone = self._served.keys() - self._wanted.keys()
            self._changing = {state.model for state in self._pending()}
            if gone or self._changing:
                await self._change(executors)
                self._changing.clear()
                self._pause(executors)
            await asyncio.sleep(POLL_MS / 1000)

    def _pending(self) -> Iterator[ModelState]:
        """What is wanted, not served, and may be tried now."""
        now_s = time.monotonic()
        for model, state in self._wanted.items():
            served = self._served.get(model)
            is_served = served is not None and served[0] is state and model not in self._lacking
            if not is_served and self._refusals.may_be_tried(state, now_s):
                yield state

    def _take(self, records: Iterable[ConsumerRecord[bytes, bytes]]) -> None:
        for record in records:
            try:
                tenant, model = read_key(record.key)
                state = None if record.value is None else decode_state(record.value)
            except RequestError as error:
                log.error("model_state_not_read", offset=record.offset, reason=str(error))
                continue
            if tenant != DEFAULT_TENANT:
                continue
            if state is None:
                self._wanted.pop(model, None)
            elif state.supersedes(self._wanted.get(model)):
                self._want(state)

    def _want(self, state: ModelState) -> None:
        """From now on; a pause alone is no reason to lay anything out."""
        self._wanted[state.model] = state
        served = self._served.get(state.model)
        if served is not None and _holds(served[0]) == _holds(state):
            self._served[state.model] = (state, served[1])
            if self._directed.get(state.model) is served[0]:
                self._directed[state.model] = state

    def _pause(self, executors: Executors) -> None:
        """Say which models are paused, where that has changed."""
        coming = self._changing | {
            state.model for state in self._pending() if not self._refusals.has_failed(state)
        }
        paused = tuple(
            sorted(
                model
                for model, state in self._wanted.items()
                if state.paused or (model in self._paused and model in coming)
            )
        )
        if paused != self._paused:
            self._paused = paused
            executors.pause(paused)
            log.info("models_paused", models=paused)

    async def _change(self, executors: Executors) -> None:
        """Let executors have what is wanted, as far as it can be had."""
        before = dict(self._served)
        laid_out = await self._lay_out()
        while refused := await self._hold(executors):
            shadows = self._shadows_of(refused)
            tried = {one.model: self._served[one.model] for one in refused}
            for one in shadows or refused:
                self._refuse(tried[one.model][0], one)
                laid_out.discard(one.model)
                if shadows or tried[one.model] == before.get(one.model):
                    self._leave_out(one)
                else:
                    self._go_on(one.model, before)
        orders = self._orders()
        executors.direct(orders.traffic)
        executors.mirror(orders.shadows)
        self._note_answering()
        self._lacking -= laid_out
        for model in laid_out:
            self._refusals.passed(model)
            log.info("model_state_followed", model=model, revision=self._served[model][0].revision)

    def _refuse(self, state: ModelState, one: Loaded) -> None:
        tries = self._refusals.refused(state, time.monotonic())
        log.error(
            "version_refused", model=one.model, version=one.version, reason=one.refused, tries=tries
        )
        if self._tell is not None:
            self._tell(state, one, tries)

    def _note_lacking(self, refused: Iterable[Loaded]) -> None:
        """Executors that have just started go on without these: they are tried again."""
        for one in refused:
            name = f"{one.model}/{one.version}"
            if any(needed.name == name for needed in self._orders().placements):
                self._refuse(self._served[one.model][0], one)
                self._leave_out(one)

    async def _hold(self, executors: Executors) -> tuple[Loaded, ...]:
        """What is wanted; while there is room a way back too, and until traffic turns what answers now."""
        wanted = self._orders()
        needed = {one.name for one in wanted.placements}
        spare = {one.name: one for one in (*wanted.spare, *self._answering)}
        others = [one for name, one in spare.items() if name not in needed]
        return await executors.hold(wanted.placements, others, wanted.traffic)

    def _shadows_of(self, refused: Iterable[Loaded]) -> list[Loaded]:
        """The others may be refused for their sake: they end an executor together."""
        shadows = self._orders().shadows
        return [
            one
            for one in refused
            if one.model in shadows and shadows[one.model].version == one.version
        ]

    def _leave_out(self, refused: Loaded) -> None:
        """Its model is served without it, until it is tried again."""
        name = f"{refused.model}/{refused.version}"
        state, placed = self._served[refused.model]
        self._served[refused.model] = (state, tuple(one for one in placed if one.name != name))
        self._answering = [one for one in self._answering if one.name != name]
        self._lacking.add(refused.model)

    def _note_answering(self) -> None:
        self._directed = {model: state for model, (state, _) in self._served.items()}
        self._serves({model: state.revision for model, state in self._directed.items()})
        self._answering = [
            one
            for state, placed in self._served.values()
            for one in placed
            if one.version in state.weights
        ]

    def _go_on(self, model: str, before: Mapping[str, Served]) -> None:
        """With what was served of a model, if anything was."""
        self._served.pop(model, None)
        if model in before:
            self._served[model] = before[model]

    async def _lay_out(self) -> set[str]:
        """Bring what is wanted and not served yet, as far as it can be had; of which models."""
        for model in self._served.keys() - self._wanted.keys():
            del self._served[model]
        found: set[str] = set()
        for state in list(self._pending()):
            self._away.discard(state.model)
            try:
                placements = await asyncio.to_thread(self._place, state)
            except (ChimeraError, OSError) as error:
                log.error(
                    "version_not_laid_out",
                    model=state.model,
                    revision=state.revision,
                    reason=str(error),
                )
                self._refusals.away(state, time.monotonic())
                if isinstance(error, ArtifactsUnavailable | OSError):
                    self._away.add(state.model)
                continue
            self._served[state.model] = (state, placements)
            found.add(state.model)
        return found

    def _place(self, state: ModelState) -> tuple[Placement, ...]:
        found: list[Placement] = []
        for version in _versions(state):
            try:
                found.append(self._layout.place(state.model, version))
            except ModelRefused as error:
                if not isinstance(version, ShadowVersion):
                    raise
                named = version.version
                log.error("shadow_left_out", model=state.model, version=named, reason=str(error))
        return tuple(found)

    def _orders(self) -> Orders:
        traffic = {model: state.weights for model, (state, _) in self._served.items() if state.live}
        live: list[Placement] = []
        shadowing: list[Placement] = []
        spare: list[Placement] = []
        shadows: Shadows = {}
        for model, (state, placed) in self._served.items():
            for one in placed:
                if one.version in state.weights:
                    live.append(one)
                elif state.shadow is not None and one.version == state.shadow.version:
                    shadowing.append(one)
                    shadows[model] = Shadow(one.version, state.shadow.share)
                else:
                    spare.append(one)
        paused = sorted(model for model, state in self._wanted.items() if state.paused)
        return Orders((*live, *shadowing), traffic, shadows, tuple(paused), tuple(spare))


def _holds(state: ModelState) -> tuple[object, ...]:
    return state.live, state.before, state.shadow


def _versions(state: ModelState) -> list[LiveVersion | ShadowVersion]:
    """What is to be held: what answers, what shadows, and what a rollback would bring back."""
    found: dict[str, LiveVersion | ShadowVersion] = {one.version: one for one in state.before}
    if state.shadow is not None:
        found[state.shadow.version] = state.shadow
    found |= {one.version: one for one in state.live}
    return list(found.values())
