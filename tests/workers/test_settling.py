import gc
import hashlib
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from chimera.schemas.claims import Claim
from chimera.schemas.errors import RequestError
from chimera.schemas.inference import Request
from chimera.schemas.tensors import layout
from chimera.workers.claims import Claims
from chimera.workers.settling import Settling
from chimera.workers.tasks import Held
from tests.workers.rig import work

DATA = np.arange(256, dtype="<f4").tobytes()
HELD = Held(1, work([b""] * 99))


def claimed(folder: Path, name: str = "data", **other: Any) -> Request:
    fields: dict[str, Any] = {
        "name": "x",
        "layout": layout("FP32", (1, 256)),
        "url": f"file://{folder}/{name}",
        "sha256": hashlib.sha256(DATA).hexdigest(),
        "size": len(DATA),
        **other,
    }
    return Request("m", None, "i", {}, claims=(Claim(**fields),))


class Woken:
    """Settled requests, waited for."""

    def __init__(self, folder: Path, budget_bytes: int = 1 << 20) -> None:
        (folder / "data").write_bytes(DATA)
        self._event = threading.Event()
        claims = Claims([f"file://{folder}/"], 1 << 20, 10)
        self.settling = Settling(claims, self._event.set, budget_bytes)
        self.found: dict[int, Request | RequestError] = {}

    def collect(self, count: int, within_s: float = 60) -> bool:
        end = time.monotonic() + within_s
        while len(self.found) < count and time.monotonic() < end:
            self._event.wait(0.05)
            self._event.clear()
            self.found |= {index: request for _, index, request in self.settling.settled()}
        return len(self.found) >= count


def test_nothing_asked_gives_nothing(tmp_path: Path) -> None:
    assert list(Woken(tmp_path).settling.settled()) == []


def test_settled_requests_and_errors_come_back(tmp_path: Path) -> None:
    woken = Woken(tmp_path)
    for index in range(20):
        woken.settling.settle(HELD, index, claimed(tmp_path))
    woken.settling.settle(HELD, 20, claimed(tmp_path, sha256="0" * 64))
    assert woken.collect(21)
    for index in range(20):
        request = woken.found[index]
        assert isinstance(request, Request)
        assert request.inputs["x"].array.tolist() == [list(range(256))]
    assert isinstance(woken.found[20], RequestError)


def test_fetches_wait_until_earlier_data_are_freed(tmp_path: Path) -> None:
    woken = Woken(tmp_path, budget_bytes=2 * len(DATA))
    for index in range(4):
        woken.settling.settle(HELD, index, claimed(tmp_path))
    assert woken.collect(2)
    assert not woken.collect(3, within_s=0.5)
    first = set(woken.found)
    woken.found = dict.fromkeys(first, RequestError())
    gc.collect()
    assert woken.collect(4)


def test_request_over_the_budget_is_fetched_alone(tmp_path: Path) -> None:
    woken = Woken(tmp_path, budget_bytes=1)
    woken.settling.settle(HELD, 0, claimed(tmp_path))
    assert woken.collect(1)


def test_refused_claims_give_their_room_back(tmp_path: Path) -> None:
    woken = Woken(tmp_path, budget_bytes=len(DATA))
    for index in range(8):
        woken.settling.settle(HELD, index, claimed(tmp_path, name="nothing"))
    assert woken.collect(8)
