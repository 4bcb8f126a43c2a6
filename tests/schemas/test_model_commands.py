from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas.errors import Malformed, SchemaInvalid
from chimera.schemas.model_commands import (
    COMMAND_VERSION,
    COMMANDS,
    Command,
    CompileModel,
    DeployModel,
    PauseModel,
    PromoteModel,
    RegisterModel,
    ResumeModel,
    RollBackModel,
    WatchPolicy,
    decode_command,
    encode_command,
)

GOLDEN = Path(__file__).with_name("golden")
WHO: Any = {"tenant": "acme", "model": "digits", "actor": "ada"}
WATCH = WatchPolicy(
    window_s=60, min_requests=100, max_error_rate=0.02, max_p99_ratio=None, max_disagreement=0.1
)
WRITTEN: dict[int, list[Command]] = {
    1: [
        RegisterModel(
            command_id="c-1",
            version="7",
            source="file:///models/digits/7",
            manifest_sha256="0f" * 32,
            **WHO,
        ),
        CompileModel(command_id="c-2", version="7", tiers=("onnx-cpu", "torch-cpu"), **WHO),
        DeployModel(command_id="c-3", version="7", weight=0.1, watch=WATCH, **WHO),
        DeployModel(command_id="c-4", version="8", shadow_share=0.25, **WHO),
        PromoteModel(command_id="c-5", version="7", reason="passed its replay", **WHO),
        RollBackModel(command_id="c-6", reason="too slow", **WHO),
        RollBackModel(command_id="c-7", version="6", **WHO),
        PauseModel(command_id="c-8", **WHO),
        ResumeModel(command_id="c-9", **WHO),
    ]
}
"""What each version's golden file holds, a record a line, as this release understands it."""


def test_commands_of_this_version_are_written_as_in_their_golden_file() -> None:
    golden = GOLDEN / f"model_commands_v{COMMAND_VERSION}.jsonl"
    lines = [encode_command(command) + b"\n" for command in WRITTEN[COMMAND_VERSION]]
    assert b"".join(lines) == golden.read_bytes()


@pytest.mark.parametrize("version", range(1, COMMAND_VERSION + 1))
def test_commands_of_every_golden_file_are_read_or_refused(version: int) -> None:
    lines = (GOLDEN / f"model_commands_v{version}.jsonl").read_bytes().splitlines()
    if version < COMMAND_VERSION - 1:
        for line in lines:
            with pytest.raises(SchemaInvalid, match="version"):
                decode_command(line)
    else:
        assert [decode_command(line) for line in lines] == WRITTEN[version]


def test_every_command_stands_in_the_golden_file() -> None:
    assert {type(command) for command in WRITTEN[COMMAND_VERSION]} == set(COMMANDS)


def test_command_with_unknown_fields_is_read() -> None:
    value = b'{"action":"pause","v":1,"command_id":"c","tenant":"t","model":"m","actor":"a","x":1}'
    assert decode_command(value) == PauseModel(command_id="c", tenant="t", model="m", actor="a")


@given(st.floats(0.001, 1e6), st.text(max_size=50), st.floats(0, 1))
def test_command_survives_a_round_trip(weight: float, reason: str, rate: float) -> None:
    policy = WatchPolicy(max_error_rate=rate)
    command = DeployModel(
        command_id="c", version="1", weight=weight, reason=reason, watch=policy, **WHO
    )
    assert decode_command(encode_command(command)) == command


def changed(**fields: Any) -> bytes:
    deploy = {"action": "deploy", "v": 1, "command_id": "c", "version": "7", **WHO}
    fields = deploy | fields
    return msgspec.json.encode({name: it for name, it in fields.items() if it is not msgspec.UNSET})


def test_command_as_the_following_cases_change_it_is_read() -> None:
    assert decode_command(changed()) == DeployModel(command_id="c", version="7", **WHO)


@pytest.mark.parametrize(
    ("value", "error", "names"),
    [
        (b"", Malformed, "model command"),
        (b'{"v":1,"action":"pause"', Malformed, "model command"),
        (b'{"a":' * 50_000, Malformed, "model command"),
        (b"[]", SchemaInvalid, "object"),
        (changed(v=msgspec.UNSET), SchemaInvalid, "`v`"),
        (changed(v=2), SchemaInvalid, "version 2"),
        (changed(action="destroy"), SchemaInvalid, "destroy"),
        (changed(action=msgspec.UNSET), SchemaInvalid, "action"),
        (changed(command_id=""), SchemaInvalid, "command_id"),
        (changed(tenant="a/b"), SchemaInvalid, "tenant"),
        (changed(model="digits\n"), SchemaInvalid, "model"),
        (changed(actor=msgspec.UNSET), SchemaInvalid, "actor"),
        (changed(version="../7"), SchemaInvalid, "version"),
        (changed(weight=0), SchemaInvalid, "weight"),
        (changed(weight=-1), SchemaInvalid, "weight"),
        (changed(shadow_share=1.5), SchemaInvalid, "shadow_share"),
        (changed(watch={"max_error_rate": 2}), SchemaInvalid, "max_error_rate"),
        (changed(watch={"min_requests": -1}), SchemaInvalid, "min_requests"),
        (changed(reason="x" * 5_000), SchemaInvalid, "reason"),
        (changed(action="register", source="s", manifest_sha256="0"), SchemaInvalid, "sha256"),
    ],
)
def test_command_that_is_none_is_refused(value: bytes, error: type[Exception], names: str) -> None:
    with pytest.raises(error, match=names):
        decode_command(value)
