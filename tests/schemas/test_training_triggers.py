"""Triggers: golden files of every version, and all that is wrong with what is none."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from chimera.schemas.errors import RequestError, SchemaInvalid
from chimera.schemas.training_config import parse
from chimera.schemas.training_triggers import (
    TRIGGER_VERSION,
    TRIGGERS,
    CancelRun,
    ConfigReference,
    RemovePolicy,
    ResumeRun,
    ServedRows,
    SetPolicy,
    TrainModel,
    Trigger,
    decode_trigger,
    encode_trigger,
    firing_id,
    reasons,
    run_id_of,
)
from tests.schemas.test_training_config import ORDER

GOLDEN = Path(__file__).with_name("golden")
WHO: Any = {"tenant": "acme", "actor": "ada"}
REFERENCE = ConfigReference(url="s3://runs/digits.yaml", sha256="0f" * 32)
WRITTEN: dict[int, list[Trigger]] = {
    1: [
        TrainModel(trigger_id="t-1", config=parse(ORDER), priority=1, promote=True, **WHO),
        TrainModel(trigger_id="t-2", reference=REFERENCE, reason="drift", **WHO),
        CancelRun(trigger_id="t-3", run_id="digits-0f", **WHO),
        ResumeRun(trigger_id="t-4", run_id="digits-0f", **WHO),
        SetPolicy(
            trigger_id="t-5", policy="nightly", cause="schedule", interval_s=21_600,
            reference=REFERENCE, **WHO,
        ),
        SetPolicy(
            trigger_id="t-7", policy="on-drift", cause="drift", interval_s=3_600,
            reference=REFERENCE, served=ServedRows(url="file:///samples/model=digits"), **WHO,
        ),
        RemovePolicy(trigger_id="t-6", policy="nightly", **WHO),
    ]
}  # fmt: skip


def test_triggers_of_this_version_are_written_as_in_their_golden_file() -> None:
    golden = GOLDEN / f"training_triggers_v{TRIGGER_VERSION}.jsonl"
    lines = [encode_trigger(trigger) + b"\n" for trigger in WRITTEN[TRIGGER_VERSION]]
    assert b"".join(lines) == golden.read_bytes()


@pytest.mark.parametrize("version", range(1, TRIGGER_VERSION + 1))
def test_triggers_of_every_golden_file_are_read(version: int) -> None:
    lines = (GOLDEN / f"training_triggers_v{version}.jsonl").read_bytes().splitlines()
    assert [decode_trigger(line) for line in lines] == WRITTEN[version]


def test_every_trigger_stands_in_the_golden_file() -> None:
    assert {type(trigger) for trigger in WRITTEN[TRIGGER_VERSION]} == set(TRIGGERS)


def refused(value: bytes) -> tuple[str, ...]:
    with pytest.raises(RequestError) as caught:
        decode_trigger(value)
    return reasons(value, caught.value)


def test_all_that_is_wrong_with_a_trigger_is_told() -> None:
    order: Any = msgspec.to_builtins(WRITTEN[1][0])
    order |= {"trigger_id": "/", "priority": 11, "reason": "whim"}
    order["config"]["loop"] |= {"epochs": 0, "speed": 3}
    order["config"]["data"].pop("sources")
    del order["actor"]
    found = refused(msgspec.json.encode(order))
    assert [one.split(":")[0] for one in found] == [
        "$.trigger_id",
        "$.actor",
        "$.config.data.sources",
        "$.config.loop.epochs",
        "$.config.loop.speed",
        "$.priority",
        "$.reason",
    ]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{", "training trigger: "),
        (b"[]", "training trigger: "),
        (b'{"v":1,"action":"dream"}', "'dream'"),
        (b'{"v":99,"action":"cancel"}', "version 99"),
        (b'{"v":1,"action":"train","trigger_id":"a","tenant":"b","actor":"c"}', "either config"),
    ],
)
def test_value_that_is_no_trigger_has_its_reason(value: bytes, reason: str) -> None:
    assert any(reason in one for one in refused(value))


def test_trigger_with_two_configurations_is_refused() -> None:
    fields = {**msgspec.to_builtins(WRITTEN[1][0]), "reference": msgspec.to_builtins(REFERENCE)}
    with pytest.raises(SchemaInvalid, match="either config or reference"):
        decode_trigger(msgspec.json.encode(fields))


def test_served_rows_are_looked_at_on_drift_alone() -> None:
    fields: dict[str, Any] = {**msgspec.to_builtins(WRITTEN[1][5]), "cause": "schedule"}
    with pytest.raises(SchemaInvalid, match="on drift, not by the clock"):
        decode_trigger(msgspec.json.encode(fields))


def test_run_id_is_one_triggers_alone_and_leaves_room_for_its_commands() -> None:
    assert run_id_of("acme", "t-1", "digits") == run_id_of("acme", "t-1", "digits")
    ids = {
        run_id_of(*one)
        for one in (("acme", "t-1", "d"), ("other", "t-1", "d"), ("acme", "t-2", "d"))
    }
    assert len(ids) == 3
    assert len(f"{run_id_of('acme', 't-1', 'd' * 128)}.9999.register") <= 128


def test_id_of_a_firing_is_one_settings_and_occasions_alone() -> None:
    one = ("acme", "t-5", "p" * 128, "2026-11-22T00:00:00.000+00:00")
    assert firing_id(*one) == firing_id(*one)
    others = [("other", *one[1:]), (one[0], "t-6", *one[2:]), (*one[:3], "digits-0f")]
    assert len({firing_id(*each) for each in (one, *others)}) == 4
    assert len(firing_id(*one)) <= 128
