"""What tests of executors share: models to serve, requests to send, and a pool that remembers."""

# pyright: reportPrivateUsage=false
# (a pool tells nobody what its executors have in flight, and what they are at)

import asyncio
import json
import struct
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from chimera.schemas import headers
from chimera.schemas.batches import Compression, encode
from chimera.schemas.errors import REQUEST_ERRORS
from chimera.schemas.manifest import Manifest, TensorSpec
from chimera.schemas.placements import Orders
from chimera.schemas.serving_settings import DispatchSettings, ServingSettings, ShadowsSettings
from chimera.schemas.settings import Settings
from chimera.schemas.work import BatchStory, Block, Deferred, Outcomes, Results, Work
from chimera.workers.births import Births
from chimera.workers.kinds import ONNX
from chimera.workers.models import write_model
from chimera.workers.pool import Pool
from chimera.workers.reports import Report
from chimera.workers.suspects import Doing

HOSTILE = (sys.executable, "-P", str(Path(__file__).with_name("hostile_executor.py")))
WITHIN_S = 30.0
TOPIC = "inference.requests"


def manifest(name: str = "digits", version: str = "1", **fields: Any) -> Manifest:
    """Of a model from [n, 2] to [n, 1], unless fields say otherwise."""
    given: dict[str, Any] = {
        "inputs": (TensorSpec("x", "FP32", (-1, 2)),),
        "outputs": (TensorSpec("y", "FP32", (-1, 1)),),
        "sha256": "0" * 64,
        **fields,
    }
    return Manifest(name, version, **given)


def write_hostile(models_dir: Path, name: str = "hostile", **fields: Any) -> None:
    """A model for the hostile executor."""
    content = fields.pop("content", b"any")
    write_model(models_dir, content, manifest(name, **fields))


