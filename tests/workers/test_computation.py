import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from chimera.schemas.errors import ModelFailed, OutOfMemory, RequestError
from chimera.schemas.tensors import Array
from chimera.workers.backends.protocol import DeviceLost
from chimera.workers.computation import Answer, Computation, one_by_one
from chimera.workers.dispatching.dispatch import Dispatcher, Policy
from chimera.workers.dispatching.tier_order import Measured
from chimera.workers.dispatching.tiering import Tier, Tiers
from chimera.workers.results import Tails
from chimera.workers.suspects import Board
from tests.workers.fakes import served, task
from tests.workers.rig import request, work

FINE, BAD = 0, 1


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board.create()
    yield made
    made.close()


class First:
    """Returns the first row, however many there are."""

    tier = "test"

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        return [inputs[0][:1]]


def kind(answer: Answer) -> str:
    return answer.code if isinstance(answer, RequestError) else "ok"


def of(*rows: int) -> list[bytes]:
    return [request((row, at)) for at, row in enumerate(rows)]


def test_tasks_are_computed_together_and_answered_apart(board: Board) -> None:
    sizes: list[int] = []
    one = served(lambda rows: sizes.append(len(rows)))
    batch = Computation(board, 0).run([task(one, work(of(0, 0), 1)), task(one, work(of(0), 2))])
    assert sizes == [3]
    assert batch.rows == 3
    assert [[kind(answer) for answer in one_by_one(part)] for part in batch.answers] == [
        ["ok", "ok"],
        ["ok"],
    ]
    assert board.suspects() == {}


def test_board_names_the_batch_while_it_runs(board: Board) -> None:
    seen: list[dict[int, list[int]]] = []
    one = served(lambda _: seen.append(board.suspects()))
    Computation(board, 0).run([task(one, work(of(0, 0), 1, 50)), task(one, work(of(0), 2, 9))])
    assert seen == [{1: [50, 51], 2: [9]}]


@pytest.mark.parametrize("bad", [(3,), (0, 7), (6, 7), range(8)])
def test_culprits_alone_get_the_error(board: Board, bad: Iterator[int]) -> None:
    def refuse(rows: Array) -> None:
        if BAD in rows[:, 0]:
            raise ValueError("poison")

    culprits = set(bad)
    given = [BAD if at in culprits else FINE for at in range(8)]
    one = served(refuse)
    batch = Computation(board, 0).run(
        [task(one, work(of(*given[:5]), 1)), task(one, work(of(*given[5:]), 2))]
    )
    answers = [answer for part in batch.answers for answer in one_by_one(part)]
    assert {at for at, answer in enumerate(answers) if kind(answer) != "ok"} == culprits
    assert all(isinstance(answers[at], ModelFailed) for at in culprits)


def test_board_narrows_while_a_batch_is_halved(board: Board) -> None:
    seen: list[list[int]] = []

    def refuse(rows: Array) -> None:
        seen.append(board.suspects()[1])
        if BAD in rows[:, 0]:
            raise ValueError

    Computation(board, 0).run([task(served(refuse), work(of(0, 0, BAD, 0)))])
    assert seen == [[0, 1, 2, 3], [0, 1], [2, 3], [2], [3]]


def test_memory_that_is_short_halves_the_batch(board: Board) -> None:
    sizes: list[int] = []

    def fill(rows: Array) -> None:
        if len(rows) > 3:
            raise OutOfMemory("no room")
        sizes.append(len(rows))

    batch = Computation(board, 0).run([task(served(fill), work(of(*[0] * 10)))])
    assert all(kind(answer) == "ok" for answer in one_by_one(batch.answers[0]))
    assert sum(sizes) == 10


def test_memory_that_is_short_for_one_is_its_outcome(board: Board) -> None:
    def fill(rows: Array) -> None:
        if BAD in rows[:, 0]:
            raise MemoryError

    batch = Computation(board, 0).run([task(served(fill), work(of(0, BAD, 0)))])
    assert [kind(answer) for answer in one_by_one(batch.answers[0])] == [
        "ok",
        "out_of_memory",
        "ok",
    ]


def test_lost_device_leaves_its_mark(board: Board) -> None:
    def lose(_: Array) -> None:
        raise DeviceLost("illegal address")

    with pytest.raises(DeviceLost):
        Computation(board, 0).run([task(served(lose), work(of(0, 0)))])
    assert board.suspects() == {1: [0, 1]}


def test_large_result_is_the_outcome_of_its_request(board: Board) -> None:
    wide = request([(0, at) for at in range(100)])
    one = served()
    narrow = Computation(board, 400).run([task(one, work([request((0, 1))]))])
    assert kind(one_by_one(narrow.answers[0])[0]) == "ok"
    batch = Computation(board, 400).run([task(one, work([wide]))])
    assert kind(one_by_one(batch.answers[0])[0]) == "too_large"


def test_unknown_output_is_the_outcome_of_its_request(board: Board) -> None:
    values = [request((0, 1), outputs=[{"name": "z"}]), request((0, 2))]
    batch = Computation(board, 0).run([task(served(), work(values))])
    assert [kind(answer) for answer in one_by_one(batch.answers[0])] == ["schema_invalid", "ok"]


def test_model_that_returns_other_rows_has_failed(board: Board) -> None:
    one = served()
    one = replace(one, tiers=Tiers([one.tiers.first._replace(backend=First())]))
    batch = Computation(board, 0).run([task(one, work(of(0, 0)))])
    found = one_by_one(batch.answers[0])[0]
    assert isinstance(found, RequestError)
    assert found.code == "model_error"


def test_batch_whose_deadlines_pass_while_a_tier_fails_is_asked_of_no_other(board: Board) -> None:
    called: list[str] = []
    until_ms = time.time_ns() // 1_000_000 + 500

    class Slow:
        def __init__(self, tier: str) -> None:
            self.tier = tier

        def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
            called.append(self.tier)
            time.sleep(max(0, until_ms / 1000 + 0.01 - time.time()))
            raise ValueError("it is broken")

    measured = [Measured(name, True, {1: 1.0}) for name in ("onnx-cpu", "torch-cpu")]
    tiers = [Tier(Slow(one.tier), Tails("hostile", "0" * 64, one.tier)) for one in measured]
    one = replace(served(), tiers=Tiers(tiers, Dispatcher("m/1", measured, Policy())))
    given = work(of(0, 0), deadlines=[until_ms, until_ms - 10])
    batch = Computation(board, 0).run([task(one, given)])
    assert set(called) == {"onnx-cpu"}
    assert [kind(answer) for answer in one_by_one(batch.answers[0])] == ["deadline_exceeded"] * 2
