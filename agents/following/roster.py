"""What a node is to serve of each model, what executors are to hold for that, and what answers. Pure.

    wanted   the newest state, as the topic says
    held     the state that executors were last asked to hold
    turned   the state that answers: `held` once executors have it, or any other that they have already

So what answers may be newer than what is held: it is never turned back to what a load was begun for.
`tests/agents/test_following.py`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from chimera.schemas.model_state import LiveVersion, ModelState, ShadowVersion
from chimera.schemas.placements import Orders, Placement, Shadow, Shadows, Traffic
from chimera.schemas.work import Loaded

Wanted = LiveVersion | ShadowVersion


@dataclass(frozen=True, slots=True)
class Served:
    """A state, and those of its versions that can be had."""

    state: ModelState
    placed: tuple[Placement, ...]

    @property
    def live(self) -> tuple[Placement, ...]:
        return tuple(one for one in self.placed if one.version in self.state.weights)

    @property
    def shadowing(self) -> tuple[Placement, ...]:
        """None, or one."""
        shadow = self.state.shadow
        return tuple(one for one in self.placed if shadow and one.version == shadow.version)

    @property
    def shadow(self) -> Shadow | None:
        shadow = self.state.shadow
        return Shadow(shadow.version, shadow.share) if shadow and self.shadowing else None

    def without(self, version: str) -> "Served":
        return replace(self, placed=tuple(one for one in self.placed if one.version != version))


class Roster:
    """Of one node, by model."""

    def __init__(self) -> None:
        self.wanted: dict[str, ModelState] = {}
        self.held: dict[str, Served] = {}
        self.turned: dict[str, Served] = {}
        self.lacking: set[str] = set()  # held, but for what executors refused when they started

    def want(self, model: str, state: ModelState | None) -> None:
        """From now on; a pause alone is no reason to lay anything out. None: it is gone."""
        if state is None:
            self.wanted.pop(model, None)
            self.held.pop(model, None)
        elif state.supersedes(self.wanted.get(model)):
            self.wanted[model] = state
            held = self.held.get(model)
            if held is not None and _holds(held.state) == _holds(state):
                self.held[model] = replace(held, state=state)

    def is_newest(self, model: str) -> bool:
        """Whether what is held is what is wanted."""
        held = self.held.get(model)
        return held is not None and held.state is self.wanted.get(model)

    def has_turned(self, state: ModelState) -> bool:
        turned = self.turned.get(state.model)
        return turned is not None and turned.state is state

    def turn(self, served: Served) -> None:
        """It answers; unless a newer state does."""
        turned = self.turned.get(served.state.model)
        if turned is None or not turned.state.supersedes(served.state):
            self.turned[served.state.model] = served

    @property
    def traffic(self) -> Traffic:
        """Of what answers."""
        return _traffic(self.turned.values())

    @property
    def shadows(self) -> Shadows:
        """Of what answers."""
        return _shadows(self.turned.values())

    @property
    def answering(self) -> list[Placement]:
        return [one for served in self.turned.values() for one in served.live]

    def orders(self) -> Orders:
        """As it is to be: what is held, but where something newer answers already."""
        found = [self._newest(model) for model in self.held]
        live = [one for served in found for one in served.live]
        shadowing = [one for served in found for one in served.shadowing]
        needed = (*live, *shadowing)
        spare = tuple(one for served in found for one in served.placed if one not in needed)
        paused = sorted(model for model, state in self.wanted.items() if state.paused)
        return Orders(needed, _traffic(found), _shadows(found), tuple(paused), spare)

    def shadows_of(self, refused: Iterable[Loaded]) -> list[Loaded]:
        """The others may be refused for their sake: they end an executor together."""
        shadows = self.orders().shadows
        return [
            one
            for one in refused
            if one.model in shadows and shadows[one.model].version == one.version
        ]

    def leave_out(self, refused: Loaded) -> None:
        """Its model is served without it, until it is tried again."""
        for known in (self.held, self.turned):
            if refused.model in known:
                known[refused.model] = known[refused.model].without(refused.version)
        self.lacking.add(refused.model)

    def go_on(self, model: str, before: Mapping[str, Served]) -> None:
        """With what was held of a model, if anything was; one that begins anew has no past."""
        self.held.pop(model, None)
        known, wanted = before.get(model), self.wanted.get(model)
        if known is not None and wanted is not None and not known.state.supersedes(wanted):
            self.held[model] = known

    def _newest(self, model: str) -> Served:
        held, turned = self.held[model], self.turned.get(model)
        return turned if turned is not None and turned.state.supersedes(held.state) else held


def versions(state: ModelState) -> list[Wanted]:
    """What is to be held: what answers, what shadows, and what a rollback would bring back."""
    found: dict[str, Wanted] = {one.version: one for one in state.before}
    if state.shadow is not None:
        found[state.shadow.version] = state.shadow
    found |= {one.version: one for one in state.live}
    return list(found.values())


def _holds(state: ModelState) -> tuple[object, ...]:
    return state.live, state.before, state.shadow


def _traffic(found: Iterable[Served]) -> Traffic:
    return {one.state.model: one.state.weights for one in found if one.state.live}


def _shadows(found: Iterable[Served]) -> Shadows:
    return {one.state.model: one.shadow for one in found if one.shadow is not None}
