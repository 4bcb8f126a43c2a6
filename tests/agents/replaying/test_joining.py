"""Requests and outcomes joined, dealt at random and in pieces; what waits is bounded."""

from hypothesis import given
from hypothesis import strategies as st

from chimera.agents.replaying.joining import Joining, Pair
from chimera.schemas.outcomes import Outcome
from tests.agents.lanes import Kafka

END = 60


def outcome(offset: int) -> Outcome:
    return Outcome("", b"%d" % offset)


def joined(pairs: list[Pair]) -> dict[int, Outcome]:
    found = {pair.request.offset: pair.outcome for pair in pairs}
    assert len(found) == len(pairs)
    return found


@given(
    ours=st.sets(st.integers(0, END - 1)),
    answered=st.lists(st.integers(0, END + 20), max_size=200),
    letters=st.sets(st.integers(0, END - 1)),
    pieces=st.lists(st.integers(1, 9), min_size=1),
)
def test_each_request_gets_its_first_outcome_or_its_letter(
    ours: set[int], answered: list[int], letters: set[int], pieces: list[int]
) -> None:
    """Outcomes in any order, some twice, some of nobody; requests in order."""
    joining, pairs, read, said = Joining(), list[Pair](), 0, 0
    joining.add_letters((offset, "shed") for offset in letters)
    turn = 0
    while read < END or said < len(answered):
        size = pieces[turn % len(pieces)]
        turn += 1
        if read < END and (joining.wants_requests or said >= len(answered)):
            piece = [Kafka(offset) for offset in range(read, min(read + size, END))]
            read = min(read + size, END)
            pairs += joining.add_requests([one for one in piece if one.offset in ours], read)
        else:
            some = answered[said : said + size]
            said += size
            pairs += joining.add_outcomes([(one, outcome(one)) for one in some], END)
    pairs += joining.finish()
    found = joined(pairs)
    late = {one for one in ours if one in answered}
    assert found.keys() <= ours
    for offset, one in found.items():
        assert one == outcome(offset) or (one.code == "shed" and offset in letters)
    assert joining.unanswered == len(ours) - len(found)
    assert late | (letters & ours) == found.keys()


def test_oldest_request_is_given_up_for_a_new_one() -> None:
    joining = Joining(max_waiting_bytes=100)
    requests = [Kafka(offset, b"x" * 40) for offset in range(4)]
    joining.add_letters([(0, "too_large")])
    assert joined(joining.add_requests(requests, 4))[0].code == "too_large"
    assert joining.unanswered == 1
    assert joined(joining.add_outcomes([(1, outcome(1)), (2, outcome(2))], 4)) == {2: outcome(2)}
    assert joining.finish() == [] and joining.unanswered == 2


def test_outcomes_past_the_last_request_wanted_are_let_go() -> None:
    joining = Joining()
    assert joining.add_outcomes([(9, outcome(9)), (4, outcome(4))], 5) == []
    assert joining.wants_requests
    assert joined(joining.add_requests([Kafka(4)], 5)) == {4: outcome(4)}


def test_no_more_than_a_piece_waits_where_outcomes_come_in_order() -> None:
    joining, read, said, most, found = Joining(), 0, 0, 0, list[Pair]()
    while read < 1_000 or said < 1_000:
        if read < 1_000 and joining.wants_requests:
            found += joining.add_requests(map(Kafka, range(read, read + 50)), read + 50)
            read += 50
        else:
            piece = range(said, min(said + 70, 1_000))
            found += joining.add_outcomes([(one, outcome(one)) for one in piece], 1_000)
            said += 70
        most = max(most, len(joining))
    assert (len(found), most <= 50) == (1_000, True)
