"""A manifest's files and its definition: what must fit together before anything is opened."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.schemas import manifest as manifests
from chimera.schemas.errors import ModelRefused
from chimera.schemas.manifest import File, Manifest, TensorSpec

A, B = "a" * 64, "b" * 64
FILES = {
    "model.safetensors": File(A, 100),
    "samples.safetensors": File(B, 10),
    "labels.json": File(B, 1),
}
FULL = Manifest(
    "digits",
    "1",
    (TensorSpec("x", "FP32", (-1, 64)),),
    (TensorSpec("y", "FP32", (-1, 10)),),
    A,
    files=FILES,
    definition="chimera.cli.digits:Network",
    arguments={"width": 64, "sizes": (1, 2), "name": "x", "bias": True, "rate": 0.5, "none": None},
    samples="samples.safetensors",
    training_run="run-7",
)
ENTRY = {"sha256": B, "size_bytes": 1}


def decoded(**changes: object) -> Manifest:
    fields: dict[str, Any] = json.loads(manifests.encode(FULL)) | changes
    return manifests.decode(json.dumps(fields).encode(), "m")


def files(**more: object) -> dict[str, object]:
    return {**msgspec.to_builtins(FILES), **more}


def test_full_manifest_comes_back() -> None:
    assert manifests.decode(manifests.encode(FULL), "m") == FULL
    assert FULL.source == "model.safetensors"


def test_draft_has_no_digests() -> None:
    said = json.loads(manifests.encode_draft(FULL))
    assert said.keys().isdisjoint({"sha256", "files"})
    assert said["definition"] == FULL.definition


@pytest.mark.parametrize(
    "name",
    [
        "../evil.json",
        "/etc/passwd",
        "a/b.json",
        "a\\b.json",
        "..",
        ".hidden",
        "",
        "-rf",
        "a\nb",
        "a\0b",
        "n" * 129,
        "manifest.json",
        "Manifest.JSON",
        "manifest.sig",
        "c:evil",
        "\u0430.json",
    ],
)
def test_file_whose_name_is_more_than_a_name_is_refused(name: str) -> None:
    with pytest.raises(ModelRefused, match="no plain file name"):
        decoded(files=files(**{name: ENTRY}))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"files": files(**{"LABELS.json": ENTRY})}, "differ in case"),
        ({"files": {"labels.json": ENTRY}}, "model.safetensors, the source"),
        ({"definition": ""}, "model.onnx, the source"),
        ({"sha256": B}, "digest"),
        ({"samples": "other.safetensors"}, "not among the files"),
        ({"samples": "labels.json"}, "no .safetensors"),
        ({"samples": "../samples.safetensors"}, "not among the files"),
        ({"definition": "os.system"}, "package.module:factory"),
        ({"definition": "os:system('true')"}, "package.module:factory"),
        ({"definition": "a:b", "files": {}, "samples": ""}, "needs its weights"),
        ({"arguments": {"not a name": 1}}, "no name of an argument"),
        ({"files": files(**{f"f{at}": ENTRY for at in range(64)})}, "files"),
        ({"files": files(x={"sha256": f"{B}\n", "size_bytes": 1})}, "sha256"),
        ({"files": files(x={"sha256": B.upper(), "size_bytes": 1})}, "sha256"),
        ({"files": files(x={"sha256": B, "size_bytes": -1})}, "size_bytes"),
        ({"files": files(x={"sha256": B})}, "size_bytes"),
    ],
)
def test_manifest_whose_parts_do_not_fit_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ModelRefused, match=reason):
        decoded(**changes)


def test_arguments_without_a_definition_are_refused() -> None:
    graph = {"model.onnx": {"sha256": A, "size_bytes": 1}}
    with pytest.raises(ModelRefused, match="arguments"):
        decoded(definition="", samples="", files=graph)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(Manifest.__struct_fields__), JSON, max_size=4))
def test_manifest_with_any_fields_is_read_or_refused(changes: dict[str, Any]) -> None:
    try:
        found = decoded(**changes)
    except ModelRefused:
        return
    assert manifests.decode(manifests.encode(found), "m") == found
    assert all(manifests.is_file_name(name) for name in found.files)


@given(st.data())
def test_damaged_manifest_is_read_or_refused(data: st.DataObject) -> None:
    raw = bytearray(manifests.encode(FULL))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = manifests.decode(bytes(raw), "m")
    except ModelRefused as error:
        assert str(error).startswith("m: ")
    else:
        assert manifests.decode(manifests.encode(found), "m") == found
