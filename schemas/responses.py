"""Responses of the Open Inference Protocol v2, written for a whole batch at once.

A batch's outputs become JSON in one pass each, cut into rows; a response is then a few constant
pieces around its id and its rows. FP32 and FP16 are printed so that they read back to the same
bits. JSON has no NaN and no infinity: they become null, which numpy reads back as NaN; who needs to
tell them apart asks for binary data. BF16, and BYTES that are no text, have no JSON form at all: a
request that did not ask for binary data is answered `schema_invalid`.
Specification: kserve/open-inference-protocol `inference_rest.md` and Triton's binary extension.
`tests/schemas/test_responses.py` reads everything back.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import orjson

from chimera.schemas.errors import ModelFailed, RequestError, SchemaInvalid, TooLarge
from chimera.schemas.inference import Request
from chimera.schemas.request_heads import BINARY_SIZE, NO_PARAMETERS, OutputChoice, Scalar
from chimera.schemas.tensors import DATATYPES, Array, as_bytes, quoted, to_raw


class Output(msgspec.Struct, frozen=True, gc=False):
    """One output of a model: the rows of all requests of a batch, one request after the other.

    `array` has the numpy type of `DATATYPES[datatype]`, or elements of bytes or str for BYTES.
    """

    name: str
    datatype: str
    array: Array


class Computed(msgspec.Struct, frozen=True, gc=False):
    """What a model made of a batch."""

    model: str
    version: str
    outputs: tuple[Output, ...]
    parameters: Mapping[str, Scalar] = NO_PARAMETERS


class Response(NamedTuple):
    """A result's value; `head`: bytes of its JSON before raw tensors, -1: all of it is JSON."""

    value: bytes
    head: int = -1


def encode(computed: Computed, request: Request, name: str, *, limit_bytes: int = 0) -> Response:
    """The response `name` (its id) to a request computed alone: the outputs are all its own.

    Raises:
        SchemaInvalid: it asks for an output that there is not, or that has no JSON form.
        TooLarge: the value is over the limit (0: none).
    """
    return _Writer(computed, None).write(request, name, range(1), limit_bytes)


def encode_many(
    computed: Computed,
    requests: Sequence[Request],
    names: Sequence[str],
    rows: Sequence[int],
    *,
    limit_bytes: int = 0,
) -> list[Response | RequestError]:
    """Responses to a batch in its order, each what `encode` would return or raise.

    `names`: their ids; `rows`: how many rows of each output belong to each request. An output with
    another number of rows than the batch is a `ModelFailed` for each that wants it.
    """
    writer = _Writer(computed, sum(rows))
    answers: list[Response | RequestError] = []
    start = 0
    for request, name, count in zip(requests, names, rows, strict=True):
        own = range(start, start + count)
        try:
            answers.append(writer.write(request, name, own, limit_bytes))
        except RequestError as error:
            answers.append(error)
        start += count
    return answers


def encode_error(model: str, name: str, error: RequestError) -> bytes:
    """The value of an outcome that is an error; an empty `model`: its name was not readable."""
    fields: dict[str, object] = {"model_name": model} if model else {}
    fields |= {"id": name, "error": str(error), "parameters": {"code": error.code}}
    return orjson.dumps(fields)


class _Column:
    """One output in one form: what each row puts into a response."""

    __slots__ = ("binary", "datatype", "name", "rows", "separator", "shape", "unprintable")

    def __init__(self, output: Output, array: Array, shape: tuple[int, ...], binary: bool) -> None:
        """`array`: [rows, elements of a row]; `shape`: of one row, or of the whole if empty."""
        self.name, self.shape, self.binary = output.name, shape, binary
        self.datatype = DATATYPES[output.datatype]
        self.unprintable: set[int] = set()
        self.separator = b"" if binary or not array.shape[1] else b","
        if binary:
            self.rows = [to_raw(self.datatype, row) for row in array]
        elif self.datatype.kind == "bytes":
            self.rows = [self._text(at, row) for at, row in enumerate(array)]
        else:
            text = orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)
            self.rows = text[2:-2].split(b"],[")

    def _text(self, at: int, row: Array) -> bytes:
        try:
            return orjson.dumps([as_bytes(element).decode() for element in row])[1:-1]
        except UnicodeError:
            self.unprintable.add(at)
            return b""

    def opening(self, rows: int | None) -> bytes:
        """What stands before the rows: of a batch's request with `rows` rows, or of the whole."""
        shape = self.shape if rows is None else (rows, *self.shape)
        fields = {"name": self.name, "datatype": self.datatype.name, "shape": shape}
        tail = b',"parameters":{"%s":' % BINARY_SIZE.encode() if self.binary else b',"data":['
        return orjson.dumps(fields)[:-1] + tail


