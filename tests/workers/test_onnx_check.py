"""Hostile ONNX files: external data in every place that can hold a tensor, foreign operators."""

import itertools
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # ships no type information
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from chimera.schemas.errors import ModelRefused
from chimera.workers.backends.onnx_check import Caps, check
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
    except ModelRefused:
        pass


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


def test_file_that_the_runtime_would_read_in_its_own_format_is_refused() -> None:
    """An ONNX file by every field, but the runtime looks at four bytes first."""
    raw = b"\x12\x06xxORTM" + sums()
    assert onnx.ModelProto.FromString(raw).graph == model().graph
    with pytest.raises(Exception, match="ORT model verification failed"):
        onnxruntime.InferenceSession(raw)
    with pytest.raises(ModelRefused, match="ONNX Runtime's own format"):
        check(raw, "m")


@pytest.mark.parametrize(
    "domain", ["", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "org.pytorch.x"]
)
def test_function_in_a_domain_of_a_runtime_is_refused(domain: str) -> None:
    found = model()
    function = found.functions.add()
    function.domain, function.name = domain, "MatMul"
    with pytest.raises(ModelRefused, match="runtime's own"):
        check(found.SerializeToString(), "m")


def test_functions_of_the_exporter_pass() -> None:
    found = model()
    for domain in ("pkg.onnxscript.torch_lib", "com.microsoftness"):
        function = found.functions.add()
        function.domain, function.name = domain, "f"
    check(found.SerializeToString(), "m")


def chain(found: onnx.ModelProto, count: int, times: int) -> onnx.ModelProto:
    """Functions that call the next one, each so many times; the graph calls the first."""
    for at in range(count):
        function = found.functions.add()
        function.domain, function.name = "own", f"f{at}"
        last = at + 1 == count
        node = helper.make_node(
            "Identity" if last else f"f{at + 1}", ["a"], ["b"], domain="" if last else "own"
        )
        function.node.extend([node] * times)
    found.graph.node.append(helper.make_node("f0", ["x"], ["z"], domain="own"))
    return found


@pytest.mark.parametrize(("count", "times", "nodes"), [(2, 3, 10), (3, 2, 9), (5, 3, 244)])
def test_functions_count_as_often_as_they_are_called(count: int, times: int, nodes: int) -> None:
    """One node of the graph's own, and times ** count of the last function's."""
    raw = chain(model(), count, times).SerializeToString()
    check(raw, "m", Caps(nodes=nodes))
    with pytest.raises(ModelRefused, match=f"at most {nodes - 1} are taken"):
        check(raw, "m", Caps(nodes=nodes - 1))


def test_functions_that_call_each_other_too_deeply_are_refused() -> None:
    check(chain(model(), 60, 1).SerializeToString(), "m")
    with pytest.raises(ModelRefused, match="too deeply"):
        check(chain(model(), 70, 1).SerializeToString(), "m")


def test_two_functions_of_one_name_are_refused() -> None:
    found = model()
    for _ in range(2):
        function = found.functions.add()
        function.domain, function.name = "own", "f"
    with pytest.raises(ModelRefused, match="two functions have one name"):
        check(found.SerializeToString(), "m")


@pytest.mark.parametrize("version", [6, 10_000, -1])
def test_opset_that_is_not_known_is_refused(version: int) -> None:
    found = model()
    found.opset_import[0].version = version
    with pytest.raises(ModelRefused, match=f"opset {version}"):
        check(found.SerializeToString(), "m")


@pytest.mark.parametrize("dims", [[3, 1], [3], [-2, -1], [1 << 40, 1 << 40]])
def test_tensor_whose_data_are_not_those_of_its_shape_is_refused(dims: list[int]) -> None:
    found = model()
    found.graph.initializer[0].dims[:] = dims
    with pytest.raises(ModelRefused, match="tensor 'ones'"):
        check(found.SerializeToString(), "m")


@pytest.mark.parametrize(
    "datatype", sorted(set(TensorProto.DataType.values()) - {TensorProto.STRING}), ids=str
)
def test_tensor_of_each_datatype_passes_in_the_size_that_onnx_gives_it(datatype: int) -> None:
    """All but strings, which have no raw form; 0 is undefined and has no size."""
    found = model()
    tensor = found.graph.initializer.add(name="t", data_type=datatype, dims=[8])
    sizes = [size for size in range(130) if datatype and _is_raw_size(datatype, size)]
    for size in range(130):
        tensor.raw_data = b"\0" * size
        if size in sizes:
            check(found.SerializeToString(), "m")
            continue
        with pytest.raises(ModelRefused, match="tensor 't'"):
            check(found.SerializeToString(), "m")


def _is_raw_size(datatype: int, size: int) -> bool:
    try:
        helper.make_tensor("t", datatype, [8], b"\0" * size, raw=True)
    except ValueError:
        return False
    return True
