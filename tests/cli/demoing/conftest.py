"""Digits and a plan to judge: image n is full of n, the first version knows it, the second says n + 1."""

import numpy as np
import pytest

from chimera.cli.demoing import requests
from chimera.cli.demoing.requests import Digits, Plan
from chimera.cli.demoing.versions import GOOD, WORSE
from tests.cli.demoing.records import DIGESTS

LIMIT_BYTES = 100_000


@pytest.fixture(scope="session")
def digits() -> Digits:
    images = np.repeat(np.arange(10, dtype=np.float32)[:, None], 64, axis=1)
    known = np.eye(10, dtype=np.float32)
    scores = {GOOD: known, WORSE: np.roll(known, 1, axis=1)}
    return Digits(images, np.arange(10), scores, DIGESTS)


@pytest.fixture(scope="session")
def plan(digits: Digits) -> Plan:
    return requests.plan(digits, 1_000, LIMIT_BYTES)
