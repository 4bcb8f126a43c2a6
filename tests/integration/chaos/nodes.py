"""Nodes as processes, and the supervisor that starts them again the moment they end.

A node is a command line and an environment, in a process group of its own. What it says is kept in
one JSON log per node; what it says happened (fences, halts, deaths) is counted from there.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import psutil

from tests.forks import Fork
from tests.integration.chaos.background import Background

CHIMERA = (sys.executable, "-c", "from chimera.cli.main import main; main()")
NODE = (*CHIMERA, "node")
POLL_S = 0.03
STOP_WITHIN_S = 20.0
QUICK_EXIT_S = 2.0  # a node that ends sooner is started again only after a pause
PAUSE_S = 0.3
EX_SOFTWARE = 70

Environment = Mapping[str, str]
NOTHING: Environment = {}


class Node:
    """One place where a node runs; it keeps its log over restarts."""

    def __init__(self, name: str, command: Sequence[str], env: Environment, folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.exits: list[int] = []
        self.wanted = False
        self._command = list(command)
        self._env = dict(env)
        self._process: subprocess.Popen[bytes] | Fork | None = None
        self._started = 0.0
        self._log: IO[bytes] | None = None
        self._lock = threading.RLock()  # between a campaign and the supervisor's thread

    def start(self, extra: Environment = NOTHING) -> None:
        """Also after `retire`: it waits for the end of the last life."""
        with self._lock:
            if self.running:
                self.stop()
            self._start(extra)

    def restart(self, extra: Environment, *, group: bool) -> int:
        """kill -9, and a life with `extra`, as it may be a fail-point; its number among `exits`."""
        with self._lock:
            process = self._process
            if process is not None:
                self.signal(signal.SIGKILL, group=group)
                self.exits.append(process.wait())
            self._start(extra)
            return len(self.exits)

    def _start(self, extra: Environment = NOTHING) -> None:
        self._log = self._log or self.log.open("ab")
        self._started = time.monotonic()
        self.wanted = True
        environment = {**os.environ, **self._env, **extra}
        if self.exits and self._command[:-1] == list(CHIMERA):  # begun anew, it need not import
            nothing = Path(os.devnull)
            self._process = Fork(self._command[-1:], environment, nothing, self.log, self.log)
            return
        self._process = subprocess.Popen(
            self._command,
            env=environment,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: int, *, group: bool = False) -> None:
        """To the node alone, or to its executors too."""
        if self.running:
            (os.killpg if group else os.kill)(self.pid, number)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for one that does not obey."""
        with self._lock:
            self.wanted = False
            process, self._process = self._process, None
            if process is None:
                return
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGCONT)
                os.kill(process.pid, signal.SIGTERM)
                try:
                    process.wait(STOP_WITHIN_S)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            self.exits.append(process.wait())

    def close(self) -> None:
        self.stop()
        if self._log is not None:
            self._log.close()
            self._log = None

    def revive(self) -> None:
        """Start again if it ended; called all the time."""
        with self._lock:
            process = self._process
            if not self.wanted or process is None or process.poll() is None:
                return
            if time.monotonic() - self._started < QUICK_EXIT_S and process.wait() > 0:
                time.sleep(PAUSE_S)
            self.exits.append(process.wait())
            self._start()

    def executors(self) -> list[psutil.Process]:
        """Its child processes that compute."""
        try:
            children = psutil.Process(self.pid).children() if self.running else []
            return [child for child in children if _is_executor(child)]
        except psutil.NoSuchProcess:
            return []

    def events(self) -> Iterable[dict[str, Any]]:
        """What it logged, of all its lives."""
        if not self.log.exists():
            return
        with self.log.open("rb") as lines:
            for line in lines:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                if isinstance(event, dict):
                    yield event

    def count(self, name: str) -> int:
        """How often it logged this event."""
        return sum(event.get("event") == name for event in self.events())


def _is_executor(process: psutil.Process) -> bool:
    try:
        return "executor" in " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


def marked(folder: Path) -> list[psutil.Process]:
    """Processes that live and have this folder in their environment, as their campaign's mark."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("CHIMERA_CHAOS_RUN") == str(folder):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


class Supervisor(Background):
    """A context: keeps its nodes alive; all are gone when it is left."""

    def __init__(
        self,
        folder: Path,
        environment: Environment,
        command: Sequence[str] = NODE,
        called: str = "node",
    ) -> None:
        super().__init__("supervisor")
        self._called = called
        self.nodes: list[Node] = []
        self._folder = folder
        self._environment = environment
        self._command = command

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self.end(error)
        finally:
            for node in self.nodes:
                node.close()

    def add(self, extra: Environment = NOTHING) -> Node:
        """Start another node; `extra` is for its first life alone."""
        name = f"{self._called}{len(self.nodes)}"
        node = Node(name, self._command, self._environment, self._folder)
        node.start(extra)
        self.nodes.append(node)
        return node

    def retire(self, node: Node) -> None:
        """Ask a node to leave; returns at once, it finishes what it has decided."""
        node.wanted = False
        node.signal(signal.SIGTERM)

    def exits(self) -> Counter[int]:
        return Counter(code for node in self.nodes for code in node.exits)

    def events(self, *names: str) -> Counter[str]:
        """How often each of these log events was written, by all nodes."""
        found = (event.get("event") for node in self.nodes for event in node.events())
        return Counter(event for event in found if event in names)

    def _run(self) -> None:
        for _ in self._every(POLL_S):
            for node in list(self.nodes):
                node.revive()
