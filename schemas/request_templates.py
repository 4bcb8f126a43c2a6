"""Request templates: what the requests of one producer share, parsed and checked once.

Such requests mostly differ in two holes: the id and the numbers. `cut` takes a request apart there;
what is left is the key of a template. A new key is parsed twice with other text in its holes, and
kept only if just the id and just the data of the only input followed: then any other plain string
and array of numbers there give a request that differs in nothing else, and a known key needs no
JSON parser for the head (1.3 us instead of 2.4). With raw tensors the id is the only hole.
`tests/schemas/test_request_templates.py` tries to be read in two ways.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from chimera.schemas import request_heads
from chimera.schemas.claims import is_claim
from chimera.schemas.errors import RequestError
from chimera.schemas.request_heads import (
    BINARY_SIZE,
    NO_PARAMETERS,
    Input,
    OutputChoice,
    Scalar,
)
from chimera.schemas.tensors import Layout, layout

CAPACITY = 256  # templates kept; then all are forgotten
MAX_KEY_BYTES = 4_096  # requests with more around their numbers are not worth a template
MAX_CREDIT = 64  # new keys that may be tried at once; each batch earns one more

_PROBES = (b"0", b"1")
_ID, _ID_SPACED = b'"id":"', b'"id": "'
_DATA, _DATA_SPACED = b'"data":[', b'"data": ['
_NEXT_ROW = (b"],[", b"], [")

Key = tuple[bytes, bytes, bytes, bytes]
"""Before the id, its opening, what follows it, what follows the numbers (empty: raw tensors)."""

Cut = tuple[Key, str | None, bytes]
"""The key, the id (None: there is no hole for it), and the innermost first array of data in its
brackets, or all raw tensors."""

Inputs = tuple[tuple[str, Layout], ...]
Shared = tuple[
    str, str | None, str | None, tuple[OutputChoice, ...], bool, Mapping[str, Scalar]
]  # model, version, id (where there is no hole for it), outputs, binary, parameters


class Template(NamedTuple):
    """What the requests of one key share."""

    shared: Shared
    inputs: Inputs  # with JSON data: one
    raw_bytes: int  # behind the head; -1: JSON data


class Templates:
    """The templates that one thread has learnt."""

    def __init__(self) -> None:
        self._known: dict[object, Template | None] = {}
        self._credit = MAX_CREDIT

    def __len__(self) -> int:
        return len(self._known)

    def earn(self) -> None:
        """Allow one more new key to be tried: ever new ones stay cheap, and none waits for long."""
        self._credit = min(self._credit + 1, MAX_CREDIT)

    def get(self, key: Key, extra: Mapping[str, str]) -> Template | None:
        """The template of a key; None: it has none, or cannot be tried now."""
        full = (key, extra.get("model"), extra.get("version"))
        if full not in self._known:
            if not self._credit or _varies(key):
                return None
            self._credit -= 1
            if len(self._known) >= CAPACITY:
                self._known.clear()
            self._known[full] = _learn(key, extra)
        return self._known[full]


def cut(value: bytes, head: int) -> Cut | None:
    """Take a request apart; None: no holes were found, or its id is not plain."""
    if head < 0:
        start = value.find(_DATA) + len(_DATA)
        if start < len(_DATA):
            start = value.find(_DATA_SPACED) + len(_DATA_SPACED)
            if start < len(_DATA_SPACED):
                return None
        while value.startswith(b"[", start):
            start += 1
        stop = value.find(b"]", start)
        if stop < 0 or start + len(value) - stop > MAX_KEY_BYTES:
            return None
        front, after, data = value[:start], value[stop:], value[start - 1 : stop + 1]
    else:
        front, after, data = value[:head], b"", value[head:]
    before, opening, rest = front.partition(_ID)
    if not opening:
        before, opening, rest = front.partition(_ID_SPACED)
        if not opening:
            return (front, b"", b"", after), None, data
    name, _, between = rest.partition(b'"')
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return None
    if "\\" in text or not text.isprintable():
        return None  # an escape, or something that JSON may not allow as it stands
    return (before, opening, between, after), text, data


def _varies(key: Key) -> bool:
    """Whether other requests will hardly have this key: more than the holes will differ."""
    after = key[3]
    return after.startswith(_NEXT_ROW) or b'"data"' in after or b'"id"' in after


def _learn(key: Key, extra: Mapping[str, str]) -> Template | None:
    """Parse a key with two different fillings; None: not just what fills the holes followed."""
    try:
        first, second = (_probe(key, text, extra) for text in _PROBES)
    except RequestError:
        return None
    return first if first == second else None


def _probe(key: Key, text: bytes, extra: Mapping[str, str]) -> Template | None:
    """The template, if what fills the holes is found again where it belongs."""
    before, opening, between, after = key
    filled_id = (opening, text, b'"') if opening else ()
    filled_data = (text, after) if after else ()
    head = request_heads.read(b"".join((before, *filled_id, between, *filled_data)))
    if opening and head.id != text.decode():
        return None
    inputs = _json_input(head.inputs, text) if after else _raw_inputs(head.inputs)
    if not inputs:
        return None
    model, version = request_heads.model(head, extra)
    outputs, binary = request_heads.outputs(head)
    name = None if opening else head.id
    parameters = head.parameters or NO_PARAMETERS
    raw_bytes = -1 if after else sum(wanted.size_bytes for _, wanted in inputs)
    return Template((model, version, name, outputs, binary, parameters), inputs, raw_bytes)


def _json_input(inputs: Sequence[Input], text: bytes) -> Inputs:
    """The only input, if its data are the hole in as many brackets as its shape allows."""
    if len(inputs) != 1:
        return ()
    given = inputs[0]
    parameters = given.parameters or NO_PARAMETERS
    wanted = layout(given.datatype, given.shape)
    data = bytes(given.data)
    depth = data.count(b"[")
    if (
        BINARY_SIZE in parameters
        or is_claim(parameters)
        or not wanted.count
        or wanted.datatype.name in ("BOOL", "BF16", "BYTES")
        or data != b"[" * depth + text + b"]" * depth
        or not (depth == 1 or (depth == len(wanted.shape) and wanted.shape[-1] == wanted.count))
    ):
        return ()
    return ((given.name, wanted),)


def _raw_inputs(inputs: Sequence[Input]) -> Inputs:
    """All inputs, if each is raw and as long as its shape says."""
    found: dict[str, Layout] = {}
    for given in inputs:
        wanted = layout(given.datatype, given.shape)
        if (
            bytes(given.data)
            or is_claim(given.parameters or NO_PARAMETERS)
            or request_heads.binary_size(given) != wanted.size_bytes
            or not wanted.size_bytes
        ):
            return ()
        found[given.name] = wanted
    return tuple(found.items()) if len(found) == len(inputs) else ()
