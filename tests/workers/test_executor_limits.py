"""What an executor may use: memory, libraries, the storage of claim checks."""

import asyncio
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import psutil
from onnx import TensorProto, helper

from chimera.schemas.manifest import TensorSpec
from chimera.workers.models import write_model
from tests.workers.rig import REAL, Rig, manifest, onnx_model, request, sums, work

WIDTH = 64
LIMIT_BYTES = 300 << 20
HEAVY = ("torch", "faust", "confluent_kafka", "pydantic", "onnxscript")

LISTS_MODULES = """
import sys
from chimera.workers import executor
from chimera.workers.backends import onnx_runtime
print(",".join(sys.modules))
"""


def test_executor_imports_nothing_heavy() -> None:
    async def modules() -> set[str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-c", LISTS_MODULES, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        return set(out.decode().strip().split(","))

    found = asyncio.run(modules())
    assert "onnxruntime" in found
    assert found.isdisjoint(HEAVY)


def test_executor_stays_small_under_load(tmp_path: Path) -> None:
    specs = (TensorSpec("x", "FP32", (-1, WIDTH)),)
    write_model(tmp_path, sums(WIDTH), manifest("sums", inputs=specs))
    values = [request([float(at)] * WIDTH, "sums") for at in range(512)]

    async def scenario() -> None:
        async with Rig(tmp_path, REAL) as rig:
            (report,) = rig.pool.executors
            process = psutil.Process(report.pid)
            sizes: list[int] = []
            for turn in range(40):
                for lane in range(1, 5):
                    rig.pool.submit(work(values, lane, turn * 512))
                await rig.answered((turn + 1) * 2048)
                sizes.append(process.memory_info().rss)
            assert max(sizes) < LIMIT_BYTES
            assert sizes[-1] < sizes[10] * 1.1
            assert set(rig.codes.values()) == {0}

    asyncio.run(scenario())


def expand() -> bytes:
    """An ONNX model: y [n, shape[0, 0]] of zeros; as large as its caller wants."""

    def graph() -> object:
        info = helper.make_tensor_value_info
        axes = helper.make_tensor("axes", TensorProto.INT64, [1], [0])
        return helper.make_graph(
            [
                helper.make_node("Squeeze", ["x", "axes"], ["shape"]),
                helper.make_node("ConstantOfShape", ["shape"], ["y"]),
            ],
            "expand",
            [info("x", TensorProto.INT64, [1, 2])],
            [info("y", TensorProto.FLOAT, [None, None])],
            [axes],
        )

    return onnx_model(graph)  # type: ignore[arg-type]


def test_request_that_needs_more_memory_than_there_is_is_answered(tmp_path: Path) -> None:
    specs = (TensorSpec("x", "INT64", (1, 2)),), (TensorSpec("y", "FP32", (-1, -1)),)
    write_model(tmp_path, expand(), manifest("expand", inputs=specs[0], outputs=specs[1]))

    def wanted(rows: int, columns: int) -> bytes:
        tensor = {"name": "x", "shape": [1, 2], "datatype": "INT64", "data": [rows, columns]}
        return json.dumps({"model_name": "expand", "inputs": [tensor]}).encode()

    async def scenario() -> None:
        async with Rig(tmp_path, REAL, executor_memory_bytes=4 << 30) as rig:
            rig.pool.submit(work([wanted(2, 2), wanted(1 << 15, 1 << 15), wanted(1, 3)]))
            await rig.answered(3)
            assert [rig.code(at) for at in range(3)] == ["ok", "out_of_memory", "ok"]
            assert not rig.deaths

    asyncio.run(scenario())


def test_claim_checks_are_settled_and_join_batches(tmp_path: Path) -> None:
    models, storage = tmp_path / "models", tmp_path / "storage"
    write_model(models, sums(), manifest("sums"))
    storage.mkdir()
    raw = np.array([1, 2], "<f4").tobytes()
    (storage / "x").write_bytes(raw)

    def claim(url: str) -> bytes:
        parameters = {
            "claim_url": url,
            "claim_sha256": hashlib.sha256(raw).hexdigest(),
            "claim_size": len(raw),
        }
        tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": parameters}
        return json.dumps({"model_name": "sums", "inputs": [tensor]}).encode()

    async def scenario() -> None:
        async with Rig(models, REAL, claim_prefixes=(f"file://{storage}/",)) as rig:
            good, bad = claim(f"file://{storage}/x"), claim(f"file://{tmp_path}/secret")
            rig.pool.submit(work([good, request((3, 4), "sums"), bad]))
            rig.pool.submit(work([good, bad], start=3, isolate=True))
            await rig.answered(5)
            codes = [rig.code(at) for at in range(5)]
            assert codes == ["ok", "ok", "schema_invalid", "ok", "schema_invalid"]
            assert [rig.number(at) for at in (0, 1, 3)] == [3, 7, 3]

    asyncio.run(scenario())
