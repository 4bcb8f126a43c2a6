"""A node as a process, on a real broker: it starts, and it ends when it is told to."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from chimera.agents.node import EX_SOFTWARE
from chimera.cli.kafka.server import EmbeddedKafka


@contextmanager
def started_node(
    bootstrap: str,
    prefix: str,
    folder: Path,
    *,
    cwd: Path | None = None,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Generator[subprocess.Popen[bytes]]:
    """A node with the models of `folder`, ready, in a process group of its own."""
    ready, log = folder / "ready", folder / "node.log"
    environment = os.environ | {
        "CHIMERA_KAFKA__BOOTSTRAP": bootstrap,
        "CHIMERA_KAFKA__TOPIC_PREFIX": prefix,
        "CHIMERA_KAFKA__GROUP": prefix,
        "CHIMERA_SERVING__MODELS_DIR": str(folder / "models"),
        "CHIMERA_STACK__DIR": str(folder / "stack"),
        **settings,
    }
    (folder / "models").mkdir(exist_ok=True)
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "chimera.cli"]
    subprocess.run([*command, "topics", "sync", "--apply"], env=environment, check=True)
    with log.open("wb") as out:
        node = subprocess.Popen(
            [*command, "node", "--ready-file", str(ready)],
            env=environment,
            stdout=out,
            stderr=out,
            cwd=cwd,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + 60
        while not ready.exists():
            assert node.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        yield node
    finally:
        if node.poll() is None:
            os.killpg(node.pid, signal.SIGKILL)
        node.wait()


def test_node_ends_when_it_is_told_to(kafka: str, prefix: str, tmp_path: Path) -> None:
    with started_node(kafka, prefix, tmp_path) as node:
        node.terminate()
        assert node.wait(timeout=30) == 0


def test_node_ends_when_it_is_told_to_also_without_a_broker(prefix: str, tmp_path: Path) -> None:
    with (
        EmbeddedKafka(is_brief=True) as broker,
        started_node(broker.bootstrap, prefix, tmp_path) as node,
    ):
        broker.kill()
        time.sleep(1)
        node.terminate()
        assert node.wait(timeout=60) in (0, EX_SOFTWARE)  # it may have given up by itself before
