"""Result records read back by hand; the whole stack's tests read them with independent clients."""

import re

from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.responses import Plain, Response
from chimera.workers.results import Coordinates, Lot, Tails, Told, coordinates
from tests.workers.rig import read_tail

SHARED = Tails("digits", "ab" * 32, "onnx-cpu").batch(Told(7, 11, 22, 33))
WHERE = Coordinates("inference.requests", 3)
NAMES = {
    "ce_specversion": b"1.0",
    "ce_type": b"chimera.inference.result.v1",
    "ce_source": b"/chimera/models/digits",
    "content-type": b"application/json",
    "chimera-request-topic": b"inference.requests",
    "chimera-request-partition": b"3",
    "chimera-model-digest": b"ab" * 32,
    "chimera-tier": b"onnx-cpu",
    "chimera-batch-size": b"7",
    "chimera-queue-us": b"11",
    "chimera-compute-us": b"22",
    "chimera-total-us": b"33",
}


@given(
    st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=8),
    st.binary(max_size=300) | st.just(b"x" * 9_000),
)
def test_plain_tails_tell_value_and_coordinates(offsets: list[int], value: bytes) -> None:
    for offset, tail in zip(
        offsets, Lot(SHARED).plain(WHERE, offsets, Plain.of([value] * len(offsets))), strict=True
    ):
        found, headers = read_tail(tail)
        assert found == value
        assert re.fullmatch(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", headers.pop("ce_time"))
        assert headers == NAMES | {
            "ce_id": b"inference.requests:3:%d:0" % offset,
            "chimera-request-offset": b"%d" % offset,
        }


def test_value_in_pieces_is_the_value_in_one() -> None:
    pieces = Plain((b"{<", b">[", b"]}"), [b"a", b"", b"c" * 200], [b"1,2", b"3" * 9_000, b""])
    assert pieces.values == [
        b"{<a>[1,2]}",
        b"{<>[" + b"3" * 9_000 + b"]}",
        b"{<" + b"c" * 200 + b">[]}",
    ]
    assert pieces.sizes == list(map(len, pieces.values))
    assert pieces[1:].sizes == pieces.sizes[1:]
    offsets = [9, 10, 11]
    together = Lot(SHARED).plain(WHERE, offsets, pieces)
    assert together == Lot(SHARED).plain(WHERE, offsets, Plain.of(pieces.values))
    assert together[1:] == Lot(SHARED).plain(WHERE, offsets[1:], pieces[1:])


def test_one_tail_of_a_plain_response_is_the_plain_tail() -> None:
    lot = Lot(SHARED)
    assert [lot.one(WHERE, 5, Response(b"{}"), None)] == lot.plain(WHERE, [5], Plain.of([b"{}"]))


def test_binary_result_tells_the_length_of_its_head() -> None:
    value, headers = read_tail(Lot(SHARED).one(WHERE, 5, Response(b"{}\0\0", 2), None))
    assert value == b"{}\0\0"
    assert headers["content-type"] == b"application/octet-stream"
    assert headers["inference-header-content-length"] == b"2"


def test_trace_goes_on_and_lengths_of_offsets_mix() -> None:
    lot = Lot(SHARED)
    for offset in (9, 10, 9, 12345):
        _, headers = read_tail(lot.one(WHERE, offset, Response(b"{}"), "00-aa-bb-01"))
        assert headers["traceparent"] == b"00-aa-bb-01"
        assert headers["ce_id"] == b"inference.requests:3:%d:0" % offset


def test_retried_and_redriven_requests_keep_their_own_coordinates() -> None:
    where, offset = coordinates("inference.retry.5s", 3, 99, {"origin": "a:b:2:41"})
    assert (where, offset) == (Coordinates("a:b", 2), 41)
    where, offset = coordinates("t", 3, 99, {"generation": "2"})
    _, headers = read_tail(Lot(SHARED).one(where, offset, Response(b"{}"), None))
    assert headers["ce_id"] == b"t:3:99:2"
