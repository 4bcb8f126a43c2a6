"""Writers that end by SIGKILL at any moment: whatever bears a digest's name is whole."""

import hashlib
import io
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chimera.stores.artifacts import Artifacts
from chimera.stores.garbage import collect

KILLS = 12
WRITER = """
import io, sys
from pathlib import Path
from chimera.stores.artifacts import Artifacts

artifacts = Artifacts(sys.argv[1], Path(sys.argv[1] + "-cache"))
print("ready", flush=True)
for at in range(1_000_000):
    artifacts.put(io.BytesIO(b"%d " % at * 400_000))
"""


@pytest.mark.timeout(300)
def test_killed_writer_leaves_only_whole_blobs(tmp_path: Path) -> None:
    store, chance = tmp_path / "store", random.Random(0)
    leftovers = 0
    for _ in range(KILLS):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(store)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout
        assert writer.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0.005, 0.15))
        writer.kill()
        writer.wait()
        writer.stdout.close()
        leftovers = max(leftovers, len(_files(store / "incoming")))
    artifacts = Artifacts(str(store), tmp_path / "cache")
    blobs = _files(store / "blobs")
    assert blobs
    for blob in blobs:
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    assert leftovers, "no writer was caught in the middle: the test proved nothing"
    kept = artifacts.put(io.BytesIO(b"kept")).sha256
    collected = collect(artifacts, {kept}, grace_s=-1)
    assert collected.leftovers >= leftovers
    assert [path.name for path in _files(store)] == [kept]


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
