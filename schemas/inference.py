"""Requests of the Open Inference Protocol v2, validated while they are decoded.

A value is JSON, or a JSON head and raw tensors behind it (Triton's binary extension); the head's
length comes from the Kafka header. `decode` reads one request and says exactly what is wrong with
it; `request_batches.py` is faster for many and gives the same answers.
Specification: kserve/open-inference-protocol `inference_rest.md`. `tests/schemas/vectors` holds
requests with their expected tensors or errors, `tests/schemas/test_inference.py` reads them both ways.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from chimera.schemas import claims, request_heads
from chimera.schemas.claims import Claim
from chimera.schemas.errors import Malformed, RequestError, SchemaInvalid
from chimera.schemas.json_numbers import read_json
from chimera.schemas.request_heads import BINARY_SIZE, NO_PARAMETERS, Input, OutputChoice, Scalar
from chimera.schemas.tensors import Array, Layout, Tensor, layout, quoted, read_binary

NO_EXTRA: Mapping[str, str] = MappingProxyType({})


class Request(msgspec.Struct, frozen=True, gc=False):
    """A valid request, its inputs by name.

    `outputs` empty: all of them, each as `binary` says. An input that came as a claim check stands
    in `claims`, and in `inputs` only after `settle`.
    """

    model: str
    version: str | None
    id: str | None
    inputs: dict[str, Tensor]
    outputs: tuple[OutputChoice, ...] = ()
    binary: bool = False
    parameters: Mapping[str, Scalar] = NO_PARAMETERS
    claims: tuple[Claim, ...] = ()


def decode(value: bytes, head: int = -1, extra: Mapping[str, str] = NO_EXTRA) -> Request:
    """Read one request; `head`: bytes of its JSON head, -1: all of it is JSON.

    `extra` may name `model` and `version` from the headers; where the body does too, they agree.

    Raises:
        Malformed: not JSON, or the head or the raw tensors do not fit the value.
        SchemaInvalid: JSON, but no valid request; the message names the field or the input.
    """
    if head == 0:
        raise Malformed("a raw request (head length 0) names no shape and is not taken")
    if head > len(value):
        raise Malformed(f"the head should have {head} bytes, the value has {len(value)}")
    position = len(value) if head < 0 else head
    found = request_heads.read(value[:position])
    model, version = request_heads.model(found, extra)
    outputs, binary = request_heads.outputs(found)
    if not found.inputs:
        raise SchemaInvalid("inputs is empty")
    inputs: dict[str, Tensor] = {}
    claimed: dict[str, Claim] = {}
    for given in found.inputs:
        if given.name in inputs or given.name in claimed:
            raise SchemaInvalid(f"input {quoted(given.name)} is given twice")
        try:
            size = request_heads.binary_size(given)
            tensor = _read_input(given, value, position, size)
        except RequestError as error:
            raise type(error)(f"input {quoted(given.name)}: {error}") from None
        if isinstance(tensor, Claim):
            claimed[given.name] = tensor
        else:
            inputs[given.name] = tensor
        position += size
    if position != len(value):
        raise Malformed(f"{len(value) - position} bytes follow the last tensor")
    parameters = found.parameters or NO_PARAMETERS
    return Request(
        model, version, found.id, inputs, outputs, binary, parameters, tuple(claimed.values())
    )


def settle(request: Request, fetched: Mapping[str, bytes]) -> Request:
    """The request with the data of its claim checks in place; `fetched`: raw bytes by input name.

    Raises:
        Malformed, SchemaInvalid: the bytes are not such a tensor.
    """
    inputs = dict(request.inputs)
    for claim in request.claims:
        try:
            flat = read_binary(claim.layout, fetched[claim.name])
        except RequestError as error:
            raise type(error)(f"input {quoted(claim.name)}: {error}") from None
        inputs[claim.name] = _tensor(claim.name, claim.layout, flat)
    return msgspec.structs.replace(request, inputs=inputs, claims=())


def _read_input(given: Input, value: bytes, position: int, size: int) -> Tensor | Claim:
    wanted = layout(given.datatype, given.shape)
    parameters = given.parameters or NO_PARAMETERS
    data = bytes(given.data)
    sources = [
        data not in (b"", b"null"),
        BINARY_SIZE in parameters,
        claims.is_claim(parameters),
    ]
    if sum(sources) != 1:
        raise SchemaInvalid(
            f"should carry one of data, {BINARY_SIZE} and {claims.URL}, has {sum(sources)}"
        )
    if sources[2]:
        return claims.parse(given.name, wanted, parameters)
    if sources[0]:
        return _tensor(given.name, wanted, read_json(wanted, data))
    if position + size > len(value):
        raise Malformed(f"{BINARY_SIZE} is {size}, {len(value) - position} bytes are left")
    raw = memoryview(value)[position : position + size]
    return _tensor(given.name, wanted, read_binary(wanted, raw))


def _tensor(name: str, wanted: Layout, flat: Array) -> Tensor:
    return Tensor(name, wanted.datatype.name, wanted.shape, flat, 0, wanted.count)
