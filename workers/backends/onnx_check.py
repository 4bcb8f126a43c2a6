"""What an ONNX file must not hold: data elsewhere, operators from elsewhere, more than fits.

A runtime resolves external data by itself, and its checks have been passed by (CVE-2022-25882,
CVE-2024-27318, CVE-2026-27489, CVE-2026-34446); so any tensor that claims to have some is refused,
wherever it stands: initialisers, sparse ones, attributes, subgraphs, functions. Every field that can
hold a tensor or a node is walked, none by name. ONNX Runtime takes bytes with `ORTM` at the fourth for its own format,
also where they are an ONNX file too: those are refused, as nothing here would have checked them.
`tests/workers/test_onnx_check.py` hides one in each place.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import onnx
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]  # no stubs

from chimera.schemas.errors import ModelRefused
from chimera.workers.backends import onnx_functions

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
OLDEST_OPSET, NEWEST_OPSET = 7, onnx.defs.onnx_opset_version()
MAX_ELEMENTS = 2**40
_FORMAT_OF_THE_RUNTIME = b"ORTM"
_ITEM_BITS = {
    **dict.fromkeys(("UINT2", "INT2"), 2),
    **dict.fromkeys(("FLOAT6E2M3", "FLOAT6E3M2"), 6),
    **dict.fromkeys(("UINT4", "INT4", "FLOAT4E2M1"), 4),
    **dict.fromkeys(("UINT8", "INT8", "BOOL"), 8),
    **dict.fromkeys(
        ("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "FLOAT8E8M0"), 8
    ),
    **dict.fromkeys(("UINT16", "INT16", "FLOAT16", "BFLOAT16"), 16),
    **dict.fromkeys(("UINT32", "INT32", "FLOAT"), 32),
    **dict.fromkeys(("UINT64", "INT64", "DOUBLE", "COMPLEX64"), 64),
    "COMPLEX128": 128,
}


@dataclass(frozen=True, slots=True)
class Caps:
    """How much a graph may hold; `domains` are taken beside ONNX's own."""

    domains: frozenset[str] = frozenset()
    nodes: int = 50_000  # of all graphs, functions expanded as the runtime expands them
    tensors: int = 50_000
    depth: int = 16  # graphs inside graphs
    parts: int = 400_000  # what is walked: nodes, attributes, tensors; 3 us each


def check(model: bytes, path: str, caps: Caps | None = None) -> onnx.ModelProto:
    """Refuse what must not be served; the parsed file otherwise. `path` is named in errors.

    Raises:
        ModelRefused: no ONNX file, external data, an operator that ONNX does not define, or a
            graph over the caps.
    """
    caps = caps or Caps()
    if model[4:8] == _FORMAT_OF_THE_RUNTIME:
        raise ModelRefused(f"{path}: is in ONNX Runtime's own format, which is not checked here")
    try:
        found: onnx.ModelProto = onnx.ModelProto.FromString(model)
    except DecodeError:
        raise ModelRefused(f"{path}: is no ONNX file, or more than memory allows") from None
    if not found.graph.node:
        raise ModelRefused(f"{path}: has no graph")
    _require_few(found, path, caps.nodes)
    own = onnx_functions.own(found, path)
    _require_opset(found, path)
    _require_plain(found, path, caps, own)
    onnx_functions.require_size(found, path, caps.nodes)
    return found


def _require_few(found: onnx.ModelProto, path: str, cap: int) -> None:
    """What is gone through one by one; asking for the number costs nothing."""
    graph = found.graph
    for what, count in (
        ("nodes", len(graph.node)),
        ("inputs", len(graph.input)),
        ("outputs", len(graph.output)),
        ("functions", len(found.functions)),
        ("opsets", len(found.opset_import)),
    ):
        if count > cap:
            raise ModelRefused(f"{path}: {count} {what}, at most {cap} are taken")


def _require_opset(found: onnx.ModelProto, path: str) -> None:
    for opset in found.opset_import:
        if opset.domain in ("", "ai.onnx") and not OLDEST_OPSET <= opset.version <= NEWEST_OPSET:
            raise ModelRefused(
                f"{path}: opset {opset.version}, {OLDEST_OPSET} to {NEWEST_OPSET} are taken"
            )


def _require_plain(
    found: onnx.ModelProto, path: str, caps: Caps, own: frozenset[onnx_functions.Name]
) -> None:
    """Each part by itself, wherever it stands, and how many there are of each kind."""
    domains = DOMAINS | caps.domains
    nodes = tensors = 0
    for message, depth, parts in _walk(found):
        if isinstance(message, onnx.TensorProto):
            tensors += 1
            _require_data(message, path)
        elif isinstance(message, onnx.NodeProto):
            nodes += 1
            if message.domain not in domains and onnx_functions.called(message) not in own:
                raise ModelRefused(
                    f"{path}: operator {message.domain}.{message.op_type} is none of ONNX's own"
                )
        for what, count, cap in (
            ("nodes", nodes, caps.nodes),
            ("tensors", tensors, caps.tensors),
            ("graphs inside graphs", depth, caps.depth),
            ("parts", parts, caps.parts),
        ):
            if count > cap:
                raise ModelRefused(f"{path}: {count} {what}, at most {cap} are taken")


def _require_data(tensor: onnx.TensorProto, path: str) -> None:
    """All of its data are here, and as much as its shape needs."""
    where = f"{path}: tensor {tensor.name!r}"
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise ModelRefused(f"{where} has external data")
    if any(size < 0 for size in tensor.dims) or math.prod(tensor.dims) > MAX_ELEMENTS:
        raise ModelRefused(f"{where} has an impossible shape")
    if not tensor.HasField("raw_data"):
        return
    try:
        bits = _ITEM_BITS.get(onnx.TensorProto.DataType.Name(tensor.data_type), 0)
    except ValueError:
        bits = 0
    wanted = (math.prod(tensor.dims) * bits + 7) // 8
    if not bits or len(tensor.raw_data) != wanted:
        raise ModelRefused(f"{where} needs {wanted} bytes, it has {len(tensor.raw_data)}")


def _holders(root: Any, wanted: frozenset[str]) -> frozenset[str]:
    """The names of all messages that are wanted, or can hold one that is."""
    types, pending = {root.full_name: root}, [root]
    while pending:
        for field in pending.pop().fields:
            if field.message_type and field.message_type.full_name not in types:
                types[field.message_type.full_name] = field.message_type
                pending.append(field.message_type)
    found, size = set(wanted), 0
    while len(found) > size:
        size = len(found)
        for name, one in types.items():
            if any(
                field.message_type and field.message_type.full_name in found for field in one.fields
            ):
                found.add(name)
    return frozenset(found)


_HOLDERS = _holders(
    onnx.ModelProto.DESCRIPTOR,
    frozenset(one.DESCRIPTOR.full_name for one in (onnx.TensorProto, onnx.NodeProto)),
)


def _walk(root: Message) -> Iterator[tuple[Message, int, int]]:
    """What can hold a tensor or a node, with the graphs around it and how many parts are known."""
    pending: list[tuple[Message, int]] = [(root, -1)]
    known = 1
    while pending:
        message, depth = pending.pop()
        depth += isinstance(message, onnx.GraphProto)
        children: list[Any] = [
            value if not isinstance(value, Message) else (value,)
            for descriptor, value in message.ListFields()
            if descriptor.message_type and descriptor.message_type.full_name in _HOLDERS
        ]
        known += sum(map(len, children))
        yield message, depth, known  # before they are taken up: whoever counts can stop in time
        pending.extend((one, depth) for several in children for one in several)
