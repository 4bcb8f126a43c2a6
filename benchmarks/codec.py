"""What decoding a request and encoding a response costs, beside the plain way with orjson.

`python -m benchmarks.codec` prints microseconds a record, the best of many repetitions: the work
itself, as near as a shared machine lets one see it. The request has 64 random FP32 (1.3 kB), the
response 10; batches of 256. `plain` parses with orjson into lists and checks nothing.
"""

import json
import timeit
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import orjson
from rich.console import Console
from rich.table import Table

from chimera.schemas.inference import Request, decode
from chimera.schemas.request_batches import decode_many
from chimera.schemas.responses import Computed, Output, encode_many
from chimera.schemas.tensors import Array, stack

BATCH = 256
REPEATS = 200
ALL_JSON = [-1] * BATCH


def main() -> None:
    """Measure, check on the way that all ways agree, and print."""
    random = np.random.default_rng(0)
    rows = random.random((BATCH, 64), dtype="<f4")
    flat = [_request(at, row.tolist()) for at, row in enumerate(rows)]
    table = Table("what", "us a record", title=f"codec, batch {BATCH}, {len(flat[0])} B requests")
    for name, values in _forms(flat, rows).items():
        _require(_decoded(values), rows)
        table.add_row(f"decode and stack, {name}", _cost(partial(_decoded, values)))
    table.add_row("decode one by one, exactly", _cost(lambda: [decode(value) for value in flat]))
    table.add_row("plain: orjson.loads, numpy.array", _cost(lambda: _plain(flat)))
    outputs = random.random((BATCH, 10), dtype="<f4")
    found = [it for it in decode_many(flat, ALL_JSON) if isinstance(it, Request)]
    computed = Computed("digits", "1", (Output("y", "FP32", outputs),))
    names, ones = [str(at) for at in range(BATCH)], [1] * BATCH
    table.add_row("encode", _cost(lambda: encode_many(computed, found, names, ones)))
    table.add_row("plain: orjson.dumps", _cost(lambda: _dumped(names, outputs)))
    Console().print(table)


def _request(at: int, data: object) -> bytes:
    given = {"name": "x", "shape": [1, 64], "datatype": "FP32", "data": data}
    return orjson.dumps({"id": str(at), "model_name": "digits", "inputs": [given]})


def _forms(flat: list[bytes], rows: Array) -> dict[str, Sequence[tuple[bytes, int]]]:
    nested = [_request(at, [row.tolist()]) for at, row in enumerate(rows)]
    spaced = [json.dumps(orjson.loads(value)).encode() for value in flat]
    poisoned = [*flat]
    for at in (17, 90, 200):  # 1 %: each has a string among its numbers
        poisoned[at] = poisoned[at].replace(b'"data":[', b'"data":["",')
    raw: list[tuple[bytes, int]] = []
    for at, row in enumerate(rows):
        size = {"binary_data_size": 256}
        given = {"name": "x", "shape": [1, 64], "datatype": "FP32", "parameters": size}
        head = orjson.dumps({"id": str(at), "model_name": "digits", "inputs": [given]})
        raw.append((head + row.tobytes(), len(head)))
    return {
        "flat JSON": [(value, -1) for value in flat],
        "nested JSON": [(value, -1) for value in nested],
        "JSON as json.dumps writes it": [(value, -1) for value in spaced],
        "flat JSON, 1 % bad": [(value, -1) for value in poisoned],
        "raw tensors": raw,
    }


def _decoded(wires: Sequence[tuple[bytes, int]]) -> Array:
    found = decode_many([value for value, _ in wires], [head for _, head in wires])
    return stack([it.inputs["x"] for it in found if isinstance(it, Request)])


def _require(found: Array, rows: Array) -> None:
    kept = rows if len(found) == BATCH else np.delete(rows, [17, 90, 200], axis=0)
    if found.tobytes() != kept.tobytes():
        raise AssertionError("the codec changed a number")


def _plain(values: Sequence[bytes]) -> Array:
    return np.array([orjson.loads(value)["inputs"][0]["data"] for value in values], "<f4")


def _dumped(names: Sequence[str], outputs: Array) -> list[bytes]:
    shape: dict[str, Any] = {"name": "y", "shape": [1, 10], "datatype": "FP32"}
    return [
        orjson.dumps(
            {"id": name, "model_name": "digits", "outputs": [{**shape, "data": row}]},
            option=orjson.OPT_SERIALIZE_NUMPY,
        )
        for name, row in zip(names, outputs, strict=True)
    ]


def _cost(work: Callable[[], object]) -> str:
    best = min(timeit.repeat(work, number=1, repeat=REPEATS))
    return f"{best / BATCH * 1e6:.2f}"


if __name__ == "__main__":
    main()
