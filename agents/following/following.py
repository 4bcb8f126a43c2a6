"""What a node serves, where it follows `models.state`: read at its start, and whenever it changes.

    record ─┬ paused? ── executors hand its requests back ────────────────────── at once
            ├ what answers is there already, or nothing does? ── traffic turns ─ at once
            └ newer than what is held? ── files laid out ── executors hold it ── traffic turns

A version is there and warm before any request goes to it; the one before stays while there is room,
so that a rollback is a word to the executors, whatever they are loading meanwhile; else it is loaded
again. What cannot be had changes nothing: the model goes on as it was, the reason is logged and told,
and it is tried again (`refusals.py`). A pause begins as soon as it is read; it ends when the version
that came with its end answers, or cannot be had. `tests/integration/test_following.py`.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from chimera.agents.following.loading import Loading
from chimera.agents.following.refusals import Refusals
from chimera.agents.following.roster import Roster, Served
from chimera.agents.following.shelf import Shelf
from chimera.agents.following.state_log import StateLog
from chimera.schemas.errors import ArtifactsUnavailable, ChimeraError
from chimera.schemas.model_state import ModelState
from chimera.schemas.placements import Orders, Placement, Shadow, Shadows, Traffic
from chimera.schemas.work import Loaded

if TYPE_CHECKING:
    from chimera.stores.layout import Layout

log = structlog.get_logger(__name__)

LOOK_S = 0.2
ASK_S = 1.0  # at the start, between looks whether the store is to be asked again

Tell = Callable[[ModelState, Loaded, int], None]
"""Hears of each refusal: the state that wanted it, what was refused and why, how often by now."""
Serves = Callable[[Mapping[str, int]], None]


class Executors(Protocol):
    """The pool."""

    @property
    def refused(self) -> Sequence[Loaded]: ...
    @property
    def held(self) -> Collection[Placement]: ...
    async def hold(
        self,
        needed: Sequence[Placement],
        spare: Sequence[Placement],
        traffic: Traffic,
        superseded: asyncio.Event,
    ) -> tuple[Loaded, ...]: ...
    def switch(self, model: str, weights: Mapping[str, float], shadow: Shadow | None) -> None: ...
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
        self._log = StateLog(topic, client_arguments)
        self._shelf = Shelf(layout)
        self._refusals, self._serves = refusals, serves
        self._tell: Tell | None = None  # until somebody listens
        self._roster = Roster()
        self._loading = Loading()
        self._away: set[str] = set()  # what the store was asked for in vain
        self._paused: tuple[str, ...] = ()

    async def start(self) -> Orders:
        """All that the topic says, laid out.

        While the store of artifacts is away it waits: requests would be answered that there is no
        such model. What is refused or missing there is left to `run`.
        """
        for model, state in await self._log.start():
            self._roster.want(model, state)
        await self._lay_out()
        while self._away:  # it is asked, it tells nobody
            await asyncio.sleep(ASK_S)
            await self._lay_out()
        orders = self._roster.orders()
        self._paused = orders.paused
        self._turn()
        return orders

    async def stop(self) -> None:
        await self._log.stop()

    def state(self, model: str) -> ModelState | None:
        """What answers for a model now, not while it is still being loaded; None: nothing."""
        turned = self._roster.turned.get(model)
        return None if turned is None else turned.state

    async def run(self, executors: Executors, tell: Tell) -> None:
        """Follow, until cancelled."""
        self._tell = tell
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read(executors))
            group.create_task(self._settle(executors))

    # As it is read, also while versions are laid out and loaded.

    async def _read(self, executors: Executors) -> None:
        while True:
            for model, state in await self._log.read():
                self._take(model, state, executors)
            self._pause(executors)

    def _take(self, model: str, state: ModelState | None, executors: Executors) -> None:
        self._roster.want(model, state)
        self._switch(model, executors)
        self._loading.weigh(self._roster.wanted)

    def _switch(self, model: str, executors: Executors) -> None:
        """To what executors have already, or to nothing."""
        roster = self._roster
        state = roster.wanted.get(model)
        if state is None:
            if roster.turned.pop(model, None) is None:
                return
            executors.switch(model, {}, None)
        elif not roster.has_turned(state):
            served = self._shelf.known(state, executors.held)
            if len(served.live) < len(state.live):
                return
            roster.turn(served)
            executors.switch(model, state.weights, served.shadow)
            log.info("model_switched", model=model, revision=state.revision)
        self._note_turned()

    def _pause(self, executors: Executors) -> None:
        """Say which models are paused, where that has changed."""
        paused = tuple(
            sorted(
                model
                for model, state in self._roster.wanted.items()
                if state.paused or (model in self._paused and self._is_coming(state))
            )
        )
        if paused != self._paused:
            self._paused = paused
            executors.pause(paused)
            log.info("models_paused", models=paused)

    def _is_coming(self, state: ModelState) -> bool:
        return not self._roster.has_turned(state) and not self._refusals.has_failed(state)

    # One after the other: what has to be laid out and loaded.

    async def _settle(self, executors: Executors) -> None:
        while True:
            self._note_lacking(executors.refused)
            if any(self._pending()):
                await self._change(executors)
                self._pause(executors)
            await asyncio.sleep(LOOK_S)

    def _pending(self) -> Iterator[ModelState]:
        """What is wanted, not held, and may be tried now."""
        now_s, roster = time.monotonic(), self._roster
        for model, state in roster.wanted.items():
            is_held = roster.is_newest(model) and model not in roster.lacking
            if not is_held and self._refusals.may_be_tried(state, now_s):
                yield state

    async def _change(self, executors: Executors) -> None:
        """Let executors have what is wanted, as far as it can be had."""
        roster, before = self._roster, dict(self._roster.held)
        laid_out = await self._lay_out()
        for model in [one for one in laid_out if not roster.is_newest(one)]:
            laid_out.discard(model)  # it changed while others were laid out
            roster.go_on(model, before)
        while refused := await self._hold(executors, laid_out):
            self._do_without(refused, before, laid_out)
        if self._loading.superseded.is_set():
            for model in laid_out:
                roster.go_on(model, before)
            return
        self._turn()
        executors.direct(roster.traffic)
        executors.mirror(roster.shadows)
        roster.lacking -= laid_out
        for model in laid_out & roster.held.keys():
            self._refusals.passed(model)
            revision = roster.held[model].state.revision
            log.info("model_state_followed", model=model, revision=revision)

    def _do_without(
        self, refused: Sequence[Loaded], before: Mapping[str, Served], laid_out: set[str]
    ) -> None:
        """A shadow is left out, and what was held before; else a model goes on with that."""
        roster = self._roster
        still = [one for one in refused if one.model in roster.held]
        shadows = roster.shadows_of(still)
        tried = {one.model: roster.held[one.model] for one in still}
        for one in shadows or still:
            self._refuse(tried[one.model].state, one)
            laid_out.discard(one.model)
            if shadows or tried[one.model] == before.get(one.model):
                roster.leave_out(one)
            else:
                roster.go_on(one.model, before)

    async def _lay_out(self) -> set[str]:
        """Bring what is wanted and not held yet, as far as it can be had; of which models."""
        found: set[str] = set()
        for state in list(self._pending()):
            self._away.discard(state.model)
            try:
                self._roster.held[state.model] = await self._shelf.lay_out(state)
            except (ChimeraError, OSError) as error:
                self._note_away(state, error)
            else:
                found.add(state.model)
        return found

    async def _hold(self, executors: Executors, laid_out: Collection[str]) -> tuple[Loaded, ...]:
        """What is wanted; while there is room a way back too, and until traffic turns what answers now."""
        wanted, held = self._roster.orders(), executors.held
        needed = {one.name for one in wanted.placements}
        spare = {one.name: one for one in (*wanted.spare, *self._roster.answering)}
        others = [one for name, one in spare.items() if name not in needed]
        new = [one for one in wanted.placements if one.model in laid_out and one not in held]
        self._loading = Loading(new)
        superseded = self._loading.superseded
        return await executors.hold(wanted.placements, others, wanted.traffic, superseded)

    def _turn(self) -> None:
        """What is held answers from now on."""
        for served in self._roster.held.values():
            self._roster.turn(served)
        self._note_turned()

    # What is told.

    def _note_turned(self) -> None:
        turned = self._roster.turned
        self._serves({model: served.state.revision for model, served in turned.items()})

    def _note_lacking(self, refused: Iterable[Loaded]) -> None:
        """Executors that have just started go on without these: they are tried again."""
        for one in refused:
            name = f"{one.model}/{one.version}"
            if any(needed.name == name for needed in self._roster.orders().placements):
                self._refuse(self._roster.held[one.model].state, one)
                self._roster.leave_out(one)

    def _note_away(self, state: ModelState, error: Exception) -> None:
        model, revision = state.model, state.revision
        log.error("version_not_laid_out", model=model, revision=revision, reason=str(error))
        self._refusals.away(state, time.monotonic())
        if isinstance(error, ArtifactsUnavailable | OSError):
            self._away.add(model)

    def _refuse(self, state: ModelState, one: Loaded) -> None:
        tries = self._refusals.refused(state, time.monotonic())
        log.error(
            "version_refused", model=one.model, version=one.version, reason=one.refused, tries=tries
        )
        if self._tell is not None:
            self._tell(state, one, tries)
