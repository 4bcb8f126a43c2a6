"""The functions that an ONNX file defines itself, and how large the graph is without them.

A runtime replaces each call by the function's body: thirty functions that call the next one twice
are a thousand million nodes. They are counted here as the runtime expands them, without expanding.
A function may not bear a name in a domain that runtimes know: theirs might be called instead.
`tests/workers/test_onnx_check.py`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

import onnx

from chimera.schemas.errors import ModelRefused

RESERVED = ("ai.onnx", "com.microsoft", "com.ms", "com.nvidia", "org.pytorch")
MAX_NESTING = 64  # functions that call functions
Name = tuple[str, str, str]  # domain, name, overload
_Calls = dict[Name, Counter[Name]]


def called(node: onnx.NodeProto) -> Name:
    """What a node calls, if the file has a function of that name."""
    return node.domain, node.op_type, node.overload


def own(model: onnx.ModelProto, path: str) -> frozenset[Name]:
    """The names of the file's own functions.

    Raises:
        ModelRefused: two have one name, or a name that belongs to a runtime.
    """
    names = [(one.domain, one.name, one.overload) for one in model.functions]
    if len(set(names)) < len(names):
        raise ModelRefused(f"{path}: two functions have one name")
    for domain, name, _ in names:
        if not domain or any(f"{domain}.".startswith(f"{known}.") for known in RESERVED):
            raise ModelRefused(f"{path}: function {domain}.{name}: the domain is a runtime's own")
    return frozenset(names)


def require_size(model: onnx.ModelProto, path: str, max_nodes: int) -> None:
    """Refuse a graph that has more nodes once every function stands in the place of its calls.

    Raises:
        ModelRefused: it has, or functions call each other in a circle.
    """
    calls: _Calls = {
        (one.domain, one.name, one.overload): Counter(map(called, _nodes(one.node)))
        for one in model.functions
    }
    sizes: dict[Name, int] = {}
    total = 0
    for name, times in Counter(map(called, _nodes(model.graph.node))).items():
        total += times * _size(name, calls, sizes, path, ())
    if total > max_nodes:
        raise ModelRefused(
            f"{path}: {min(total, 10**12)} nodes with its functions expanded,"
            f" at most {max_nodes} are taken"
        )


def _size(
    name: Name, calls: _Calls, sizes: dict[Name, int], path: str, above: tuple[Name, ...]
) -> int:
    """Nodes that one call stands for: 1 if it is no function's."""
    if name not in calls:
        return 1
    if name in sizes:
        return sizes[name]
    if name in above or len(above) >= MAX_NESTING:
        raise ModelRefused(f"{path}: function {name[0]}.{name[1]} calls itself, or too deeply")
    sizes[name] = sum(
        times * _size(inner, calls, sizes, path, (*above, name))
        for inner, times in calls[name].items()
    )
    return sizes[name]


def _nodes(first: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes, and those of the graphs that stand in their attributes."""
    pending = list(first)
    while pending:
        node = pending.pop()
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                pending.extend(attribute.g.node)
            for graph in attribute.graphs:
                pending.extend(graph.node)
