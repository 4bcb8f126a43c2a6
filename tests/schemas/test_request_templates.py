import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chimera.schemas.inference import Request
from chimera.schemas.request_batches import decode_many
from chimera.schemas.request_templates import CAPACITY, MAX_CREDIT, Template, Templates, cut
from tests.schemas.samples import Wire, answer, told

HEADS = [
    '{"id":"%s","model_name":"m","inputs":[{"name":"x","shape":[3],"datatype":"FP32","data":[%s]}]}',
    '{"model_name":"m","id": "%s","inputs":[{"name":"x","data": [%s],"shape":[3],"datatype":"INT8"}]}',
    '{"id":"%s","model_name":"m","inputs":[{"name":"x","shape":[1,3],"datatype":"FP64","data":[[%s]]}]}',
    '{"id":"%s","model_name":"m","inputs":[{"name":"x","shape":[3],"datatype":"FP32","data":[%s]}],"parameters":{"data":"[1]"}}',
    '{"id":"%s","model_name":"m","inputs":[{"name":"x","shape":[3,1],"datatype":"FP32","data":[[%s]]}]}',
    '{"id":"%s","model_name":"m","inputs":[{"name":"x","shape":[3],"datatype":"FP32","parameters":{"binary_data_size":0},"data":[%s]}]}',
    '{"id":"%s","e":{"data":[%s]},"model_name":"m","inputs":[{"name":"x","shape":[3],"datatype":"FP32","dat\\u0061":[1,2,3]}]}',
    '{"id":"%s","i\\u0064":"a","model_name":"m","inputs":[{"name":"x","shape":[3],"datatype":"FP32","data":[%s]}]}',
    '{"parameters":{"id":"%s"},"model_name":"m","inputs":[{"name":"x","shape":[3],"datatype":"FP32","data":[%s]}]}',
    '{"id":"%s","model_name":"m","e":{"data":[%s]},"inputs":[{"name":"x","shape":[3],"datatype":"FP32","data":[1,2,3]}]}',
    '{"id":"%s","id":"a","model_name":"m","inputs":[{"name":"x","shape":[3],"datatype":"FP32","data":[%s],"data":[4,5,6]}]}',
    '{"id":"%s","model_name":"m","inputs":[{"name":"x","shape":[3],"datatype":"UINT64","data":[%s]},{"name":"y","shape":[1],"datatype":"FP32","data":[7]}]}',
]  # fmt: skip
TOKENS = ["1", "-2.5", "0", "1e5", "1e39", "300", "-1", " ", ",", ",", ",", "[", "]", '"', "{", "}",
          "true", "null", "NaN", "\\", ":", "\n", "9007199254740993", "18446744073709551616", "é",
          '"a"', '],"data":[', '"}]}', "2,3", "\x00", "1,2,3"]  # fmt: skip
IDS = [
    "a",
    "",
    "0",
    "1",
    '"',
    "\\",
    '\\"',
    "\n",
    "é",
    "\u2028",
    "\x7f",
    '","id":"',
    '"data":[',
    "🙂",
]

PAD = " " * 7  # long enough for three numbers, else no template would be asked
numbers = (
    st.just("1,2,3")
    | st.just("0.5, -1, 1e2")
    | st.lists(st.sampled_from(TOKENS), max_size=7).map(lambda them: "".join(them) + PAD)
)
names = st.lists(st.sampled_from(IDS), max_size=3).map("".join)


@given(st.sampled_from(HEADS), st.lists(st.tuples(names, numbers), min_size=1, max_size=7))
@example(HEADS[0], [("a", '"' + PAD), ("b", '"' + PAD), ("c", "1,2,3")])
@example(HEADS[0], [("a", '"' + PAD), ("b", '",2,3' + PAD), ("c", "1,2,3")])
@example(HEADS[0], [("a", "1,[2,3" + PAD), ("b", "1,2,3"), ("c", "1,2,3")])
@example(HEADS[0], [("a", '"],[' + PAD), ("b", '"' + PAD), ("c", "1,2,3")])
@example(HEADS[0], [("a", '{"b":1' + PAD), ("b", "2}" + PAD), ("c", "1,2,3")])
@example(HEADS[2], [("a", "1,2,3],[1,2,3"), ("b", "1,2,3")])
@settings(max_examples=800)
def test_template_is_read_in_one_way_only(head: str, holes: list[tuple[str, str]]) -> None:
    wires = [Wire((head % ("k", "1,2,3")).encode())]
    wires += [Wire((head % hole).encode()) for hole in holes]
    found = decode_many([it.value for it in wires], [-1] * len(wires))
    assert [told(it) for it in found] == [told(answer(it)) for it in wires]


