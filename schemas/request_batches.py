"""Requests decoded together: the executor's hot loop.

    a template's request  ->  cut apart, no parser for its head   (request_templates.py)
    any other plain one   ->  its head parsed                     (request_heads.py)
    both                  ->  their tensors read in one pass for each input, datatype and shape
    the rest, and failures -> decoded alone, exactly              (inference.py)

So the answers are `inference.decode`'s for any bytes at all, and tensors of neighbours lie side by
side for `tensors.stack`. A 1.3 kB request with 64 numbers takes 2.7 us instead of 8.5
(`python -m benchmarks.codec`).
`tests/schemas/test_request_batches.py` compares the two on random and on broken requests.
"""

import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import numpy as np

from chimera.schemas import request_heads
from chimera.schemas.claims import is_claim
from chimera.schemas.errors import RequestError
from chimera.schemas.inference import NO_EXTRA, Request, decode
from chimera.schemas.json_numbers import NumberReader, is_flat, is_nested
from chimera.schemas.request_heads import BINARY_SIZE, NO_PARAMETERS, Input
from chimera.schemas.request_templates import Cut, Key, Shared, Templates, cut
from chimera.schemas.tensors import Array, Layout, Tensor, from_raw, layout

_NO_EXTRAS: Mapping[int, Mapping[str, str]] = MappingProxyType({})

PATIENCE = 32  # requests of a batch that may be cut for nothing: 1 us each

_Way = Literal["flat", "nested", "raw"]
_Key = tuple[str, str, str, tuple[int, ...], _Way]


class _Kept(threading.local):
    """What a thread keeps from batch to batch."""

    def __init__(self) -> None:
        self.reader = NumberReader()
        self.templates = Templates()


KEPT = _Kept()


def decode_many(
    values: Sequence[bytes],
    heads: Sequence[int],
    extras: Mapping[int, Mapping[str, str]] = _NO_EXTRAS,
) -> list[Request | RequestError]:
    """Read a batch: answers in its order, each what `decode` would return or raise.

    `heads` and `extras` (by index) as for `decode`. Tensors of the same model's input, datatype and
    shape lie side by side in one array, so that `tensors.stack` need not copy.
    """
    batch = _Batch(KEPT.reader, KEPT.templates)
    answers = [
        batch.add(index, value, head, extras.get(index, NO_EXTRA))
        for index, (value, head) in enumerate(zip(values, heads, strict=True))
    ]
    for index in batch.fill():
        answers[index] = None
    return [
        _alone(values[index], heads[index], extras.get(index, NO_EXTRA))
        if answer is None
        else answer
        for index, answer in enumerate(answers)
    ]


class _Group:
    """Tensors of one model's input, of one layout and given in one way: read in one pass."""

    __slots__ = ("indexes", "layout", "name", "parts", "targets", "way")

    def __init__(self, name: str, wanted: Layout, way: _Way) -> None:
        self.name, self.layout, self.way = name, wanted, way
        self.parts: list[bytes] = []
        self.indexes: list[int] = []  # of the requests
        self.targets: list[dict[str, Tensor]] = []  # their inputs

    def takes(self, part: bytes) -> bool:
        """Whether a part that came in this group's way is plain, and may have all elements."""
        if self.way == "flat":
            return len(part) > 2 * self.layout.count  # else a shape alone would claim memory
        if self.way == "nested":
            return is_nested(self.layout, part)
        return len(part) == self.layout.size_bytes

    def join(self, index: int, part: bytes, inputs: dict[str, Tensor]) -> None:
        self.parts.append(part)
        self.indexes.append(index)
        self.targets.append(inputs)

    def fill(self, reader: NumberReader) -> list[int]:
        """Put each tensor into its request's inputs; returns the requests whose tensor is none."""
        if not self.parts:
            return []
        flat, refused = self._read(reader)
        name, datatype, shape = self.name, self.layout.datatype.name, self.layout.shape
        start, count = 0, self.layout.count
        for inputs in self.targets:
            stop = start + count
            inputs[name] = Tensor(name, datatype, shape, flat, start, stop)
            start = stop
        return [self.indexes[at] for at in refused]

    def _read(self, reader: NumberReader) -> tuple[Array, Sequence[int]]:
        if self.way != "raw":
            return reader.read(self.layout, self.way == "nested", self.parts)
        try:
            return from_raw(self.layout.datatype, b"".join(self.parts)), ()
        except RequestError:
            return np.empty(0), range(len(self.parts))


_Bound = tuple[Shared, int, list[_Group]]  # a template's requests in this call
_UNTRIED: _Bound = (("", None, None, (), False, NO_PARAMETERS), 0, [])


