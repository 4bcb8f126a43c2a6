"""What an executor offers to its shadows, keeps for them, drops, and counts."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from chimera.schemas.errors import RequestError
from chimera.schemas.placements import Shadow, Shadows
from chimera.schemas.tensors import Array
from chimera.workers.computation import Computation
from chimera.workers.dispatching.deadlines import NO_DEADLINES, Deadlines
from chimera.workers.dispatching.tiering import NotNow, Tiers
from chimera.workers.repertoire import Repertoire, Served
from chimera.workers.reports import ShadowSeen
from chimera.workers.shadowing.counts import Counts
from chimera.workers.shadowing.mirroring import Mirroring
from chimera.workers.shadowing.policy import Policy
from chimera.workers.suspects import Board, Doing
from chimera.workers.watching.tallies import Tallies
from tests.workers.fakes import served, task
from tests.workers.rig import request, work

SHADOWS: Shadows = {"hostile": Shadow("2")}


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board.create()
    yield made
    made.close()


class Stage:
    """A version that serves and one that shadows it."""

    def __init__(
        self, board: Board, *, before: Callable[[Array], None] = lambda _: None, rows: int = 1_000
    ) -> None:
        self.one, self.other = served(), served(before, version="2")
        self.repertoire = Repertoire([self.one, self.other])
        self.repertoire.direct({"hostile": {"1": 1.0}})
        self.tallies = Tallies()
        self.counts = Counts(self.tallies)
        self.mirroring = Mirroring(board, Policy(backlog_rows=rows), self.counts)
        self._computation = Computation(board, 0)

    def serve(self, count: int, of: Served | None = None) -> None:
        one = of or self.one
        given = [task(one, work([request((0, at)) for at in range(count)]))]
        batch = self._computation.run(given, keep=one in self.mirroring)
        if batch.kept:
            self.mirroring.offer(batch.kept, batch.tier.name)

    def shadow(self) -> ShadowSeen:
        while self.mirroring:
            self.mirroring.compute()
        (seen,) = self.counts.take()
        return seen


def test_only_what_others_answer_is_shadowed(board: Board) -> None:
    stage = Stage(board)
    assert stage.one not in stage.mirroring
    stage.mirroring.follow(stage.repertoire, SHADOWS)
    assert stage.one in stage.mirroring
    assert stage.other not in stage.mirroring
    stage.repertoire.direct({"hostile": {"2": 1.0}})
    stage.mirroring.follow(stage.repertoire)
    assert stage.one not in stage.mirroring and stage.other not in stage.mirroring


def test_a_shadow_that_is_not_loaded_shadows_nothing(board: Board) -> None:
    stage = Stage(board)
    stage.mirroring.follow(stage.repertoire, {"hostile": Shadow("9"), "nobody": Shadow("1")})
    assert stage.one not in stage.mirroring


def test_answers_are_computed_again_and_counted(board: Board) -> None:
    stage = Stage(board)
    stage.mirroring.follow(stage.repertoire, SHADOWS)
    stage.serve(10)
    seen = stage.shadow()
    assert (seen.model, seen.version) == ("hostile", "2")
    assert (seen.compared, seen.disagreed, seen.errors, seen.dropped) == (10, 0, 0, 0)
    assert seen.rows == 10
    ((version, observation),) = stage.tallies.take().items()
    assert version == ("hostile", "2")
    assert (observation.compared, observation.disagreed) == (10, 0)
    assert (observation.requests, observation.errors) == (0, 0), "it answered nobody"


def test_the_board_says_that_a_shadow_is_at_work_and_names_no_request(board: Board) -> None:
    shown: list[tuple[Doing, str, dict[int, list[int]]]] = []
    stage = Stage(
        board,
        before=lambda _: shown.append((board.look().doing, board.shadowing(), board.suspects())),
    )
    stage.mirroring.follow(stage.repertoire, SHADOWS)
    stage.serve(1)
    stage.shadow()
    assert shown == [(Doing.SHADOWING, "hostile/2", {})]
    assert board.look().doing is Doing.WAITING


def test_what_does_not_fit_is_dropped_and_counted(board: Board) -> None:
    stage = Stage(board, rows=25)
    stage.mirroring.follow(stage.repertoire, SHADOWS)
    for _ in range(4):
        stage.serve(10)
    seen = stage.shadow()
    assert (seen.compared, seen.dropped) == (25, 15)


def test_a_batch_is_as_large_as_the_pace_allows(board: Board) -> None:
    sizes: list[int] = []
    stage = Stage(board, before=lambda rows: sizes.append(len(rows)))
    stage.mirroring.follow(stage.repertoire, SHADOWS)
    stage.serve(100)
    stage.shadow()
    assert sum(sizes) == 100
    assert sizes[0] == 4
    assert all(later <= 2 * earlier for earlier, later in pairwise(sizes))


def test_an_order_that_ends_a_shadow_empties_its_backlog(board: Board) -> None:
    stage = Stage(board)
    stage.mirroring.follow(stage.repertoire, SHADOWS)
    stage.serve(10)
    stage.mirroring.follow(stage.repertoire, {})
    assert not stage.mirroring
    stage.serve(10)
    assert not stage.mirroring


class Closed(Tiers):
    def compute(
        self, rows: int, attempt: object, deadlines: Deadlines = NO_DEADLINES
    ) -> type[RequestError] | None:
        raise NotNow(0)


def test_while_no_tier_takes_a_call_requests_are_dropped(board: Board) -> None:
    stage = Stage(board)
    out = replace(stage.other, tiers=Closed([stage.other.tiers.first]))
    repertoire = Repertoire([stage.one, out])
    repertoire.direct({"hostile": {"1": 1.0}})
    stage.mirroring.follow(repertoire, SHADOWS)
    stage.serve(3)
    seen = stage.shadow()
    assert (seen.compared, seen.dropped) == (0, 3)


def test_each_version_that_answers_is_shadowed(board: Board) -> None:
    one, two, three = (served(version=name) for name in "123")
    repertoire = Repertoire([one, two, three])
    repertoire.direct({"hostile": {"1": 0.5, "3": 0.5}})
    stage = Stage(board)
    stage.mirroring.follow(repertoire, SHADOWS)
    assert [each in stage.mirroring for each in (one, two, three)] == [True, False, True]
    stage.serve(5, one)
    stage.serve(7, three)
    assert stage.shadow().compared == 12
    assert np.isclose(stage.mirroring.batch_s, 0.002)