@given(st.lists(st.tuples(names, st.binary(max_size=14)), min_size=1, max_size=5))
def test_template_of_raw_tensors_is_read_in_one_way_only(holes: list[tuple[str, bytes]]) -> None:
    head = (
        '{"id":"%s","model_name":"m","inputs":['
        '{"name":"x","shape":[2],"datatype":"FP32","parameters":{"binary_data_size":8}},'
        '{"name":"y","shape":[3],"datatype":"BOOL","parameters":{"binary_data_size":3}}]}'
    )
    holes = [("k", bytes(11)), *holes, ("l", bytes(10) + b"\1"), ("m", bytes(10) + b"\2")]
    wires = [Wire((head % name).encode() + raw, len((head % name).encode())) for name, raw in holes]
    found = decode_many([it.value for it in wires], [it.head for it in wires])
    assert [told(it) for it in found] == [told(answer(it)) for it in wires]


def test_template_knows_headers_apart() -> None:
    value = b'{"id":"1","inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]}'
    extras = {0: {"model": "a"}, 1: {"model": "b", "version": "2"}, 3: {"tenant": "t"}}
    found = decode_many([value] * 4, [-1] * 4, extras)
    assert [it.model if isinstance(it, Request) else it.code for it in found] == [
        "a",
        "b",
        "schema_invalid",
        "schema_invalid",
    ]


def template(value: str) -> Template | None:
    found = cut(value.encode(), -1)
    return None if found is None else Templates().get(found[0], {})


@pytest.mark.parametrize("head", HEADS[:3])
def test_template_is_found_for_the_plain_forms(head: str) -> None:
    assert template(head % ("k", "1,2,3")) is not None


@pytest.mark.parametrize("head", HEADS[3:])
def test_template_is_not_found_where_the_holes_are_elsewhere(head: str) -> None:
    assert template(head % ("k", "1,2,3")) is None


@pytest.mark.parametrize(
    "value",
    [
        HEADS[2] % ("k", "1,2,3],[4,5,6"),
        HEADS[2] % ("k", "1,2,3], [4,5,6"),
        (HEADS[0] % ("k", "1,2,3")).replace('{"id":"k",', "{")[:-1] + ',"id":"k"}',
        HEADS[0] % ('k\\"', "1,2,3"),
        "",
        '{"data":[1,2',
    ],
)
def test_template_is_not_found_where_more_would_vary(value: str) -> None:
    assert template(value) is None


def test_template_is_not_tried_for_ever_new_keys() -> None:
    templates = Templates()
    learnt = 0
    for at in range(3 * MAX_CREDIT):
        found = cut((HEADS[0].replace('"m"', f'"m{at}"') % ("k", "1,2,3")).encode(), -1)
        assert found is not None
        learnt += templates.get(found[0], {}) is not None
    assert learnt == MAX_CREDIT
    templates.earn()
    found = cut((HEADS[1] % ("k", "1,2,3")).encode(), -1)
    assert found is not None
    assert templates.get(found[0], {}) is not None


def test_every_batch_lets_one_more_key_be_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    earned: list[int] = []
    monkeypatch.setattr(Templates, "earn", lambda _: earned.append(1))  # pyright: ignore
    decode_many([(HEADS[0] % ("k", "1,2,3")).encode()] * 3, [-1] * 3)
    assert len(earned) == 1


def test_templates_kept_are_bounded() -> None:
    templates = Templates()
    for at in range(3 * CAPACITY):
        templates.earn()
        found = cut((HEADS[0].replace('"m"', f'"m{at}"') % ("k", "1,2,3")).encode(), -1)
        assert found is not None
        assert templates.get(found[0], {}) is not None
        assert len(templates) <= CAPACITY


def test_template_of_a_long_head_is_not_cut() -> None:
    request = json.loads(HEADS[0] % ("k", "1,2,3"))
    request["parameters"] = {"a": "x" * 5_000}
    assert cut(json.dumps(request).encode(), -1) is None
