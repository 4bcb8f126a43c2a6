"""Changes to a good ONNX file, each of which must have it refused."""

import onnx
from onnx import TensorProto, helper


def external(found: onnx.ModelProto) -> None:
    one = found.graph.initializer[0]
    one.ClearField("raw_data")
    one.data_location = TensorProto.EXTERNAL
    one.external_data.add(key="location", value="../../../etc/passwd")


def foreign(found: onnx.ModelProto) -> None:
    found.graph.node.append(helper.make_node("EPContext", ["x"], ["z"], domain="com.microsoft"))


def shadowing(found: onnx.ModelProto) -> None:
    """A function of its own that bears the name of the runtime's operator."""
    function = found.functions.add()
    function.domain, function.name = "com.microsoft", "EPContext"
    foreign(found)


def wide(found: onnx.ModelProto) -> None:
    for _ in range(1_001):
        found.graph.node.append(helper.make_node("Identity", ["x"], ["z"]))


def wide_inside(found: onnx.ModelProto) -> None:
    inner = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])] * 1_001, "i", [], [])
    found.graph.node.append(helper.make_node("Loop", ["m", "c"], ["o"], body=inner))


def many_tensors(found: onnx.ModelProto) -> None:
    for at in range(501):
        found.graph.initializer.add(name=f"t{at}", data_type=TensorProto.FLOAT, dims=[0])


def deep(found: onnx.ModelProto) -> None:
    inner = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "i", [], [])
    for _ in range(17):
        inner = helper.make_graph([helper.make_node("Loop", ["m"], ["o"], body=inner)], "i", [], [])
    found.graph.node.append(helper.make_node("Loop", ["m", "c"], ["o"], body=inner))


def functions(found: onnx.ModelProto, count: int, last: int) -> None:
    """Each calls the next twice, and the last calls the one of that number."""
    for at in range(count):
        function = found.functions.add()
        function.domain, function.name = "own", f"f{at}"
        following = f"f{at + 1 if at + 1 < count else last}"
        node = helper.make_node(following, ["a"], ["b"], domain="own" if following != "f-1" else "")
        function.node.extend([node, node])
    found.graph.node.append(helper.make_node("f0", ["x"], ["z"], domain="own"))


def expanding(found: onnx.ModelProto) -> None:
    functions(found, 40, -1)


def circular(found: onnx.ModelProto) -> None:
    functions(found, 3, 0)


def opset(found: onnx.ModelProto) -> None:
    found.opset_import[0].version = 9_999


def short_tensor(found: onnx.ModelProto) -> None:
    found.graph.initializer[0].dims[0] = 1 << 30


def impossible_tensor(found: onnx.ModelProto) -> None:
    found.graph.initializer[0].dims[:] = [1 << 62, 1 << 62]


def renamed_input(found: onnx.ModelProto) -> None:
    found.graph.input[0].name = "other"


def other_datatype(found: onnx.ModelProto) -> None:
    found.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def other_shape(found: onnx.ModelProto) -> None:
    found.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 3
