from collections.abc import Iterator

import msgspec
import pytest

from chimera.schemas.errors import REQUEST_ERRORS, Malformed, ModelFailed
from chimera.schemas.responses import Response
from chimera.schemas.work import Failure
from chimera.workers import answers
from chimera.workers.answers import of_batch, refusals, unread
from chimera.workers.computation import Answer, Answers, Batch, Computation
from chimera.workers.suspects import Board
from chimera.workers.tasks import Held
from tests.workers.fakes import served, task
from tests.workers.rig import read_tail, request, work


@pytest.fixture
def computation() -> Iterator[Computation]:
    board = Board.create()
    yield Computation(board, 0)
    board.close()


def no_block(held: Held) -> None:
    raise AssertionError(f"{held} is no block")


def test_each_lane_gets_its_share_with_works_in_order(computation: Computation) -> None:
    one = served(ordering="none")
    tasks = [
        task(one, work([request((0, 1))] * 2, 1, 10), serial=5),
        task(one, work([request((0, 2))], 2, 20), serial=6),
        task(one, work([request((0, 3))], 1, 12), serial=7),
    ]
    started_ns = tasks[0].held.work.entered_ns + 5_000_000
    first, second = of_batch(tasks, computation.run(tasks), started_ns, no_block)
    assert (first.outcomes.lane, first.outcomes.offsets) == (1, [10, 11, 12])
    assert first.parts == [(5, 2), (7, 1)]
    assert (second.outcomes.lane, second.parts) == (2, [(6, 1)])
    story = first.outcomes.batch
    assert (story.model, story.version, story.tier, story.size) == ("hostile", "1", "test", 4)
    assert story.ordering == "none"
    assert story.queue_us == 5_000
    assert (story.is_first, second.outcomes.batch.is_first) == (True, False)
    _, headers = read_tail(first.outcomes.bodies[2])
    assert headers["chimera-request-offset"] == b"12"
    assert headers["chimera-batch-size"] == b"4"
    assert headers["chimera-queue-us"] <= b"5000"


def test_errors_and_records_with_headers_stand_in_their_places() -> None:
    one = served()
    given = work(
        [request((0, 1), id=name) for name in "abc"],
        extras={2: {"traceparent": "00-aa-bb-01", "origin": "first:3:4"}},
    )
    replies: list[Answer] = [Response(b"{}"), ModelFailed("no"), Response(b"{}\0", 2)]
    (answered,) = of_batch([task(one, given)], Batch([replies], 3, 9, one.tiers.first), 0, no_block)
    outcomes = answered.outcomes
    assert outcomes.codes == bytes([0, 1 + REQUEST_ERRORS.index(ModelFailed), 0])
    assert msgspec.json.decode(outcomes.bodies[1], type=Failure) == Failure(
        "hostile", "1", "b", "no"
    )
    _, headers = read_tail(outcomes.bodies[2])
    assert headers["traceparent"] == b"00-aa-bb-01"
    assert headers["ce_id"] == b"first:3:4:0"
    assert headers["chimera-request-topic"] == b"first"
    _, headers = read_tail(outcomes.bodies[0])
    assert "traceparent" not in headers


def test_large_shares_go_out_in_several_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "FRAME_BYTES", 10_000)
    one = served()
    tasks = [task(one, work([request((0, 1))], 1, at), serial=at) for at in range(8)]
    replies: list[Answers] = [[Response(b"x" * 4_000)] for _ in tasks]
    sent = list(
        of_batch(tasks, Batch(replies, 8, 9, tasks[0].route.served.tiers.first), 0, no_block)
    )
    assert len(sent) == 4
    assert [serial for answered in sent for serial, _ in answered.parts] == list(range(8))
    assert all(len(one.outcomes.bodies) == len(one.outcomes.offsets) for one in sent)


def test_large_answers_to_one_work_go_out_in_several_frames(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answers, "FRAME_BYTES", 10_000)
    given = task(served(), work([request((0, 1))] * 7), serial=4)
    sizes = (4_000, 4_000, 20_000, 10, 10, 9_000, 10)
    replies: list[Answer] = [Response(b"x" * size) for size in sizes]
    sent = list(
        of_batch([given], Batch([replies], 7, 9, given.route.served.tiers.first), 0, no_block)
    )
    assert [answered.outcomes.offsets for answered in sent] == [[0, 1], [2], [3, 4], [5, 6]]
    assert [answered.parts for answered in sent] == [[(4, 2)], [(4, 1)], [(4, 2)], [(4, 2)]]


def test_refusals_belong_to_no_batch() -> None:
    given = work([b"{", b"["], start=7)
    error = Malformed("no")
    answered = refusals(Held(3, given), [(1, error, Failure(message="no"))])
    assert answered.outcomes.offsets == [8]
    assert answered.outcomes.codes == b"\1"
    assert answered.parts == [(3, 1)]
    assert answered.outcomes.batch.size == 0


@pytest.mark.parametrize(
    ("value", "head", "expected"),
    [
        (b"{", -1, Failure(message="no")),
        (b'{"id":"i","model_name":"m","inputs":7}', -1, Failure("m", "", "i", "no")),
        (b'{"id":"i"}\0\0', 10, Failure("", "", "i", "no")),
        (b'{"id":7}', -1, Failure(message="no")),
        (b"[" * 100_000, -1, Failure(message="no")),
        (b"\xff", -1, Failure(message="no")),
    ],
)
def test_failure_tells_what_the_bytes_tell(value: bytes, head: int, expected: Failure) -> None:
    assert unread(work([value], heads=[head]), 0, Malformed("no")) == expected


def test_failure_names_the_model_of_the_headers() -> None:
    given = work([b"{"], extras={0: {"model": "m"}})
    assert unread(given, 0, Malformed("no")) == Failure("m", "", None, "no")
