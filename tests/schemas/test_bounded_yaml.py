"""YAML of strangers: what aliases stand for counts as if it were written out, before any of it is made."""

import tracemalloc

import pytest

from chimera.schemas import bounded_yaml
from chimera.schemas.errors import ConfigurationError

KINDS = {
    "lists": "[{}]",
    "mappings": "{{{}}}",
    "merges": "{{<<: [{}]}}",
}
LEVELS = 6  # a million, should nobody refuse it


def bomb(kind: str) -> str:
    """Each level is ten of the one before."""
    first = "[x, x, x]" if kind == "lists" else "{x: x}"
    lines = [f"a0: &a0 {first}"]
    for level in range(1, LEVELS + 1):
        ten = (f"{f'k{at}: ' if kind == 'mappings' else ''}*a{level - 1}" for at in range(10))
        lines.append(f"a{level}: &a{level} {KINDS[kind].format(', '.join(ten))}")
    return "\n".join(lines)


@pytest.mark.parametrize("kind", KINDS)
def test_bomb_of_aliases_is_refused_before_it_grows(kind: str) -> None:
    text = bomb(kind)
    assert len(text) < 700
    bounded_yaml.load("a: 1")  # what is made once
    tracemalloc.start()
    try:
        with pytest.raises(ConfigurationError, match=r"200,000 values.*aliases") as caught:
            bounded_yaml.load(text)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 200


def test_long_text_that_is_named_often_is_refused() -> None:
    text = f"a: &a {'x' * 60_000}\nb: [{', '.join(['*a'] * 20)}]"
    with pytest.raises(ConfigurationError, match=r"1,048,576 characters.*aliases"):
        bounded_yaml.load(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x" * (bounded_yaml.MAX_CHARACTERS + 1), "characters"),
        (f"[{'1,' * bounded_yaml.MAX_VALUES}]", "values"),
        ("1" + ":59" * 300_000, "characters"),  # of base 60: quadratic
        ("!!int 0x" + "f" * 5_000, "characters"),
    ],
)
def test_more_than_an_order_has_is_refused_without_aliases(text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=f"more than .* {reason}"):
        bounded_yaml.load(text)


def test_integers_mean_what_they_always_did() -> None:
    assert bounded_yaml.load("[1:30, 0x10, -3, 010, 1_000, 0b11]") == [90, 16, -3, 8, 1000, 3]


def test_anchors_aliases_and_merges_mean_what_they_always_did() -> None:
    text = """
    first: &rates {lr: 0.1, betas: &betas [0.9, 0.99]}
    second: {<<: *rates, lr: 0.2}
    third: *betas
    """
    betas = [0.9, 0.99]
    assert bounded_yaml.load(text) == {
        "first": {"lr": 0.1, "betas": betas},
        "second": {"lr": 0.2, "betas": betas},
        "third": betas,
    }


@pytest.mark.parametrize("text", ["a: [", "seed: 2024-13-45", "a: *nobody", "[" * 3_000])
def test_what_is_no_yaml_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        bounded_yaml.load(text)


@pytest.mark.parametrize("text", ["&a [*a, *a]", "&a {x: 1, <<: [*a, *a]}"])
def test_value_inside_of_itself_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="nested too deeply"):
        bounded_yaml.load(text)
