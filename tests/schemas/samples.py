"""Requests for the codec's tests: the conformance vectors, and random ones."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st

from chimera.schemas.errors import RequestError
from chimera.schemas.inference import Request, decode
from chimera.schemas.tensors import DATATYPES, Array, to_raw

VECTORS = Path(__file__).with_name("vectors")
INTEGERS = [name for name, it in DATATYPES.items() if it.kind in ("int", "uint")]
FLOATS = ["FP16", "FP32", "FP64"]
WIDTHS: dict[str, Literal[16, 32]] = {"FP16": 16, "FP32": 32}
JSON_TYPES = [*INTEGERS, *FLOATS, "BOOL", "BYTES"]


@dataclass(frozen=True)
class Wire:
    """A request as it arrives."""

    value: bytes
    head: int = -1
    extra: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Vector:
    """One case of a file in `vectors/`: what to decode, and `expect` or `error` and `names`."""

    name: str
    wire: Wire
    case: dict[str, Any]


def vectors(file: str) -> list[Vector]:
    """The cases of a file, each in the forms that common clients write."""
    found: list[Vector] = []
    for case in json.loads((VECTORS / file).read_text())["cases"]:
        forms = {"as given": case["text"]} if "text" in case else _forms(case)
        for form, text in forms.items():
            value = text.encode("utf-8", "surrogatepass")
            head = -1
            if "raw" in case:
                head = case.get("head_length", len(value))
                value += bytes.fromhex(case["raw"])
            wire = Wire(value, head, case.get("extra", {}))
            found.append(Vector(f"{case['name']} ({form})", wire, case))
    return found


def _forms(case: dict[str, Any]) -> dict[str, str]:
    request = case["json"] if "json" in case else case["head"]
    return {
        "compact": json.dumps(request, separators=(",", ":"), ensure_ascii=False),
        "spaced": json.dumps(request),
        "indented": json.dumps(request, indent=1),
    }


def answer(wire: Wire) -> Request | RequestError:
    """What the exact reader makes of it."""
    try:
        return decode(wire.value, wire.head, wire.extra)
    except RequestError as error:
        return error


def told(found: Request | RequestError) -> object:
    """Everything an answer says, in a form that `==` compares to the bit."""
    if isinstance(found, RequestError):
        return type(found), str(found)
    tensors = {
        name: (tensor.name, tensor.datatype, tensor.shape, tensor.array.dtype, bits(tensor.array))
        for name, tensor in found.inputs.items()
    }
    return (
        (found.model, found.version, found.id, found.outputs, found.binary),
        (dict(found.parameters), found.claims, tensors),
    )


def bits(array: Array) -> object:
    return array.tolist() if array.dtype == object else array.tobytes()


def arrays(datatype: str, shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
    """Any finite values of a datatype, the limits included."""
    known = DATATYPES[datatype]
    elements: st.SearchStrategy[Any]
    if known.kind == "bytes":
        elements = st.text(st.characters(exclude_categories=["Cs"]), max_size=5).map(str.encode)
    elif known.kind == "bool":
        elements = st.booleans()
    elif known.kind == "float":
        width: Literal[16, 32, 64] = WIDTHS.get(datatype, 64)
        elements = st.floats(allow_nan=False, allow_infinity=False, width=width)
        if datatype == "BF16":
            elements = st.integers(0, 0x7F7F).map(
                lambda half: float(np.array([half << 16], "<u4").view("<f4")[0])
            )
    else:
        limits = np.iinfo(known.dtype)
        elements = st.integers(int(limits.min), int(limits.max))
    count = int(np.prod(shape, dtype=int))

    def build(values: list[Any]) -> Array:
        flat = np.empty(count, known.dtype)
        flat[:] = values
        return flat.reshape(shape)

    return st.lists(elements, min_size=count, max_size=count).map(build)


shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple[int, ...]) | st.tuples(
    st.just(1), st.integers(1, 12)
)


@dataclass(frozen=True)
class Made:
    """A valid request with the tensors it was made of."""

    wire: Wire
    arrays: dict[str, Array]
    datatypes: dict[str, str]


@st.composite
def made(draw: st.DrawFn, binary: bool | None = None) -> Made:
    """A valid request: any datatypes and shapes, flat or nested JSON or raw, compact or spaced."""
    names = draw(
        st.lists(st.sampled_from(["x", "y", "z", '"', "ü"]), min_size=1, max_size=3, unique=True)
    )
    inputs: list[dict[str, Any]] = []
    raw: list[bytes] = []
    found: dict[str, Array] = {}
    datatypes: dict[str, str] = {}
    for name in names:
        as_raw = draw(st.booleans()) if binary is None else binary
        datatype = draw(st.sampled_from([*JSON_TYPES, "BF16"] if as_raw else JSON_TYPES))
        array = draw(arrays(datatype, draw(shapes)))
        given: dict[str, Any] = {"name": name, "shape": array.shape, "datatype": datatype}
        if as_raw:
            raw.append(to_raw(DATATYPES[datatype], array))
            given["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            nested = array if draw(st.booleans()) or not array.shape else array.reshape(-1)
            given["data"] = _plain(nested) if nested.shape else [_plain(nested)]
        inputs.append(given)
        found[name], datatypes[name] = array, datatype
    request: dict[str, Any] = {"model_name": "m", "inputs": inputs}
    if draw(st.booleans()):
        request = {
            "id": draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=4)),
            **request,
        }
    if draw(st.booleans()):
        request["parameters"] = {"a": draw(st.integers() | st.booleans() | st.text("ab"))}
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " : ")]))
    ascii_only = draw(st.booleans())
    head = json.dumps(request, separators=separators, ensure_ascii=ascii_only).encode()
    wire = Wire(head + b"".join(raw), len(head) if raw else -1)
    return Made(wire, found, datatypes)


def _plain(array: Array) -> Any:
    return _text(array.tolist())


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(it) for it in value]  # pyright: ignore[reportUnknownVariableType]
    return value.decode() if isinstance(value, bytes) else value


@st.composite
def broken(draw: st.DrawFn) -> Wire:
    """A valid request after some accident: cut, spliced, a bit or a token changed, a wrong head."""
    wire = draw(made()).wire
    value, head = wire.value, wire.head
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(value)))
        match draw(st.integers(0, 5)):
            case 0:
                value = value[:at]
            case 1:
                value = value[:at] + draw(st.binary(max_size=3)) + value[at:]
            case 2:
                value = value[:at] + value[at + draw(st.integers(1, 5)) :]
            case 3:
                old, new = draw(st.sampled_from(ACCIDENTS))
                value = value.replace(old, new, draw(st.integers(1, 2)))
            case 4:
                head = draw(st.integers(-1, len(value) + 2))
            case _:
                value = value[: max(0, at - 1)] + bytes([draw(st.integers(0, 255))]) + value[at:]
    return Wire(value, head)


ACCIDENTS = [
    (b"[", b"[["), (b"]", b""), (b"[", b""), (b"]", b"]]"), (b",", b""), (b",", b",,"), (b":", b""),
    (b"0", b"true"), (b"1", b"null"), (b"1", b'"1"'), (b"1", b"NaN"), (b"1", b"1e999"),
    (b"1", b"-1"), (b"1", b"1.5"), (b"1", b"99999999999999999999"), (b"2", b"2000000000"),
    (b'"', b""), (b'"', b"'"), (b'"', b'\\"'), (b"{", b"["), (b"}", b""),
    (b"data", b"date"), (b"FP32", b"INT8"), (b"INT8", b"BYTES"), (b"shape", b"name"),
    (b'"data"', b'"id"'), (b'"x"', b'"y"'), (b"model_name", b"id"), (b"inputs", b"outputs"),
]  # fmt: skip
