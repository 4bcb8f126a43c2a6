"""What a run is ordered by: refused where it is unknown, and one hash for one order."""

from pathlib import Path

import msgspec
import pytest

from chimera.schemas.errors import ConfigurationError
from chimera.schemas.training_config import TrainingConfig, hash_config, load, parse

ORDER = """
name: digits
task: multiclass
data:
  sources: [digits.csv]
  schema: {features: ["pixel_*"], target: digit}
model: {definition: "chimera.workers.definitions.mlp:Mlp", method: logits}
loss: {name: cross_entropy}
"""


def test_defaults_are_filled_in() -> None:
    found = parse(ORDER)
    assert found.loop.grad_clip_norm == 1.0
    assert found.optimizer.name == "AdamW"
    assert not found.loop.use_amp


def test_json_and_yaml_order_the_same() -> None:
    found = parse(ORDER)
    again = parse(msgspec.json.encode(found).decode())
    assert again == found
    assert hash_config(again) == hash_config(found)


def test_hash_changes_with_all_that_decides_weights_and_not_with_where_data_lie() -> None:
    found = parse(ORDER)
    assert hash_config(parse(ORDER.replace("digits.csv", "elsewhere.csv"))) == hash_config(found)
    for change in (
        "seed: 1",
        "loop: {epochs: 11}",
        "loop: {drop_last: true}",
        "optimizer: {arguments: {lr: 0.01}}",
    ):
        assert hash_config(parse(ORDER + change)) != hash_config(found)


def test_field_that_came_later_is_not_written_at_its_default() -> None:
    found = parse(ORDER + "loop: {drop_last: false}")
    assert found == parse(ORDER)
    assert b"drop_last" not in msgspec.json.encode(found)
    assert parse(ORDER + "loop: {drop_last: true}").loop.drop_last is True


def test_hash_is_the_known_one() -> None:
    assert hash_config(parse(ORDER)) == (
        "a7a2ec4440713402dbba666e1d4a38aefbadd990a48f223b8418f43cd373e0c3"
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("loop: {epoch: 3}", "unknown field `epoch`"),
        ("loop: {epochs: 0}", r"loop\.epochs"),
        ("seed: -1", "seed"),
        ("name: ../digits", "name"),
        ("task: dream", "task"),
        ("loop: [", "line"),
        ("data: {sources: []}", r"data"),
        ("loop: {epochs: 10000000000000000}", r"<= 2147483647 - at `\$\.loop\.epochs"),
        ("optimizer: {arguments: {lr: .nan}}", r"optimizer\.arguments\.lr: nan is not"),
        ("optimizer: {arguments: {lr: [.inf]}}", r"optimizer\.arguments\.lr\.0: inf is not"),
        ("scheduler: {arguments: {T_max: 9007199254740992}}", r"T_max: 9007199254740992 exceeds"),
        ("scheduler: {arguments: {a: {1: 2}}}", r"scheduler\.arguments\.a: .*must be strings"),
        ("loop: {grad_clip_norm: .inf}", r"loop\.grad_clip_norm: inf is not"),
        ("seed: 2024-13-45", "month must be in"),
        ("seed: !!int ''", "out of range"),
        ("seed: !!bool maybe", "maybe"),
        ("seed: !!timestamp soon", "NoneType"),
        (f"seed: {'[' * 3_000}", "recursion"),
        ("model: {definition: a, arguments: {a: &a [*a]}}", "nested too deeply"),
    ],
)
def test_what_is_no_order_is_refused_by_its_field(change: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        parse(ORDER.replace("name: digits", "") + change if "name" in change else ORDER + change)


@pytest.mark.parametrize("text", ["", "3", "[]", "!!python/object:os.system {}"])
def test_file_that_holds_no_order_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "order.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"order\.yaml"):
        load(path)
    with pytest.raises(ConfigurationError, match=r"missing\.yaml"):
        load(tmp_path / "missing.yaml")


def test_order_is_frozen() -> None:
    found: TrainingConfig = parse(ORDER)
    with pytest.raises(AttributeError):
        found.seed = 3  # type: ignore[misc]  # that is what is tested
