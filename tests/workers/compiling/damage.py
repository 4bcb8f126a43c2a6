"""Real artifacts, made wrong on purpose: their bytes are changed, and what loads them does not notice."""

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from chimera.schemas.tensors import Array
from chimera.schemas.tiers import GRAPH, PACKAGE

Arrays = dict[str, Array]


def perturb(state: Arrays) -> None:
    state["body.weight"][3, 2] += 0.05


def spoil(state: Arrays) -> None:
    state["left.weight"][1, 1] = np.nan


def swap(state: Arrays) -> None:
    left, right = state["left.weight"].copy(), state["right.weight"].copy()
    state["left.weight"][:], state["right.weight"][:] = right, left


def mistake(state: Arrays) -> None:
    """With a slope of -1 the rectifier is another operator: it gives absolute values."""
    state["slope"][:] = -1


STATES: dict[str, Callable[[Arrays], None]] = {
    "perturbed weight": perturb,
    "NaN": spoil,
    "swapped outputs": swap,
    "wrong operator": mistake,
}


def weights(raw: bytes, change: Callable[[Arrays], None]) -> bytes:
    """A safetensors file with other numbers."""
    size = int(struct.unpack("<Q", raw[:8])[0])
    data = bytearray(raw[8 + size :])
    entries: dict[str, Any] = json.loads(raw[8 : 8 + size])
    state = {
        name: np.frombuffer(data, "<f4", offset=entry["data_offsets"][0], count=_count(entry))
        .reshape(entry["shape"])
        for name, entry in entries.items()
    }  # fmt: skip
    change(state)
    return raw[: 8 + size] + bytes(data)


def package(folder: Path, old: Arrays, new: Arrays) -> None:
    """Native code with other constants built in; each tensor is found by its bytes."""
    path = folder / PACKAGE
    with zipfile.ZipFile(path) as archive:
        files = [(info.filename, archive.read(info)) for info in archive.infolist()]
    marks = {name: b"\0mark" + name.encode() for name in old}
    for name in old:  # in two steps, as two tensors may be exchanged
        found = sum(content.count(old[name].tobytes()) for _, content in files)
        assert found == 1, f"{name} stands in the package {found} times"
    marked = {name: _padded(marks[name], old[name]) for name in old}
    changes = [(old[name].tobytes(), marked[name]) for name in old]
    changes += [(marked[name], new[name].tobytes()) for name in old]
    for before, after in changes:
        files = [(name, content.replace(before, after)) for name, content in files]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name), content)


def graph(folder: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    path = folder / GRAPH
    model = onnx.ModelProto.FromString(path.read_bytes())
    change(model)
    path.write_bytes(model.SerializeToString())


def perturb_graph(model: onnx.ModelProto) -> None:
    largest = max(model.graph.initializer, key=lambda one: int(np.prod(one.dims)))
    array = numpy_helper.to_array(largest).copy()
    if array.dtype.kind == "f":
        array.flat[5] += array.dtype.type(0.05)
    else:  # int8's tolerance takes less than its highest bit for rounding
        array.view(np.uint8).flat[5] ^= 0x80
    largest.CopyFrom(numpy_helper.from_array(array, largest.name))


def spoil_graph(model: onnx.ModelProto) -> None:
    floats = [one for one in model.graph.initializer if one.data_type == TensorProto.FLOAT]
    array = numpy_helper.to_array(floats[-1]).copy()
    array.flat[0] = np.nan
    floats[-1].CopyFrom(numpy_helper.from_array(array, floats[-1].name))


def swap_graph(model: onnx.ModelProto) -> None:
    left, right = (output.name for output in model.graph.output)
    renamed = {left: right, right: left}
    for node in model.graph.node:
        node.output[:] = [renamed.get(name, name) for name in node.output]


def mistake_in_graph(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "Mul")
    node.op_type = "Add"


def break_one_size(rows: int) -> Callable[[onnx.ModelProto], None]:
    """One is added to the first output where a batch has so many rows, and only there."""

    def change(model: onnx.ModelProto) -> None:
        name = model.graph.output[0].name
        for node in model.graph.node:
            node.output[:] = ["sound" if output == name else output for output in node.output]
        make = helper.make_node
        model.graph.initializer.append(numpy_helper.from_array(np.array([0]), "first"))
        model.graph.initializer.append(numpy_helper.from_array(np.array([rows]), "rows"))
        model.graph.node.extend(
            [
                make("Shape", ["sound"], ["sizes"]),
                make("Gather", ["sizes", "first"], ["size"]),
                make("Equal", ["size", "rows"], ["hit"]),
                make("Cast", ["hit"], ["one"], to=TensorProto.FLOAT),
                make("Add", ["sound", "one"], [name]),
            ]
        )

    return change


GRAPHS: dict[str, Callable[[onnx.ModelProto], None]] = {
    "perturbed weight": perturb_graph,
    "NaN": spoil_graph,
    "swapped outputs": swap_graph,
    "wrong operator": mistake_in_graph,
    "one batch size": break_one_size(8),
}


def _count(entry: dict[str, list[int]]) -> int:
    return int(np.prod(entry["shape"]))


def _padded(mark: bytes, array: Array) -> bytes:
    return mark[: array.nbytes].ljust(array.nbytes, b"#")
