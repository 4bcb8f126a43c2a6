"""An executor whose models misbehave on demand; tests run it in place of the real one.

A request has one row of two numbers: what to do, and a number that comes back, plus one. The model
`slow` takes 50 ms a batch; one whose file says `takes 64` holds so many MiB; a tier is
loaded only once nothing called `hold` lies in its folder. What is to be done from
`SHADOW` on the version `shadow` does alone. A value with `die-decoding` in it ends the process while
it is decoded.
"""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from chimera.schemas import request_batches
from chimera.schemas.errors import ConfigurationError, RequestError
from chimera.schemas.inference import Request
from chimera.schemas.manifest import Manifest
from chimera.schemas.placements import Variant
from chimera.schemas.tensors import Array
from chimera.workers import executor
from chimera.workers.backends.protocol import DeviceLost
from chimera.workers.deaths import EX_MEMORY

FINE, ABORT, HANG, RAISE, TOO_BIG, TOO_MANY, LOST = range(7)
SLEEP, HUGE, FAST_FAILS, OUTAGE, DIFFERS, STARVE, FAST_ABORTS, FAST_HANGS = range(7, 15)
SHADOW = 100


class Hostile:
    def __init__(self, manifest: Manifest, tier: str = "test", folder: str = "") -> None:
        self.tier = tier
        self._switch = Path(folder) / "outage"
        self.held = b""
        self._delay_s = 0.05 if manifest.name == "slow" else 0.0
        self._is_shadow = manifest.version == "shadow"

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        (rows,) = inputs
        time.sleep(self._delay_s)
        orders = rows[:, 0].astype(int)
        orders = np.where(orders < SHADOW, orders, orders - SHADOW if self._is_shadow else FINE)
        wanted = set(orders.tolist())
        if ABORT in wanted:
            os.abort()
        if STARVE in wanted:
            os._exit(EX_MEMORY)
        if HANG in wanted:
            time.sleep(3600)
        if SLEEP in wanted:
            time.sleep(0.5)
        if FAST_FAILS in wanted and self.tier == "onnx-cpu":
            raise ZeroDivisionError("this tier is broken")
        if FAST_ABORTS in wanted and self.tier == "onnx-cpu":
            os.abort()
        if FAST_HANGS in wanted and self.tier == "onnx-cpu":
            time.sleep(3600)
        if OUTAGE in wanted and self._switch.exists():
            raise ZeroDivisionError("everything is broken")
        if RAISE in wanted:
            raise ZeroDivisionError("poison")
        if TOO_BIG in wanted or (TOO_MANY in wanted and len(rows) > 2):
            raise MemoryError
        if LOST in wanted:
            raise DeviceLost("an illegal memory access")
        width = 100_000 if HUGE in wanted else 1
        found = rows[:, 1:] + 1 + (orders == DIFFERS)[:, None].astype("f4")
        return [np.repeat(found, width, axis=1)]


class Loader:
    def load(self, manifest: Manifest, model: bytes) -> Hostile:
        if model == b"dies while it is loaded":
            os.abort()
        made = Hostile(manifest)
        if model.startswith(b"takes "):
            made.held = b"\1" * (int(model.split()[1]) << 20)
        return made

    def open(self, manifest: Manifest, source: bytes, variant: Variant) -> Hostile:
        while Path(variant.folder, "hold").exists():
            time.sleep(0.01)
        made = Hostile(manifest, variant.name, variant.folder)
        made.held = self.load(manifest, source).held
        return made


def make_loader(device: str, threads: int, definitions: tuple[str, ...]) -> Loader:
    if device != "cpu":
        raise ConfigurationError(f"there is no {device}")
    return Loader()


_decode_many = request_batches.decode_many


def decode_many(
    values: Sequence[bytes],
    heads: Sequence[int],
    extras: Mapping[int, Mapping[str, str]] = MappingProxyType({}),
) -> list[Request | RequestError]:
    if any(b"die-decoding" in value for value in values):
        os.abort()
    return _decode_many(values, heads, extras)


if __name__ == "__main__":
    request_batches.decode_many = decode_many
    raise SystemExit(executor.main(sys.argv[1:], make_loader))
