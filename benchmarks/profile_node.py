"""Where a node's time goes, under the benchmarks' own load: cProfile of its loop, perf of the rest.

    python -m benchmarks.profile_node throughput [--perf] [--guarantee at_least_once] [--lines 40]
    python -m benchmarks.profile_node latency --rate 1000

Without `--perf` the node runs under cProfile for `--seconds`, from `--after` seconds on, and the
dearest functions are printed. It makes every call dearer: good to find what is called too often,
not to measure speed; time in C code counts for its caller. With `--perf` (Linux's `perf`, no
change to the node) node, executors and broker are sampled together, by process and by symbol.
"""

import argparse
import cProfile
import pstats
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

from benchmarks import model
from benchmarks.broker import Broker
from benchmarks.contenders import Command, Contender, Place, node
from benchmarks.environments import own_interpreter
from benchmarks.trial import trial


class Span:
    """A profile of this thread that an alarm starts and the next alarm writes."""

    def __init__(self, out: Path, seconds: float) -> None:
        self._out = out
        self._seconds = seconds
        self._profile: cProfile.Profile | None = None

    def on_alarm(self, *_: object) -> None:
        if self._profile is None:
            self._profile = cProfile.Profile()
            signal.setitimer(signal.ITIMER_REAL, self._seconds)
            self._profile.enable()
        else:
            self._profile.disable()
            self._profile.dump_stats(self._out)


def serve(out: Path, after_s: float, seconds: float) -> None:
    """Run `chimera node` here and profile its thread for a while; the node goes on afterwards."""
    from chimera.cli.node import node as run

    signal.signal(signal.SIGALRM, Span(out, seconds).on_alarm)
    signal.setitimer(signal.ITIMER_REAL, after_s)
    run(None, None, None)


def profiled(guarantee: str, executors: int, out: Path, spans: tuple[float, float]) -> Contender:
    """Our node, started through `serve`."""

    def commands(place: Place) -> list[Command]:
        (plain,) = node(guarantee, executors=executors)(place)
        argv = [str(own_interpreter()), "-m", "benchmarks.profile_node", "serve"]
        argv += ["--out", str(out), "--after", str(spans[0]), "--seconds", str(spans[1])]
        return [Command(argv, plain.env)]

    return Contender(guarantee, guarantee, commands, ours=True)


def perf(out: Path, after_s: float, seconds: float) -> None:
    """Sample the whole machine by the clock, which works in virtual machines as well."""
    command = ["perf", "record", "-q", "-a", "-g", "-e", "cpu-clock", "-F", "499", "-o", str(out)]
    done = threading.Event()
    done.wait(after_s)
    subprocess.run([*command, "--", "sleep", str(seconds)], check=True)


def show(path: Path, lines: int, *, sampled: bool) -> None:
    if sampled:
        report = ["perf", "report", "-i", str(path), "--no-children", "-g", "none", "--stdio"]
        for order in ("comm", "comm,dso,symbol"):
            done = subprocess.run(
                [*report, "--sort", order], check=True, stdout=subprocess.PIPE, text=True
            )
            rows = [row for row in done.stdout.splitlines() if row and not row.startswith("#")]
            print(f"\nby {order}", *rows[:lines], sep="\n")
        return
    for order in ("tottime", "cumulative"):
        pstats.Stats(str(path)).strip_dirs().sort_stats(order).print_stats(lines)


def under_load(given: argparse.Namespace) -> None:
    """One trial with a profile of it."""
    if given.perf and shutil.which("perf") is None:
        sys.exit("perf is not installed")
    spans = given.after, given.seconds
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chimera-profile-")))
        model.write(work / "models")
        out = work / "profile"
        contender = profiled(given.guarantee, given.executors, out, spans)
        if given.perf:
            commands = node(given.guarantee, executors=given.executors)
            contender = Contender(given.guarantee, given.guarantee, commands, ours=True)
            threading.Thread(target=perf, args=(out, *spans), daemon=True).start()
        with trial(
            Broker(given.bootstrap), contender, models_dir=work / "models", work=work
        ) as one:
            if given.what == "throughput":
                print(one.throughput(given.requests, 180.0))
            else:
                print(one.latency(given.rate, given.after + given.seconds, 0.0))
        show(out, given.lines, sampled=given.perf)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["throughput", "latency", "serve"])
    parser.add_argument("--bootstrap", default="127.0.0.1:19092")
    parser.add_argument("--guarantee", default="exactly_once")
    parser.add_argument("--executors", type=int, default=2)
    parser.add_argument("--requests", type=int, default=500_000)
    parser.add_argument("--rate", type=float, default=1_000.0)
    parser.add_argument("--after", type=float, default=6.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--lines", type=int, default=40)
    parser.add_argument("--perf", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.what == "serve":
        serve(given.out, given.after, given.seconds)
    else:
        under_load(given)


if __name__ == "__main__":
    main()
