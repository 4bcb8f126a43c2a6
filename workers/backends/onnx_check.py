"""What an ONNX file must not hold: data elsewhere, operators from elsewhere.

A runtime resolves external data by itself, and its checks have been passed by (CVE-2022-25882,
CVE-2024-27318, CVE-2026-27489, CVE-2026-34446); so any tensor that claims to have some is refused,
wherever it stands: initialisers, sparse ones, attributes, subgraphs, functions. Every field of the
file is walked, none by name. `tests/workers/test_onnx_check.py` hides one in each place.
"""

from collections.abc import Iterator
from typing import Any

import onnx
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]  # no stubs

from chimera.schemas.errors import ModelRefused

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
SAVED_DOMAINS = DOMAINS | {"com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"}


def check(model: bytes, path: str, domains: frozenset[str] = DOMAINS) -> None:
    """Refuse what must not be served; `path` is named in errors.

    `domains`: those of ONNX itself; `SAVED_DOMAINS` only for a graph that ONNX Runtime saved for us,
    whose fused operators are its own.

    Raises:
        ModelRefused: no ONNX file, external data, or an operator that ONNX does not define.
    """
    try:
        found = onnx.ModelProto.FromString(model)
    except DecodeError:
        raise ModelRefused(f"{path}: is no ONNX file") from None
    if not found.graph.node:
        raise ModelRefused(f"{path}: has no graph")
    own = {(function.domain, function.name) for function in found.functions}
    for message in _walk(found):
        if isinstance(message, onnx.TensorProto) and (
            message.data_location == onnx.TensorProto.EXTERNAL or message.external_data
        ):
            raise ModelRefused(f"{path}: tensor {message.name!r} has external data")
        if (
            isinstance(message, onnx.NodeProto)
            and message.domain not in domains
            and (message.domain, message.op_type) not in own
        ):
            raise ModelRefused(
                f"{path}: operator {message.domain}.{message.op_type} is none of ONNX's own"
            )


def _walk(root: Message) -> Iterator[Message]:
    """A message and all that it holds; protobuf itself bounds the depth."""
    pending: list[Message] = [root]
    while pending:
        message = pending.pop()
        yield message
        for descriptor, value in message.ListFields():
            if descriptor.message_type is None:
                continue
            values: Any = value if _is_repeated(value) else (value,)
            pending.extend(values)


def _is_repeated(value: object) -> bool:
    return not isinstance(value, Message)
