"""Which requests of an answered batch a shadow computes too, and the copy that it gets of them."""

from collections.abc import Iterator

import numpy as np
import pytest

from chimera.schemas.tensors import Array
from chimera.workers.computation import Computation, Kept
from chimera.workers.repertoire import Served
from chimera.workers.shadowing.samples import picked, rows_of, sample
from chimera.workers.splits import mirrored, source
from chimera.workers.suspects import Board
from tests.workers.fakes import served, task
from tests.workers.rig import TOPIC, request, work

FINE, BAD = 0, 1


@pytest.fixture
def computation() -> Iterator[Computation]:
    board = Board.create()
    yield Computation(board, 10_000)
    board.close()


def refuse(rows: Array) -> None:
    if BAD in rows[:, 0]:
        raise ValueError("poison")


def of(*rows: int) -> list[bytes]:
    return [request((row, at)) for at, row in enumerate(rows)]


def test_a_batch_is_kept_only_if_somebody_wants_it(computation: Computation) -> None:
    given = task(served(), work(of(0, 0)))
    assert computation.run([given]).kept == ()
    (kept,) = computation.run([given], keep=True).kept
    assert kept.inputs[0].tolist() == [[0, 0], [0, 1]]
    assert kept.outputs[0].tolist() == [[1], [2]]


def test_requests_answered_with_an_error_are_in_no_sample(computation: Computation) -> None:
    one = served(refuse)
    batch = computation.run([task(one, work(of(0, 0, BAD, 0)))], keep=True)
    found = [sample(kept, "test", picked(kept, 1.0)) for kept in batch.kept]
    assert [row for one in found for row in one.outputs[0].ravel().tolist()] == [1, 2, 4]
    values = [request((0, 1), outputs=[{"name": "z"}]), request((0, 2))]
    (kept,) = computation.run([task(one, work(values))], keep=True).kept
    assert picked(kept, 1.0).tolist() == [1]


def test_share_is_of_the_requests_identities(computation: Computation) -> None:
    one = served()
    tasks = [task(one, work(of(*[0] * 100), lane)) for lane in (1, 2)]
    (kept,) = computation.run(tasks, keep=True).kept
    wanted = [mirrored(source(TOPIC, lane), np.arange(100, dtype="u8"), 0.3) for lane in (1, 2)]
    assert picked(kept, 0.3).tolist() == np.flatnonzero(np.concatenate(wanted)).tolist()
    assert picked(kept, 1.0).tolist() == list(range(200))
    assert set(picked(kept, 0.1)) < set(picked(kept, 0.3))


def test_a_request_that_was_retried_is_who_it_was(computation: Computation) -> None:
    one, share = served(), 0.5
    extras = {at: {"origin": f"{TOPIC}:1:{at + 100}"} for at in range(50)}
    (kept,) = computation.run([task(one, work(of(*[0] * 50), 9, extras=extras))], keep=True).kept
    first = mirrored(source(TOPIC, 1), np.arange(100, 150, dtype="u8"), share)
    assert picked(kept, share).tolist() == np.flatnonzero(first).tolist()


def test_a_sample_is_a_copy_of_whole_requests(computation: Computation) -> None:
    values = [request([(0, at), (0, at + 0.5)]) for at in range(3)]
    (kept,) = computation.run([task(served(), work(values))], keep=True).kept
    assert rows_of(kept).tolist() == [2, 2, 2]
    found = sample(kept, "test", np.array([0, 2]))
    kept.inputs[0][:] = 9
    assert found.inputs[0][:, 1].tolist() == [0, 0.5, 2, 2.5]
    assert found.ends.tolist() == [2, 4]
    assert found.cut(1, 2).inputs[0][:, 1].tolist() == [2, 2.5]
    assert found.size_bytes == 4 * 2 * 4 + 4 * 4


def test_a_model_without_batches_gives_samples_of_one(computation: Computation) -> None:
    one = served(max_batch_size=0)
    batch = computation.run([task(one, work([request([(0, 1), (0, 2)])]))], keep=True)
    (kept,) = batch.kept
    found = sample(kept, "test", picked(kept, 1.0))
    assert (len(found), found.rows, found.inputs[0].shape) == (1, 1, (2, 2))


def test_outputs_that_belong_to_nobody_are_not_compared(computation: Computation) -> None:
    one: Served = served()
    (kept,) = computation.run([task(one, work(of(0, 0)))], keep=True).kept
    short = Kept(kept.tasks, kept.inputs, [kept.outputs[0][:1]], kept.answers)
    assert not len(picked(short, 1.0))
