"""The JSON head of a request: its fields with their types, and the rules that bind several of them.

For a request that is all JSON the head is the whole value. Unknown fields and unknown parameters are
ignored, as the protocol's extensions need; null stands for an optional field that is missing.
Specification: kserve/open-inference-protocol `inference_rest.md`, Triton's binary extension for
`binary_data_size`, `binary_data` and `binary_data_output`. `tests/schemas/test_inference.py`.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from chimera.schemas.errors import Malformed, SchemaInvalid
from chimera.schemas.tensors import quoted

Scalar = bool | int | float | str

BINARY_SIZE, BINARY_DATA, BINARY_OUTPUT = "binary_data_size", "binary_data", "binary_data_output"
MAX_NAME_BYTES = 255  # of a model's name and version: they become folders and labels

NO_PARAMETERS: Mapping[str, Scalar] = MappingProxyType({})


class Input(msgspec.Struct, gc=False):
    name: str
    shape: tuple[int, ...]
    datatype: str
    data: msgspec.Raw = msgspec.Raw()
    parameters: dict[str, Scalar] | None = None


class Output(msgspec.Struct, gc=False):
    name: str
    parameters: dict[str, Scalar] | None = None


class Head(msgspec.Struct, gc=False):
    inputs: list[Input]
    id: str | None = None
    model_name: str | None = None
    model_version: str | None = None
    parameters: dict[str, Scalar] | None = None
    outputs: list[Output] | None = None


class OutputChoice(msgspec.Struct, frozen=True, gc=False):
    """An output that the caller asked for by name, and whether it wants raw bytes."""

    name: str
    binary: bool


class Named(msgspec.Struct, frozen=True, gc=False):
    """What a request calls itself and its model, as far as its bytes tell."""

    id: str | None = None
    model_name: str = ""
    model_version: str = ""


DECODER = msgspec.json.Decoder(Head)
_NAMED = msgspec.json.Decoder(Named)
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read(head: bytes) -> Head:
    """Decode a head.

    Raises:
        Malformed: not JSON.
        SchemaInvalid: a field is missing or of the wrong type; the message has its path.
    """
    try:
        return DECODER.decode(head)
    except msgspec.ValidationError as error:
        raise SchemaInvalid(str(error)) from None
    except UNREADABLE as error:
        raise Malformed(f"the request is not JSON: {error}") from None


def identify(value: bytes, head: int = -1) -> Named:
    """The names in a request's bytes, which may be anything.

    `head`: bytes of its JSON head, -1: all of it is JSON.
    """
    try:
        return _NAMED.decode(value if head < 0 else value[:head])
    except UNREADABLE:
        return Named()


def model(head: Head, extra: Mapping[str, str]) -> tuple[str, str | None]:
    """Name and version of the model, from the body or from the headers (`extra`).

    Raises:
        SchemaInvalid: neither names a model, or they disagree.
    """
    name = _agreed("model_name", head.model_name, extra.get("model"))
    version = _agreed("model_version", head.model_version, extra.get("version"))
    if not name:
        raise SchemaInvalid("model_name is missing, and no header names the model")
    return name, version


def outputs(head: Head) -> tuple[tuple[OutputChoice, ...], bool]:
    """The outputs asked for (empty: all), and whether outputs are binary unless they say otherwise.

    Raises:
        SchemaInvalid: an output stands twice, or a flag is not a boolean.
    """
    binary = _flag(head.parameters, BINARY_OUTPUT, False)
    if not head.outputs:
        return (), binary
    choices = {
        output.name: OutputChoice(output.name, _flag(output.parameters, BINARY_DATA, binary))
        for output in head.outputs
    }
    if len(choices) != len(head.outputs):
        raise SchemaInvalid("outputs names an output twice")
    return tuple(choices.values()), binary


def binary_size(given: Input) -> int:
    """Bytes of the raw tensor behind the head; 0 for an input that has none.

    Raises:
        SchemaInvalid: it is no number of bytes.
    """
    size = (given.parameters or NO_PARAMETERS).get(BINARY_SIZE, 0)
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise SchemaInvalid(f"{BINARY_SIZE} should be a number of bytes")
    return size


def _agreed(field: str, body: str | None, header: str | None) -> str | None:
    if body is None:
        return header
    if header is not None and header != body:
        raise SchemaInvalid(f"{field} is {quoted(body)}, the header says {quoted(header)}")
    if not body or len(body.encode()) > MAX_NAME_BYTES:
        raise SchemaInvalid(f"{field} should have 1 to {MAX_NAME_BYTES} bytes")
    return body


def _flag(parameters: Mapping[str, Scalar] | None, name: str, default: bool) -> bool:
    found = default if parameters is None else parameters.get(name, default)
    if not isinstance(found, bool):
        raise SchemaInvalid(f"parameter {name} should be true or false")
    return found
