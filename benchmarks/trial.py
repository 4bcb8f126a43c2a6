"""One trial: fresh topics, one contender, one reader; its processes are gone when it ends.

    throughput: fill the requests topic, start reader and contender, wait until all is visible
    latency:    start the contender, probe it, then an open loop beside a reader that reads along

Raises `NotRun` when a contender cannot be started or ends before its work is done.
"""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Producer

from benchmarks.broker import QUIET, Broker
from benchmarks.contenders import (
    Command,
    Contender,
    Place,
    our_program,
    our_settings,
)
from benchmarks.environments import ROOT, NotRun
from benchmarks.load import Requests, fill
from benchmarks.reader import Reader
from benchmarks.usage import Sampler
from chimera.cli.stack.child import Child

READY_S = 90.0  # a contender that answers no probe for so long is not running
_serial = itertools.count(1)


class Running:
    """A contender's processes; each leads a session of its own and dies with this one."""

    def __init__(self, commands: list[Command], folder: Path) -> None:
        self._logs = [folder / f"process-{index}.log" for index in range(len(commands))]
        self.processes: list[Child] = []
        try:
            for command, log in zip(commands, self._logs, strict=True):
                told = {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"} | command.env
                self.processes.append(Child(command.argv, log_file=log, environment=told))
        except OSError as error:
            self.stop()
            raise NotRun(str(error)) from error

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self.processes]

    def check(self) -> None:
        """Raises: NotRun: one of them has ended."""
        for process, log in zip(self.processes, self._logs, strict=True):
            if process.exit_code is not None:
                raise NotRun(f"exited with {process.exit_code}: {_last_line(log)}")

    def last_words(self) -> str:
        return "; ".join(_last_line(log) for log in self._logs)

    def stop(self) -> None:
        """Kill them with all their children, and wait until they are gone."""
        for process in self.processes:
            if process.exit_code is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        for process in self.processes:
            process.wait(10)


