"""A ClickHouse at an address, over HTTP, for tests that start and kill it: `clickhouse_server.py`."""

import subprocess
import sys
import time
from pathlib import Path

from chimera.cli.stack.ports import free_port

WITHIN_S = 60.0
COUNTS = "SELECT count(), uniqExact(offset), max(offset) + 1 FROM chimera.inference_log"
"""Rows, different ones, and how many there should be."""


class Server:
    """A process that is started and killed, always at the same address and with the same data."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.dsn = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        ready = self._folder / "ready"
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.integration.clickhouse_server"]
        self._process = subprocess.Popen([*command, str(self._folder), str(self._port), str(ready)])
        ends = time.monotonic() + WITHIN_S
        while not ready.exists():
            assert self._process.poll() is None and time.monotonic() < ends
            time.sleep(0.02)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