def onnx_model(graph_of: Callable[[], onnx.GraphProto]) -> bytes:
    model = helper.make_model(graph_of(), opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return bytes(model.SerializeToString())


def sums(width: int = 2) -> bytes:
    """An ONNX model: y [n, 1] = the sum of each row of x [n, width], FP32."""

    def graph() -> onnx.GraphProto:
        ones = numpy_helper.from_array(np.ones((width, 1), "f4"), "ones")
        return helper.make_graph(
            [helper.make_node("MatMul", ["x", "ones"], ["y"])],
            "sums",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", width])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
            [ones],
        )

    return onnx_model(graph)


def request(
    row: Sequence[float] | Sequence[Sequence[float]], model: str = "hostile", **fields: Any
) -> bytes:
    """A request of one row, or of several."""
    rows = np.atleast_2d(np.array(row, "f4"))
    tensor = {"name": "x", "shape": rows.shape, "datatype": "FP32", "data": rows.ravel().tolist()}
    return json.dumps({"model_name": model, "inputs": [tensor], **fields}).encode()


def work(
    values: Sequence[bytes], lane: int = 1, start: int = 0, *, isolate: bool = False, **fields: Any
) -> Work:
    """Values as records of one partition, from offset `start` on."""
    count = len(values)
    given: dict[str, Any] = {
        "heads": [-1] * count,
        "deadlines": [0] * count,
        "extras": {},
        "entered_ns": time.monotonic_ns(),
        **fields,
    }
    offsets = list(range(start, start + count))
    return Work(lane, TOPIC, lane, offsets, list(values), isolate=isolate, **given)


def block(
    values: Sequence[bytes | None],
    lane: int = 1,
    start: int = 0,
    *,
    keys: Sequence[bytes | None] = (),
    encoded: bytes = b"",
    compression: Compression = "none",
) -> Block:
    """Values as one batch of a partition; `encoded`: a header that each record has."""
    count = len(values)
    tails = [headers.tail(value, bool(encoded), encoded) for value in values]
    sent = encode(keys or [b"k%d" % at for at in range(count)], tails, compression)
    raw = start.to_bytes(8, "big") + sent.sent_by(-1, -1, -1, transactional=False)[8:]
    return Block(
        lane, TOPIC, lane, start, start + count, count, 0, raw, entered_ns=time.monotonic_ns()
    )


def read_tail(tail: bytes) -> tuple[bytes, dict[str, bytes]]:
    """A record's value and headers, read by hand from Kafka's format."""
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = tail[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return (value >> 1) ^ -(value & 1)

    def text() -> bytes:
        nonlocal position
        size = varint()
        position += size
        return tail[position - size : position]

    value = text()
    found: dict[str, bytes] = {}
    for _ in range(varint()):
        name = text().decode()
        assert name not in found
        found[name] = text()
    assert position == len(tail)
    return value, found


class Rig:
    """A pool and all that it said. `async with Rig(...) as rig`."""

    def __init__(
        self,
        models_dir: Path,
        entry: Sequence[str] | None = HOSTILE,
        orders: Orders | None = None,
        shadows: ShadowsSettings = ShadowsSettings(),  # noqa: B008  # frozen
        births: Births | None = None,
        dispatch: DispatchSettings = DispatchSettings(),  # noqa: B008  # frozen
        **serving: Any,
    ) -> None:
        settings = Settings(
            serving=ServingSettings(models_dir=models_dir, devices=("cpu",), **serving),
            shadows=shadows,
            dispatch=dispatch,
        )
        self.pool = Pool(settings, self, entry=entry, births=births)
        self._orders = orders
        self.codes: dict[tuple[int, int], int] = {}
        self.bodies: dict[tuple[int, int], bytes] = {}
        self.order: list[tuple[int, int]] = []
        self.batches: list[tuple[BatchStory, list[int]]] = []
        self.suspects: list[tuple[int, list[int], str]] = []
        self.deaths: list[str] = []
        self.results: list[Results] = []
        self.unread: list[tuple[Block, list[int]]] = []
        self.deferred: list[Deferred] = []
        self.reports: list[Report] = []
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        await asyncio.wait_for(self.pool.start(self._orders), WITHIN_S)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pool.stop()

    def take_outcomes(self, outcomes: Outcomes) -> None:
        self.batches.append((outcomes.batch, outcomes.offsets))
        for offset, code, body in zip(
            outcomes.offsets, outcomes.codes, outcomes.bodies, strict=True
        ):
            key = (outcomes.lane, offset)
            assert key not in self.codes, f"{key} was answered twice"
            self.codes[key], self.bodies[key] = code, body
            self.order.append(key)
        self._changed.set()

    def take_results(self, results: Results) -> None:
        self.results.append(results)
        self._changed.set()

    def take_unread(self, block: Block, accused: Collection[int]) -> None:
        self.unread.append((block, sorted(accused)))
        self._changed.set()

    def take_deferred(self, deferred: Deferred) -> None:
        self.deferred.append(deferred)
        self._changed.set()

    def take_suspects(self, lane: int, offsets: list[int], reason: str) -> None:
        self.suspects.append((lane, offsets, reason))
        self._changed.set()

    def take_death(self, reason: str) -> None:
        self.deaths.append(reason)
        self._changed.set()

    def take_report(self, report: Report) -> None:
        self.reports.append(report)
        self._changed.set()

    async def until(self, condition: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        """Wait until what was said makes a condition true."""
        async with asyncio.timeout(within_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def computing(self, *offsets: int, lane: int = 1) -> None:
        """Wait until an executor computes just these."""
        async with asyncio.timeout(WITHIN_S):
            while not any(  # noqa: ASYNC110  # nothing announces it
                one._board.look().doing is Doing.COMPUTING
                and one.suspects() == {lane: set(offsets)}
                for one in self.pool._handles()
            ):
                await asyncio.sleep(0.005)

    def in_flight(self) -> tuple[int, int]:
        """Records and bytes that executors still have, as the pool counts them."""
        handles = list(self.pool._handles())
        return sum(one.records for one in handles), sum(one.bytes for one in handles)

    def waiting(self, lane: int = 1) -> set[int]:
        """Offsets that were handed back."""
        return {at for one in self.deferred if one.lane == lane for at in one.offsets}

    async def answered(self, count: int) -> None:
        await self.until(lambda: len(self.codes) >= count)

    def code(self, offset: int, lane: int = 1) -> str:
        """`ok`, or the error's code."""
        found = self.codes[lane, offset]
        return REQUEST_ERRORS[found - 1].code if found else "ok"

    def value(self, offset: int, lane: int = 1) -> Any:
        return json.loads(read_tail(self.bodies[lane, offset])[0])

    def number(self, offset: int, lane: int = 1) -> float:
        """The one number that a model returned."""
        return float(self.value(offset, lane)["outputs"][0]["data"][0])

    def headers(self, offset: int, lane: int = 1) -> dict[str, bytes]:
        return read_tail(self.bodies[lane, offset])[1]

    def failure(self, offset: int, lane: int = 1) -> Any:
        return json.loads(self.bodies[lane, offset])


def binary_request(
    row: Sequence[float], model: str = "hostile", **fields: Any
) -> tuple[bytes, int]:
    """A request with a raw tensor, and the length of its head."""
    tensor = {
        "name": "x",
        "shape": [1, len(row)],
        "datatype": "FP32",
        "parameters": {"binary_data_size": 4 * len(row)},
    }
    head = json.dumps({"model_name": model, "inputs": [tensor], **fields}).encode()
    return head + struct.pack(f"<{len(row)}f", *row), len(head)


REAL = ONNX
