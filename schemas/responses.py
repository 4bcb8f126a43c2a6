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
import sys
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


class Plain:
    """Responses of one row each, all JSON, in pieces: they differ in their ids and rows alone."""

    __slots__ = ("around", "ids", "rows", "sizes")

    def __init__(
        self,
        around: tuple[bytes, bytes, bytes],
        ids: Sequence[bytes],
        rows: Sequence[bytes],
        sizes: Sequence[int] | None = None,
    ) -> None:
        """`around`: what stands before the ids, between them and the rows, and behind those.

        `sizes`: of the values, where somebody knows them; nobody has to join them for it.
        """
        self.around, self.ids, self.rows = around, ids, rows
        if sizes is None:
            common = sum(map(len, around))
            sizes = [common + len(name) + len(row) for name, row in zip(ids, rows, strict=True)]
        self.sizes = sizes

    @classmethod
    def of(cls, values: Sequence[bytes]) -> "Plain":
        """Values that are there already."""
        return cls((b"", b"", b""), values, [b""] * len(values))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, part: slice) -> "Plain":
        return Plain(self.around, self.ids[part], self.rows[part], self.sizes[part])

    @property
    def values(self) -> list[bytes]:
        (start, before, after), join = self.around, b"".join
        return [
            join((start, name, before, row, after))
            for name, row in zip(self.ids, self.rows, strict=True)
        ]


def encode(computed: Computed, request: Request, name: str, *, limit_bytes: int = 0) -> Response:
    """The response `name` (its id) to a request computed alone: the outputs are all its own.

    Raises:
        SchemaInvalid: it asks for an output that there is not, or that has no JSON form.
        TooLarge: the value is over the limit (0: none).
    """
    return _Writer(computed, None, limit_bytes).write(request, name, 0, 1)


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
    writer = _Writer(computed, sum(rows), limit_bytes)
    answers: list[Response | RequestError] = []
    start = 0
    for request, name, count in zip(requests, names, rows, strict=True):
        try:
            answers.append(writer.write(request, name, start, count))
        except RequestError as error:
            answers.append(error)
        start += count
    return answers


def encode_plain(computed: Computed, ids: Sequence[bytes], *, limit_bytes: int = 0) -> Plain | None:
    """Responses to requests of one row that want all outputs as JSON.

    `ids` need no escape in JSON. None: `encode_many` has the answers, some of which are errors, or
    more than one output makes them up.
    """
    writer = _Writer(computed, len(ids), limit_bytes)
    try:
        return writer.write_plain(ids)
    except RequestError:
        return None


def encode_error(model: str, name: str, error: RequestError) -> bytes:
    """The value of an outcome that is an error; an empty `model`: its name was not readable."""
    return orjson.dumps(
        {
            "model_name": model,
            "id": name,
            "error": str(error),
            "parameters": {"code": error.code},
        }
    )


class _Column:
    """One output in one form: what each row puts into a response."""

    __slots__ = ("binary", "datatype", "name", "rows", "separator", "shape", "unprintable")

    def __init__(self, output: Output, array: Array, shape: tuple[int, ...], binary: bool) -> None:
        """`array`: [rows, elements of a row]; `shape`: of one row, or of the whole if empty."""
        self.name, self.shape, self.binary = output.name, shape, binary
        self.datatype = DATATYPES[output.datatype]
        self.unprintable: set[int] = set()
        self.separator = b"" if binary or not array.shape[1] else b","
        if self.datatype.kind == "bytes":
            write = self._raw if binary else self._text
            self.rows = [write(at, row) for at, row in enumerate(array)]
        elif binary:
            raw, size = to_raw(self.datatype, array), array.shape[1] * self.datatype.size
            self.rows = [raw[at * size : (at + 1) * size] for at in range(len(array))]
        else:
            text = orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)
            self.rows = text[2:-2].split(b"],[")

    def _raw(self, _at: int, row: Array) -> bytes:
        return to_raw(self.datatype, row)

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