class Trial:
    """Topics of its own and a contender that runs on them."""

    def __init__(self, broker: Broker, contender: Contender, place: Place) -> None:
        self.broker = broker
        self.contender = contender
        self.place = place
        self.sampler: Sampler | None = None  # of the measured part, once it began
        self._stack = ExitStack()

    def start(self) -> Running:
        if self.contender.environment is not None:
            self.contender.environment.interpreter()
        running = Running(self.contender.commands(self.place), self.place.folder)
        self._stack.callback(running.stop)
        return running

    def make_topics(self) -> None:
        place = self.place
        if not self.contender.ours:
            self.broker.create([place.requests, place.results], place.partitions)
            return
        command = [*our_program(), "topics", "sync", "--apply"]
        env = os.environ | our_settings(place)
        done = subprocess.run(
            command, check=False, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise NotRun(f"chimera topics sync: {' '.join(last)}")

    def close(self) -> None:
        self._stack.close()

    def throughput(self, count: int, limit_s: float, patience_s: float = 10.0) -> dict[str, Any]:
        """Requests per second over a backlog (a burst for those that cannot start on one).

        It ends when all results are visible, or none came for `patience_s`, or at the limit.
        """
        place, headers = self.place, list(self.contender.headers)
        self.make_topics()
        if not self.contender.burst:
            fill(place.bootstrap, place.requests, count, headers)
        out = place.folder / "count.json"
        watch = ["--count", str(count), "--limit-s", str(limit_s), "--patience-s", str(patience_s)]
        if self.contender.burst:
            running = self.start()
            self.await_probes(running)
            reader = self._reader("count", out, watch)
            fill(place.bootstrap, place.requests, count, headers)
        else:
            reader = self._reader("count", out, watch)
            running = self.start()
        with self.sampled(running) as sampler:
            self._wait(reader, running, limit_s + 120)
        report: dict[str, Any] = orjson.loads(out.read_bytes())
        if not report["visible"]:
            raise NotRun(f"no result became visible: {running.last_words()}")
        span = report["begins"], report["ends"]
        for root in ("contender", "broker"):
            used = sampler.cpu_between(root, *span)
            report[f"{root}_cpu_us"] = round(used / max(report["counted"], 1) * 1e6, 2)
        return report

    def latency(self, rate: float, seconds: float, warmup_s: float) -> dict[str, Any]:
        """Latency from the scheduled send time on, at an open-loop rate."""
        self.make_topics()
        running = self.start()
        self.await_probes(running)
        count = int(rate * (seconds + warmup_s))
        start = time.monotonic() + 2.0
        loop = self.open_loop(count, start, rate, warmup_s=warmup_s)
        with self.sampled(running):
            return loop(running)

    def open_loop(
        self, count: int, start: float, rate: float, *, warmup_s: float, keep: Path | None = None
    ) -> Callable[[Running], dict[str, Any]]:
        """Begin it: a producer and a reader; what comes back waits for both, and has the report."""
        same = ["--count", str(count), "--start", str(start), "--rate", str(rate)]
        out, sent = self.place.folder / "latency.json", self.place.folder / "sent.json"
        kept = ["--keep", str(keep)] if keep is not None else []
        reader = self._reader("latency", out, [*same, "--warmup-s", str(warmup_s), *kept])
        producer = self._module("load", "paced", self.place.requests, sent, same)
        begins, ends = start + warmup_s, start + count / rate

        def report(running: Running) -> dict[str, Any]:
            self._wait(reader, running, ends - time.monotonic() + 60)
            producer.wait(60)
            found: dict[str, Any] = orjson.loads(out.read_bytes())
            found["producer"] = orjson.loads(sent.read_bytes())
            found["begins"], found["ends"] = begins, ends
            if self.sampler is not None:
                for root in ("contender", "broker"):
                    used = self.sampler.cpu_between(root, begins, ends)
                    found[f"{root}_cpu_share"] = round(used / (ends - begins), 3)
            return found

        return report

    def await_probes(self, running: Running) -> None:
        """Send probes until a result of one is visible, so that start-up is over."""
        producer = Producer({"bootstrap.servers": self.place.bootstrap, **QUIET})
        reader = Reader(self.place.bootstrap, self.place.results)
        ends = time.monotonic() + READY_S
        for number in itertools.count():
            value = Requests().value(number)
            producer.produce(
                self.place.requests,
                value,
                key=b"probe-%d" % number,
                headers=list(self.contender.headers),
            )
            producer.flush(10)
            if all(reader.stable_ends()):  # one result in each partition at least
                return
            running.check()
            if time.monotonic() > ends:
                words = running.last_words()
                raise NotRun(f"no result of a probe within {READY_S:.0f} s: {words}")
            time.sleep(0.1)

    def sampled(self, running: Running, more: dict[str, list[int]] | None = None) -> Sampler:
        """Of the contender and the broker, and `more` trees by name."""
        process = self.broker.process()
        roots = {"contender": running.pids, "broker": [process.pid] if process else []}
        roots |= more or {}
        self.sampler = Sampler(roots)
        return self.sampler

    def _reader(self, how: str, out: Path, more: list[str]) -> subprocess.Popen[bytes]:
        reader = self._module("reader", how, self.place.results, out, more)
        assert reader.stdout is not None
        if reader.stdout.readline() != b"ready\n":
            raise RuntimeError(f"the reader did not start: {self.place.folder}")
        return reader

    def _module(
        self, module: str, how: str, topic: str, out: Path, more: list[str]
    ) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", f"benchmarks.{module}", how, *more, "--out", str(out)]
        argv += ["--bootstrap", self.place.bootstrap, "--topic", topic]
        process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE)
        self._stack.enter_context(process)  # closes its pipe and waits for it
        self._stack.callback(process.kill)
        return process

    def _wait(self, reader: subprocess.Popen[bytes], running: Running, limit_s: float) -> None:
        ends = time.monotonic() + limit_s
        while reader.poll() is None:
            running.check()
            if time.monotonic() > ends:
                raise NotRun(f"not done within {limit_s:.0f} s")
            time.sleep(0.2)
        if reader.returncode:
            raise RuntimeError(f"the reader exited with {reader.returncode}")


@contextmanager
def trial(
    broker: Broker, contender: Contender, *, models_dir: Path, work: Path
) -> Generator[Trial]:
    """A trial whose processes and topics are gone afterwards, whatever happened in it."""
    prefix = f"bench-{os.getpid()}-{next(_serial)}-"
    folder = work / f"{prefix}{contender.name.replace(' ', '-')}"
    folder.mkdir(parents=True)
    place = Place(broker.bootstrap, prefix, contender.partitions, models_dir, folder)
    found = Trial(broker, contender, place)
    try:
        yield found
    finally:
        found.close()
        broker.delete(prefix)


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "no output")[:300]
