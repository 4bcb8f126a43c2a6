"""What is counted is taken once, whole, and adds up however it was counted."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from chimera.workers.watching import tallies
from chimera.workers.watching.latencies import Latencies
from chimera.workers.watching.paces import size_of
from chimera.workers.watching.tallies import Tallies
from chimera.workers.watching.watch import Observation

BATCHES = st.lists(st.tuples(st.integers(1, 500), st.integers(0, 10**7)), max_size=20)


@given(BATCHES)
def test_tallies_count_each_request_with_its_latency(batches: list[tuple[int, int]]) -> None:
    found = Tallies()
    for count, latency_us in batches:
        found.computed("m", "1", count, latency_us)
    taken = found.take().get(("m", "1"), Observation())
    each = [latency_us for count, latency_us in batches for _ in range(count)]
    assert taken.requests == len(each) == len(taken.latencies)
    assert taken.latencies.counts.tolist() == Latencies.of(each).counts.tolist()


def test_tallies_of_many_batches_are_as_those_of_few() -> None:
    found = Tallies()
    for _ in range(2 * tallies.WAITING + 1):
        found.computed("m", "1", 3, 100)
    assert found.take()["m", "1"].requests == 3 * (2 * tallies.WAITING + 1)


def test_tallies_are_taken_once() -> None:
    found = Tallies()
    found.computed("m", "1", 2, 100)
    assert set(found.take()) == {("m", "1")}
    assert found.take() == {}


def test_tallies_keep_versions_and_what_is_said_of_them_apart() -> None:
    found = Tallies()
    found.computed("m", "1", 2, 100)
    found.failed("m", "2")
    found.failed("m", "2", 3)
    found.compared("m", "3", 10, 4)
    found.add("m", "1", Observation(requests=5, errors=1))
    taken = found.take()
    told = {
        version: (one.requests, one.errors, len(one.latencies), one.compared, one.disagreed)
        for (_, version), one in taken.items()
    }
    assert told == {"1": (7, 1, 2, 0, 0), "2": (4, 4, 0, 0, 0), "3": (0, 0, 0, 10, 4)}


@given(BATCHES)
def test_tallies_count_each_batch_with_its_size(batches: list[tuple[int, int]]) -> None:
    found = Tallies()
    for rows, took_us in batches:
        found.worked("m", "1", rows, took_us)
    taken = found.take().get(("m", "1"), Observation())
    assert taken.requests == 0
    told = {size: len(times) for size, times in taken.paces.by_size.items()}
    assert told == Counter(size_of(rows) for rows, _ in batches)


@given(BATCHES, st.integers(0, 9), st.integers(0, 9))
def test_observation_survives_its_way_to_another_process(
    batches: list[tuple[int, int]], compared: int, disagreed: int
) -> None:
    found = Tallies()
    for count, latency_us in batches:
        found.computed("m", "1", count, latency_us)
        found.worked("m", "1", count, latency_us)
    found.compared("m", "1", compared, disagreed)
    taken = found.take()["m", "1"]
    back = Observation.of(taken.seen())
    assert back.seen() == taken.seen()
    assert back.latencies.counts.tolist() == taken.latencies.counts.tolist()
    assert (back.requests, back.compared, back.disagreed) == (taken.requests, compared, disagreed)