class _Batch:
    """The plain requests of one call; their inputs are empty until `fill`."""

    def __init__(self, reader: NumberReader, templates: Templates) -> None:
        templates.earn()
        self._reader, self._templates = reader, templates
        self._patience = PATIENCE
        self._groups: dict[_Key, _Group] = {}
        self._bound: dict[object, _Bound | None] = {}

    def add(self, index: int, value: bytes, head: int, extra: Mapping[str, str]) -> Request | None:
        """A plain request; None: `decode` has to look at it."""
        if head == 0 or head > len(value):
            return None
        if self._patience:
            found = cut(value, head)
            request = None if found is None else self._from_template(index, found, extra)
            if request is not None:
                return request
            self._patience -= 1
        return self._parsed(index, value, head, extra)

    def fill(self) -> list[int]:
        """Read all tensors; returns the requests that `decode` has to look at after all."""
        return [index for group in self._groups.values() for index in group.fill(self._reader)]

    def _from_template(self, index: int, found: Cut, extra: Mapping[str, str]) -> Request | None:
        key, name, data = found
        full = (key, extra.get("model"), extra.get("version")) if extra else key
        bound = self._bound.get(full, _UNTRIED)
        if bound is _UNTRIED:
            bound = self._bound[full] = self._bind(key, extra)
        if bound is None:
            return None
        (model, version, own_name, outputs, binary, parameters), raw_bytes, groups = bound
        inputs: dict[str, Tensor] = {}
        if len(groups) == 1:
            if not groups[0].takes(data):
                return None
            groups[0].join(index, data, inputs)
        elif raw_bytes != len(data):
            return None
        else:
            position = 0
            for group in groups:
                stop = position + group.layout.size_bytes
                group.join(index, data[position:stop], inputs)
                position = stop
        name = own_name if name is None else name
        return Request(model, version, name, inputs, outputs, binary, parameters)

    def _bind(self, key: Key, extra: Mapping[str, str]) -> _Bound | None:
        template = self._templates.get(key, extra)
        if template is None:
            return None
        way: _Way = "flat" if template.raw_bytes < 0 else "raw"
        groups = [
            self._group((template.shared[0], name, wanted.datatype.name, wanted.shape, way))
            for name, wanted in template.inputs
        ]
        return (
            template.shared,
            template.raw_bytes,
            [group for group in groups if group is not None],
        )

    def _parsed(
        self, index: int, value: bytes, head: int, extra: Mapping[str, str]
    ) -> Request | None:
        try:
            found = request_heads.DECODER.decode(value if head < 0 else memoryview(value)[:head])
            model, version = request_heads.model(found, extra)
            outputs, binary = request_heads.outputs(found)
        except (RequestError, *request_heads.UNREADABLE):
            return None
        position = len(value) if head < 0 else head
        parts: dict[str, tuple[_Group, bytes]] = {}
        for given in found.inputs:
            way, part = _part(given, value, position)
            group = self._group((model, given.name, given.datatype, given.shape, way))
            if group is None or not group.takes(part):
                return None
            if way == "raw":
                position += len(part)
            parts[given.name] = group, part
        if position != len(value) or not parts or len(parts) != len(found.inputs):
            return None
        inputs: dict[str, Tensor] = {}
        for group, part in parts.values():
            group.join(index, part, inputs)
        parameters = found.parameters or NO_PARAMETERS
        return Request(model, version, found.id, inputs, outputs, binary, parameters)

    def _group(self, key: _Key) -> _Group | None:
        """The group of a key; None: such tensors are not read together."""
        group = self._groups.get(key)
        if group is None:
            _model, name, datatype, shape, way = key
            try:
                wanted = layout(datatype, shape)
            except RequestError:
                return None
            if not wanted.count or datatype == "BYTES":
                return None
            if way != "raw" and datatype in ("BOOL", "BF16"):
                return None
            group = self._groups[key] = _Group(name, wanted, way)
        return group


def _part(given: Input, value: bytes, position: int) -> tuple[_Way, bytes]:
    """An input's data as they stand in the value; empty if they are not plain."""
    data = bytes(given.data)
    parameters = given.parameters
    if parameters:
        size = parameters.get(BINARY_SIZE)
        if is_claim(parameters) or (size is not None and data):
            return "nested", b""
        if type(size) is int:
            part = value[position : position + size] if size > 0 else b""
            return "raw", part if len(part) == size else b""
        if size is not None:
            return "nested", b""
    return ("flat" if is_flat(data) else "nested"), data


def _alone(value: bytes, head: int, extra: Mapping[str, str]) -> Request | RequestError:
    try:
        return decode(value, head, extra)
    except RequestError as error:
        return error
