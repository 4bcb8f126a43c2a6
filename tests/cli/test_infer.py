"""`chimera infer` asks a real node; `question` makes a request of what a person gives."""

import json
from pathlib import Path
from typing import Any

import pytest

from chimera.cli.asking import results
from chimera.cli.asking.question import question
from chimera.schemas.errors import ConfigurationError
from chimera.schemas.serving_settings import ServingSettings
from chimera.schemas.settings import Settings
from chimera.workers.models import write_model
from tests.cli.places import MANIFEST, Place, digits_model, image


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    write_model(tmp_path, digits_model(), MANIFEST)
    return Settings(serving=ServingSettings(models_dir=tmp_path))


def asked(settings: Settings, given: Any, version: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        question(settings, "digits", version, json.dumps(given).encode()).value
    )
    return found


def test_question_of_a_bare_row_gets_a_batch_dimension(settings: Settings) -> None:
    body = asked(settings, image(3))
    assert body["model_name"] == "digits"
    assert body["inputs"][0]["shape"] == [1, 64]
    assert body["inputs"][0]["name"] == "image"
    assert body["inputs"][0]["datatype"] == "FP32"


def test_question_of_bare_rows_keeps_their_number(settings: Settings) -> None:
    assert asked(settings, [image(3), image(4)])["inputs"][0]["shape"] == [2, 64]


def test_question_of_a_whole_request_keeps_what_it_says(settings: Settings) -> None:
    given = {"id": "mine", "inputs": [{"name": "x"}], "parameters": {"binary_data_output": True}}
    assert asked(settings, given, "7") == {**given, "model_name": "digits", "model_version": "7"}


@pytest.mark.parametrize(
    ("text", "version", "told"),
    [
        (b"{", None, "not JSON"),
        (b'{"outputs": []}', None, '"inputs"'),
        (b"3", None, "a bare int"),
        (b"[[1, 2], [3]]", None, "differ in length"),
        (b'{"inputs": [], "model_name": "other"}', None, "model_name is 'other'"),
        (b'{"inputs": [], "model_version": "2"}', "1", "model_version is '2'"),
        (b"[1]", "9", "the manifest of digits 9"),
    ],
)
def test_question_that_cannot_be_asked_says_why(
    settings: Settings, text: bytes, version: str | None, told: str
) -> None:
    with pytest.raises(ConfigurationError, match=told):
        question(settings, "digits", version, text)


def test_infer_prints_the_result_as_it_came(served: Place) -> None:
    done = served.run("infer", "digits", "--input", "-", text=json.dumps(image(7)))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["outputs"][0] == {"name": "digit", "datatype": "INT64", "shape": [1], "data": [7]}


def test_infer_shows_binary_outputs_as_numbers(served: Place, tmp_path: Path) -> None:
    tensor = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": image(4)}
    given = {"id": "raw", "inputs": [tensor], "parameters": {"binary_data_output": True}}
    file = tmp_path / "request.json"
    file.write_text(json.dumps(given))
    done = served.run("infer", "digits", "--input", str(file), "--version", "1")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["id"] == "raw"
    assert result["outputs"][0] == {"name": "digit", "datatype": "INT64", "shape": [1], "data": [4]}


def test_infer_exits_1_with_the_code_of_an_error_outcome(served: Place) -> None:
    done = served.run("infer", "nobody", "--input", "-", text='{"inputs": [{}]}')
    assert done.returncode == 1
    assert "schema_invalid" in done.stderr
    assert json.loads(done.stdout)["parameters"] == {"code": "schema_invalid"}


def test_infer_exits_2_when_nobody_answers(place: Place) -> None:
    done = place.run("infer", "digits", "--input", "-", "--timeout", "0.5", text='{"inputs": []}')
    assert done.returncode == 2
    assert "no result within 0.5 s" in done.stderr


def test_outputs_of_json_and_raw_bytes_are_the_same() -> None:
    tensors = [{"name": "y", "datatype": "INT64", "shape": [2], "data": [3, -4]}]
    plain = json.dumps({"outputs": tensors}).encode()
    head = json.dumps(
        {
            "outputs": [
                {
                    "name": "y",
                    "datatype": "INT64",
                    "shape": [2],
                    "parameters": {"binary_data_size": 16},
                },
                {
                    "name": "s",
                    "datatype": "BYTES",
                    "shape": [1],
                    "parameters": {"binary_data_size": 6},
                },
            ]
        }
    ).encode()
    raw = head + (3).to_bytes(8, "little") + (-4).to_bytes(8, "little", signed=True)
    raw += b"\x02\x00\x00\x00\xff\x41"
    assert results.outputs(plain)["y"].tolist() == results.outputs(raw, len(head))["y"].tolist()
    assert results.as_json(raw, len(head))["outputs"][1]["data"] == ["\xffA"]
