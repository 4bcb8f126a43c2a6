"""Hostile ONNX files: external data in every place that can hold a tensor, foreign operators."""

import itertools
import re
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from chimera.schemas.errors import ModelRefused
from chimera.workers.backends.onnx_check import check
from tests.workers.rig import sums


def external(name: str = "evil", location: str = "../../etc/passwd") -> TensorProto:
    tensor = numpy_helper.from_array(np.zeros(2, "f4"), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return tensor


def quiet() -> TensorProto:
    """External data without saying so."""
    tensor = numpy_helper.from_array(np.zeros(2, "f4"), "quiet")
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    return tensor


def model() -> onnx.ModelProto:
    found = onnx.ModelProto()
    found.ParseFromString(sums())
    return found


def subgraph(tensor: TensorProto) -> onnx.GraphProto:
    return helper.make_graph(
        [helper.make_node("Identity", ["evil"], ["out"])],
        "inner",
        [],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [2])],
        [tensor],
    )


def in_initializer(found: onnx.ModelProto, tensor: TensorProto) -> None:
    found.graph.initializer.append(tensor)


def in_sparse_initializer(found: onnx.ModelProto, tensor: TensorProto) -> None:
    found.graph.sparse_initializer.append(onnx.SparseTensorProto(values=tensor, dims=[2]))


def in_sparse_indices(found: onnx.ModelProto, tensor: TensorProto) -> None:
    found.graph.sparse_initializer.append(onnx.SparseTensorProto(indices=tensor, dims=[2]))


def in_attribute(found: onnx.ModelProto, tensor: TensorProto) -> None:
    found.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


def in_attribute_list(found: onnx.ModelProto, tensor: TensorProto) -> None:
    node = helper.make_node("Constant", [], ["c"])
    attribute = node.attribute.add()
    attribute.name, attribute.type = "values", onnx.AttributeProto.TENSORS
    attribute.tensors.append(tensor)
    found.graph.node.append(node)


def in_subgraph(found: onnx.ModelProto, tensor: TensorProto) -> None:
    then, other = subgraph(tensor), subgraph(numpy_helper.from_array(np.zeros(2, "f4"), "evil"))
    found.graph.node.append(
        helper.make_node("If", ["cond"], ["o"], then_branch=then, else_branch=other)
    )


def in_subgraph_of_a_subgraph(found: onnx.ModelProto, tensor: TensorProto) -> None:
    inner = onnx.ModelProto()
    in_subgraph(inner, tensor)
    outer = helper.make_graph(list(inner.graph.node), "outer", [], [])
    found.graph.node.append(helper.make_node("Loop", ["m", "c"], ["o"], body=outer))


def in_function(found: onnx.ModelProto, tensor: TensorProto) -> None:
    function = found.functions.add()
    function.domain, function.name = "own", "f"
    function.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


def in_training_info(found: onnx.ModelProto, tensor: TensorProto) -> None:
    found.training_info.add().initialization.initializer.append(tensor)


PLACES: list[Callable[[onnx.ModelProto, TensorProto], None]] = [
    in_initializer,
    in_sparse_initializer,
    in_sparse_indices,
    in_attribute,
    in_attribute_list,
    in_subgraph,
    in_subgraph_of_a_subgraph,
    in_function,
    in_training_info,
]


def test_plain_model_passes() -> None:
    check(sums(), "m")


@pytest.mark.parametrize(
    ("place", "tensor"),
    list(itertools.product(PLACES, [external(), quiet()])),
    ids=lambda value: getattr(value, "__name__", getattr(value, "name", "")),
)
def test_external_data_are_refused_wherever_they_hide(
    place: Callable[[onnx.ModelProto, TensorProto], None], tensor: TensorProto
) -> None:
    found = model()
    place(found, tensor)
    with pytest.raises(ModelRefused, match="external data"):
        check(found.SerializeToString(), "m")


def test_foreign_operator_is_refused() -> None:
    found = model()
    found.graph.node.append(helper.make_node("Anything", ["x"], ["z"], domain="com.evil"))
    with pytest.raises(ModelRefused, match=r"com\.evil\.Anything"):
        check(found.SerializeToString(), "m")


def test_operator_that_the_model_defines_itself_passes() -> None:
    found = model()
    function = found.functions.add()
    function.domain, function.name = "own", "twice"
    function.node.append(helper.make_node("Add", ["a", "a"], ["b"]))
    found.graph.node.append(helper.make_node("twice", ["x"], ["z"], domain="own"))
    check(found.SerializeToString(), "m")


def test_foreign_operator_inside_an_own_function_is_refused() -> None:
    found = model()
    function = found.functions.add()
    function.domain, function.name = "own", "f"
    function.node.append(helper.make_node("Load", ["a"], ["b"], domain="com.evil"))
    with pytest.raises(ModelRefused, match=r"com\.evil\.Load"):
        check(found.SerializeToString(), "m")


@given(st.binary(max_size=300))
def test_random_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(ModelRefused):
        check(raw, "m")


@given(st.data())
def test_damaged_model_passes_or_is_refused(data: st.DataObject) -> None:
    raw = bytearray(sums())
    for _ in range(data.draw(st.integers(1, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        check(bytes(raw), "m")
    except ModelRefused as error:
        assert re.match("m: .", str(error))
    else:
        read = onnx.ModelProto.FromString(bytes(raw))
        assert read.graph.node
        check(read.SerializeToString(), "m")


def test_deeply_nested_file_is_refused_without_a_crash() -> None:
    graph = subgraph(numpy_helper.from_array(np.zeros(2, "f4"), "evil"))
    raw = graph.SerializeToString()
    for _ in range(3_000):  # attribute.g, in node.attribute, in graph.node
        for tag in (b"\x32", b"\x2a", b"\x0a"):
            raw = tag + varint(len(raw)) + raw
    with pytest.raises(ModelRefused):
        check(b"\x3a" + varint(len(raw)) + raw, "m")


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))