class _Plan(NamedTuple):
    """What all requests share that want the same outputs in the same form and number of rows."""

    columns: tuple[_Column, ...]
    pieces: tuple[bytes, ...]  # before the first column, between, and after the last
    binary: bool
    unprintable: frozenset[int]  # rows


class _Writer:
    """Writes the responses of one batch; `rows` None: one request that owns everything."""

    def __init__(self, computed: Computed, rows: int | None) -> None:
        self._outputs = {output.name: output for output in computed.outputs}
        self._rows = rows
        self._columns: dict[tuple[str, bool], _Column] = {}
        self._plans: dict[tuple[tuple[OutputChoice, ...], bool, int], _Plan] = {}
        head = {"model_name": computed.model, "model_version": computed.version}
        self._start = orjson.dumps(head)[:-1] + b',"id":'
        parameters = {"parameters": dict(computed.parameters)} if computed.parameters else {}
        self._outputs_start = b"," + orjson.dumps({**parameters, "outputs": []})[1:-2]

    def write(self, request: Request, name: str, own: range, limit_bytes: int) -> Response:
        key = (request.outputs, request.binary, len(own))
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._plan(*key)
        if plan.unprintable and not plan.unprintable.isdisjoint(own):
            raise SchemaInvalid("an output of BYTES is no text: ask for binary_data")
        response = _fill(plan, self._start, orjson.dumps(name), own)
        if 0 < limit_bytes < len(response.value):
            raise TooLarge(
                f"the result has {len(response.value)} bytes, the limit is {limit_bytes}"
            )
        return response

    def _plan(self, choices: tuple[OutputChoice, ...], binary: bool, rows: int) -> _Plan:
        wanted = choices or [OutputChoice(name, binary) for name in self._outputs]
        columns = tuple(self._column(choice) for choice in wanted)
        pieces: list[bytes] = []
        before = self._outputs_start
        for column in columns:
            pieces.append(before + column.opening(None if self._rows is None else rows))
            before = b"}}," if column.binary else b"]},"
        pieces.append(before[:-1] + b"]}" if columns else before + b"]}")
        unprintable = frozenset[int]().union(*(column.unprintable for column in columns))
        return _Plan(columns, tuple(pieces), any(c.binary for c in columns), unprintable)

    def _column(self, choice: OutputChoice) -> _Column:
        column = self._columns.get((choice.name, choice.binary))
        if column is not None:
            return column
        output = self._outputs.get(choice.name)
        if output is None:
            raise SchemaInvalid(f"there is no output {quoted(choice.name)}")
        if output.datatype == "BF16" and not choice.binary:
            raise SchemaInvalid(f"output {quoted(choice.name)} is BF16: ask for binary_data")
        array, shape = output.array, output.array.shape
        if self._rows is not None:
            if not shape or shape[0] != self._rows:
                raise ModelFailed(
                    f"output {quoted(output.name)} has the shape {list(shape)},"
                    f" the batch has {self._rows} rows"
                )
            shape = shape[1:]
        rows = 1 if self._rows is None else self._rows
        array = array.reshape((rows, math.prod(shape)))
        column = self._columns[choice.name, choice.binary] = _Column(
            output, array, shape, choice.binary
        )
        return column


def _fill(plan: _Plan, start: bytes, name: bytes, own: range) -> Response:
    parts: list[bytes] = [start, name]
    raw: list[bytes] = []
    for piece, column in zip(plan.pieces, plan.columns, strict=False):
        rows = column.rows
        own_rows = (
            rows[own.start] if len(own) == 1 else column.separator.join(rows[own.start : own.stop])
        )
        parts.append(piece)
        if column.binary:
            parts.append(b"%d" % len(own_rows))
            raw.append(own_rows)
        else:
            parts.append(own_rows)
    parts.append(plan.pieces[-1])
    if not plan.binary:
        return Response(b"".join(parts))
    head = b"".join(parts)
    return Response(b"".join((head, *raw)), len(head))
