"""Requests that differ in nothing but their id and their numbers: read as columns, not one by one.

A producer's requests mostly have one template (`request_templates.py`). Where all of a block do, a
request costs a few searches, its numbers are parsed together with all others', and no object is
made for it (1.9 us instead of 2.7 for 64 numbers; `python -m benchmarks.codec`). Whoever wants
single requests still gets them, by index. For anything else `read` returns None, and
`request_batches.decode_many` has the answer.
`tests/schemas/test_uniform.py` compares the two on random and on broken requests.
"""

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from chimera.schemas.inference import NO_EXTRA, Request
from chimera.schemas.request_batches import KEPT
from chimera.schemas.request_templates import Shared, cut
from chimera.schemas.tensors import Array, Layout, Tensor


class Uniform(Sequence[Request]):
    """Requests with one input; `flat` holds the elements of all, one request after the other."""

    __slots__ = ("flat", "ids", "input", "layout", "shared")

    def __init__(
        self, shared: Shared, input: str, layout: Layout, ids: Sequence[bytes], flat: Array
    ) -> None:
        """`ids` are UTF-8, and need no escape in JSON."""
        self.shared, self.input, self.layout = shared, input, layout
        self.ids, self.flat = ids, flat

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, at: int) -> Request: ...
    @overload
    def __getitem__(self, at: slice) -> "Uniform": ...
    def __getitem__(self, at: int | slice) -> "Request | Uniform":
        if isinstance(at, slice):
            start, stop, _ = at.indices(len(self.ids))
            count = self.layout.count
            flat = self.flat[start * count : stop * count]
            return Uniform(self.shared, self.input, self.layout, self.ids[start:stop], flat)
        model, version, _, outputs, binary, parameters = self.shared
        at, count = range(len(self.ids))[at], self.layout.count
        shape, datatype = self.layout.shape, self.layout.datatype.name
        start = at * count
        tensor = Tensor(self.input, datatype, shape, self.flat, start, start + count)
        inputs = {self.input: tensor}
        return Request(model, version, self.ids[at].decode(), inputs, outputs, binary, parameters)

    def take(self, places: NDArray[np.intp]) -> "Uniform":
        """Those at these places, in their order."""
        flat: Array = self.flat.reshape(len(self.ids), -1)[places].reshape(-1)
        wanted: list[int] = places.tolist()
        ids = [self.ids[at] for at in wanted]
        return Uniform(self.shared, self.input, self.layout, ids, flat)

    def __iter__(self) -> Iterator[Request]:
        return (self[at] for at in range(len(self.ids)))

    @property
    def rows(self) -> Array:
        """All tensors, joined along a new first dimension in place of their own, which is 1."""
        return self.flat.reshape((len(self.ids), *self.layout.shape[1:]))

    @property
    def is_plain(self) -> bool:
        """Whether they want all outputs as JSON."""
        return not self.shared[3] and not self.shared[4]


def read(values: Sequence[bytes]) -> Uniform | None:
    """Read requests that are all JSON; None: they are not uniform, or not all right."""
    KEPT.templates.earn()
    found = cut(values[0], -1)
    if found is None:
        return None
    key, name, _ = found
    before, opening, between, after = key
    template = KEPT.templates.get(key, NO_EXTRA)
    if template is None or name is None or not after:
        return None
    ((input, layout),) = template.inputs
    columns = _columns(values, before + opening, between, after)
    if columns is None:
        return None
    ids, parts = columns
    if min(map(len, parts)) <= 2 * layout.count:  # else a shape alone would claim memory
        return None
    try:
        text = b",".join(ids).decode()
    except UnicodeDecodeError:
        return None
    if "\\" in text or not text.isprintable():
        return None
    flat, refused = KEPT.reader.read(layout, False, parts)
    return None if refused else Uniform(template.shared, input, layout, ids, flat)


def _columns(
    values: Sequence[bytes], prefix: bytes, between: bytes, after: bytes
) -> tuple[list[bytes], list[bytes]] | None:
    """Ids, and arrays of numbers; each value is taken apart where `cut` would."""
    ids: list[bytes] = []
    parts: list[bytes] = []
    start, step, rest = len(prefix), len(between), len(after)
    for value in values:
        quote = value.find(b'"', start)
        opening = quote + step  # of the innermost array
        closing = len(value) - rest
        if (
            value.find(b"]", opening) != closing
            or not value.startswith(between, quote + 1)
            or not value.startswith(prefix)
            or not value.endswith(after)
            or quote < 0
        ):
            return None
        ids.append(value[start:quote])
        parts.append(value[opening : closing + 1])
    return ids, parts
