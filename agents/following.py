"""What a node serves, where it follows `models.state`: read at its start, and whenever it changes.

    record ── newer than what is served? ── files laid out ── executors hold it ── traffic turns

A version is there and warm before any request goes to it; the one before stays, so that a rollback
is a word to the executors. What cannot be had changes nothing: the model goes on as it was, the
reason is logged, and it is tried again. A shadow that cannot be had is left out. Of tenants only `default` is served by now, and a paused
model is not held up. `tests/integration/test_following.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord

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
AGAIN_S = 5.0  # after something could not be had

Served = tuple[ModelState, tuple[Placement, ...]]


class Executors(Protocol):
    """The pool."""

    async def hold(self, placements: tuple[Placement, ...]) -> tuple[Loaded, ...]: ...
    def direct(self, traffic: Traffic) -> None: ...
    def mirror(self, shadows: Shadows) -> None: ...


class Following:
    """Of one node; `start`, then `run` until cancelled, then `stop`."""

    def __init__(self, topic: str, client_arguments: Mapping[str, Any], layout: "Layout") -> None:
        self._consumer = AIOKafkaConsumer(  # no group: all partitions, from the start
            topic, **client_arguments, auto_offset_reset="earliest"
        )
        self._layout = layout
        self._wanted: dict[str, ModelState] = {}
        self._served: dict[str, Served] = {}
        self._refused: dict[str, ModelState] = {}
        self._held: tuple[Placement, ...] = ()
        self._answering: list[Placement] = []
        self._is_store_away = False

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
        while not await self._lay_out() and self._is_store_away:  # noqa: ASYNC110  # it is asked, it tells nobody
            await asyncio.sleep(AGAIN_S)
        orders = self._orders()
        self._held = orders.placements
        self._note_answering()
        return orders

    async def stop(self) -> None:
        await self._consumer.stop()

    def state(self, model: str) -> ModelState | None:
        """What is served of a model; None: nothing that this topic speaks of."""
        served = self._served.get(model)
        return None if served is None else served[0]

    async def run(self, executors: Executors) -> None:
        """Follow, until cancelled."""
        while True:
            found = await self._consumer.getmany(timeout_ms=POLL_MS)
            for records in found.values():
                self._take(records)
            gone = self._served.keys() - self._wanted.keys()
            if (gone or any(self._pending())) and not await self._change(executors):
                await asyncio.sleep(AGAIN_S)

    def _pending(self) -> Iterator[tuple[str, ModelState]]:
        """What is wanted and not served; but for what executors refused, until it changes."""
        for model, state in self._wanted.items():
            served = self._served.get(model)
            if self._refused.get(model) is not state and (served is None or served[0] is not state):
                yield model, state

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
                self._wanted[model] = state

    async def _change(self, executors: Executors) -> bool:
        """Let executors have what is wanted; whether all of it came about."""
        before = dict(self._served)
        complete = await self._lay_out()
        while refused := await self._hold(executors):
            complete = False
            for one in self._shadows_of(refused) or refused:
                log.error(
                    "version_refused", model=one.model, version=one.version, reason=one.refused
                )
                if not self._leave_out_shadow(one):
                    self._refused[one.model] = self._wanted[one.model]
                    self._go_on(one.model, before)
        orders = self._orders()
        executors.direct(orders.traffic)
        executors.mirror(orders.shadows)
        self._note_answering()
        for model, (state, _) in self._served.items():
            log.info("model_state_followed", model=model, revision=state.revision)
        return complete

    async def _hold(self, executors: Executors) -> tuple[Loaded, ...]:
        """Where anything is missing: what is wanted, and until traffic turns what answers now.

        A version that is no longer wanted alone is no reason to start executors anew.
        """
        wanted = self._orders().placements
        if all(one in self._held for one in wanted):
            return ()
        names = {one.name for one in wanted}
        still = [one for one in self._held if one in self._answering and one.name not in names]
        held = (*wanted, *still)
        refused = await executors.hold(held)
        if not refused:
            self._held = held
        return refused

    def _shadows_of(self, refused: Iterable[Loaded]) -> list[Loaded]:
        """The others may be refused for their sake: they end an executor together."""
        shadows = self._orders().shadows
        return [
            one
            for one in refused
            if one.model in shadows and shadows[one.model].version == one.version
        ]

    def _leave_out_shadow(self, refused: Loaded) -> bool:
        """Whether it is one; its model is served without it then."""
        if not self._shadows_of([refused]):
            return False
        state, placed = self._served[refused.model]
        kept = tuple(one for one in placed if one.version != refused.version)
        self._served[refused.model] = (state, kept)
        return True

    def _note_answering(self) -> None:
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

    async def _lay_out(self) -> bool:
        """Bring what is wanted and not served yet; whether all of it could be had."""
        for model in self._served.keys() - self._wanted.keys():
            del self._served[model]
        complete, self._is_store_away = True, False
        for model, state in list(self._pending()):
            try:
                placements = await asyncio.to_thread(self._place, state)
            except (ChimeraError, OSError) as error:
                log.error(
                    "version_not_laid_out",
                    model=model,
                    revision=state.revision,
                    reason=str(error),
                )
                complete = False
                self._is_store_away |= isinstance(error, ArtifactsUnavailable | OSError)
                continue
            self._served[model] = (state, placements)
        return complete

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
        placements = [one for _, placed in self._served.values() for one in placed]
        traffic = {model: state.weights for model, (state, _) in self._served.items() if state.live}
        shadows = {
            model: Shadow(state.shadow.version, state.shadow.share)
            for model, (state, placed) in self._served.items()
            if state.shadow and any(one.version == state.shadow.version for one in placed)
        }
        return Orders(tuple(placements), traffic, shadows)


def _versions(state: ModelState) -> list[LiveVersion | ShadowVersion]:
    """What is to be held: what answers, what shadows, and what a rollback would bring back."""
    found: dict[str, LiveVersion | ShadowVersion] = {one.version: one for one in state.before}
    if state.shadow is not None:
        found[state.shadow.version] = state.shadow
    found |= {one.version: one for one in state.live}
    return list(found.values())