class _Plan:
    """What all requests share that want the same outputs in the same form and number of rows."""

    __slots__ = ("binary", "columns", "pieces", "simple", "unprintable")

    def __init__(self, columns: Sequence[_Column], before: bytes, rows: int | None) -> None:
        """`before`: all between the id and the first output; `rows` None: one owns the whole."""
        self.columns = columns
        self.binary = any(column.binary for column in columns)
        self.unprintable = {at for column in columns for at in column.unprintable}
        self.pieces: list[bytes] = []  # before each column, and after the last
        for column in columns:
            self.pieces.append(before + column.opening(rows))
            before = b"}}," if column.binary else b"]},"
        self.pieces.append((before[:-1] if columns else before) + b"]}")
        single = len(columns) == 1 and rows in (1, None) and not self.binary
        self.simple = None if self.unprintable or not single else columns[0].rows

    def fill(self, start: bytes, name: bytes, own: slice) -> Response:
        """The response `name` with its rows of each column."""
        head, raw = [start, name], list[bytes]()
        for piece, column in zip(self.pieces, self.columns, strict=False):
            rows = column.separator.join(column.rows[own])
            if column.binary:
                raw.append(rows)
                rows = b"%d" % len(rows)
            head += (piece, rows)
        head.append(self.pieces[-1])
        if not self.binary:
            return Response(b"".join(head))
        text = b"".join(head)
        return Response(b"".join((text, *raw)), len(text))


class _Writer:
    """Writes the responses of one batch; `rows` None: one request that owns everything."""

    def __init__(self, computed: Computed, rows: int | None, limit_bytes: int) -> None:
        self._outputs = {output.name: output for output in computed.outputs}
        self._rows = rows
        self._limit_bytes = limit_bytes or sys.maxsize
        self._columns: dict[OutputChoice, _Column] = {}
        self._plans: dict[tuple[tuple[OutputChoice, ...], bool, int], _Plan] = {}
        head = {"model_name": computed.model, "model_version": computed.version}
        self._start = orjson.dumps(head)[:-1] + b',"id":'
        parameters = {"parameters": dict(computed.parameters)} if computed.parameters else {}
        self._outputs_start = b"," + orjson.dumps({**parameters, "outputs": []})[1:-2]

    def write(self, request: Request, name: str, start: int, count: int) -> Response:
        """The response to a request that owns `count` rows from `start` on; errors as `encode`."""
        key = (request.outputs, request.binary, count)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._plan(*key)
        text = orjson.dumps(name)
        if plan.simple is not None:
            before, after = plan.pieces
            response = Response(b"".join((self._start, text, before, plan.simple[start], after)))
        elif plan.unprintable.isdisjoint(range(start, start + count)):
            response = plan.fill(self._start, text, slice(start, start + count))
        else:
            raise SchemaInvalid("an output of BYTES is no text: ask for binary_data")
        if len(response[0]) > self._limit_bytes:
            raise TooLarge(
                f"the result has {len(response[0])} bytes, the limit is {self._limit_bytes}"
            )
        return response

    def write_plain(self, ids: Sequence[bytes]) -> Plain | None:
        """Responses of one row each; None: they are not simple, or one is over the limit."""
        plan = self._plan((), False, 1)
        if plan.simple is None:
            return None
        before, after = plan.pieces
        found = Plain((self._start + b'"', b'"' + before, after), ids, plan.simple)
        return found if max(found.sizes, default=0) <= self._limit_bytes else None

    def _plan(self, choices: tuple[OutputChoice, ...], binary: bool, count: int) -> _Plan:
        wanted = choices or [OutputChoice(name, binary) for name in self._outputs]
        columns = [self._column(choice) for choice in wanted]
        return _Plan(columns, self._outputs_start, None if self._rows is None else count)

    def _column(self, choice: OutputChoice) -> _Column:
        column = self._columns.get(choice)
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
        column = self._columns[choice] = _Column(output, array, shape, choice.binary)
        return column
