"""What a node serves, where it follows `models.state`: read at its start, and whenever it changes.

    record ── newer than what is served? ── files laid out ── executors hold it ── traffic turns

A version is there and warm before any request goes to it; the one before stays, so that a rollback
is a word to the executors. What cannot be had changes nothing: the model goes on as it was, the
reason is logged, and it is tried again. Of tenants only `default` is served by now, and a paused
model is not held up. `tests/integration/test_following.py`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka ships no type information)

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from chimera.schemas.errors import ChimeraError, RequestError
from chimera.schemas.model_names import read_key
from chimera.schemas.model_state import LiveVersion, ModelState, ShadowVersion, decode_state
from chimera.schemas.placements import Orders, Placement, Traffic
from chimera.schemas.work import Loaded

if TYPE_CHECKING:
    from chimera.stores.layout import Layout

log = structlog.get_logger(__name__)

POLL_MS = 200
AGAIN_S = 5.0  # after something could not be had
TENANT = "default"

Served = tuple[ModelState, tuple[Placement, ...]]


class Executors(Protocol):
    """The pool."""

    async def hold(self, placements: tuple[Placement, ...]) -> tuple[Loaded, ...]: ...
    def direct(self, traffic: Traffic) -> None: ...


class Following:
    """Of one node; `start`, then `run` until cancelled, then `stop`."""

    def __init__(self, topic: str, client_arguments: Mapping[str, Any], layout: "Layout") -> None:
        self._consumer = AIOKafkaConsumer(  # no group: all partitions, from the start
            topic, **client_arguments, auto_offset_reset="earliest"
        )
        self._layout = layout
        self._wanted: dict[str, ModelState] = {}
        self._served: dict[str, Served] = {}

    async def start(self) -> Orders:
        """All that the topic says; what cannot be laid out now is left to `run`."""
        await self._consumer.start()
        ends = await self._consumer.end_offsets(self._consumer.assignment())
        while any([await self._consumer.position(part) < end for part, end in ends.items()]):
            for records in (await self._consumer.getmany(timeout_ms=POLL_MS)).values():
                self._take(records)
        await self._lay_out()
        return self._orders()

    async def stop(self) -> None:
        await self._consumer.stop()

    async def run(self, executors: Executors) -> None:
        """Follow, until cancelled."""
        while True:
            found = await self._consumer.getmany(timeout_ms=POLL_MS)
            for records in found.values():
                self._take(records)
            if self._wanted.keys() == self._served.keys() and all(
                self._served[model][0] is state for model, state in self._wanted.items()
            ):
                continue
            if not await self._change(executors):
                await asyncio.sleep(AGAIN_S)

    def _take(self, records: Iterable[ConsumerRecord[bytes, bytes]]) -> None:
        for record in records:
            try:
                tenant, model = read_key(record.key)
                state = None if record.value is None else decode_state(record.value)
            except RequestError as error:
                log.error("model_state_not_read", offset=record.offset, reason=str(error))
                continue
            if tenant != TENANT:
                continue
            if state is None:
                self._wanted.pop(model, None)
            elif state.supersedes(self._wanted.get(model)):
                self._wanted[model] = state

    async def _change(self, executors: Executors) -> bool:
        """Let executors have what is wanted; whether all of it came about."""
        before = dict(self._served)
        complete = await self._lay_out()
        while refused := await executors.hold(self._orders().placements):
            complete = False
            for one in refused:
                log.error(
                    "version_refused", model=one.model, version=one.version, reason=one.refused
                )
                self._go_on(one.model, before)
        executors.direct(self._orders().traffic)
        for model, (state, _) in self._served.items():
            log.info("model_state_followed", model=model, revision=state.revision)
        return complete

    def _go_on(self, model: str, before: Mapping[str, Served]) -> None:
        """With what was served of a model, if anything was."""
        self._served.pop(model, None)
        if model in before:
            self._served[model] = before[model]

    async def _lay_out(self) -> bool:
        """Bring what is wanted and not served yet; whether all of it could be had."""
        for model in self._served.keys() - self._wanted.keys():
            del self._served[model]
        complete = True
        for model, state in self._wanted.items():
            if model in self._served and self._served[model][0] is state:
                continue
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
                continue
            self._served[model] = (state, placements)
        return complete

    def _place(self, state: ModelState) -> tuple[Placement, ...]:
        return tuple(self._layout.place(state.model, version) for version in _versions(state))

    def _orders(self) -> Orders:
        placements = [one for _, placed in self._served.values() for one in placed]
        traffic = {model: state.weights for model, (state, _) in self._served.items() if state.live}
        return Orders(tuple(placements), traffic)


def _versions(state: ModelState) -> list[LiveVersion | ShadowVersion]:
    """What is to be held: what answers, what shadows, and what a rollback would bring back."""
    found: dict[str, LiveVersion | ShadowVersion] = {one.version: one for one in state.before}
    if state.shadow is not None:
        found[state.shadow.version] = state.shadow
    found |= {one.version: one for one in state.live}
    return list(found.values())
