"""An executor: the process that decodes requests, runs models on one device, and encodes results.

    configured ── models loaded ── Started ── loop: take frames, decode, queue, run the next batch

It has one thread, and no Kafka client (of aiokafka only the parser of records), no event loop, no
torch. `workers/births.py` starts it with a socket and a board, and it ends when the node closes the
socket or dies. Beside another that answers it starts in a thread that gives way (`aside`). Ctrl-C
and SIGTERM are for the node to act on. What it cannot survive (a crash, a hang, memory) is the
node's to notice; the board says who was at work. `tests/workers/test_pool.py` and
`test_executor_deaths.py` run it.
"""

import ctypes
import gc
import importlib
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import structlog

from chimera.schemas.errors import (
    ChimeraError,
    ConfigurationError,
)
from chimera.schemas.work import Loaded, Started
from chimera.workers import frames
from chimera.workers.aside import aside
from chimera.workers.backends.protocol import DeviceLost, Loader
from chimera.workers.batching import Policy
from chimera.workers.claims import Claims
from chimera.workers.computation import Computation
from chimera.workers.configuration import Configuration
from chimera.workers.deaths import EX_MEMORY
from chimera.workers.frames import BrokenFrame, Kind
from chimera.workers.ledger import Ledger
from chimera.workers.link import Closed, Link
from chimera.workers.loop import BEAT_S, Loop
from chimera.workers.memory import taken_bytes
from chimera.workers.models import find
from chimera.workers.placed import find_placed
from chimera.workers.repertoire import load
from chimera.workers.settling import Settling
from chimera.workers.suspects import Board
from chimera.workers.tenant_keys import TenantKeys

log = structlog.get_logger(__name__)

GC_AFTER = 50_000  # new objects; the default, 700, looks through batches that are about to go
PR_SET_PDEATHSIG = 1
EX_SOFTWARE, EX_UNAVAILABLE = 70, 69

MakeLoader = Callable[[str, int, tuple[str, ...]], Loader]
"""Device, compute threads, and torch definitions that may be imported; a loader out."""


def main(
    arguments: list[str], make_loader: MakeLoader, prepare: Callable[[], object] = lambda: None
) -> int:
    """Run an executor on the file descriptors that its node passed; returns its exit status.

    `prepare`: what can be done before it is known what is to be computed.
    """
    started_ns = time.monotonic_ns()
    gc.disable()  # until it has started: libraries and models are there to stay
    link_fileno, board_fileno, node_pid, niceness = map(int, arguments)
    _end_with(node_pid)
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    for fileno in (link_fileno, board_fileno):
        os.set_inheritable(fileno, False)
    board = Board(board_fileno)
    with Link(socket.socket(fileno=link_fileno)) as link:
        board.beat()
        aside(prepare, niceness)
        try:
            _start(link, board, make_loader, started_ns, niceness).serve()
        except Closed:
            return 0
        except DeviceLost as error:
            log.error("device_lost", reason=str(error))
            return EX_UNAVAILABLE
        except MemoryError:
            log.error("executor_out_of_memory")
            return EX_MEMORY
        except ChimeraError as error:
            log.error("executor_failed", reason=str(error), error=type(error).__name__)
            return EX_SOFTWARE
    return 0


def _start(
    link: Link, board: Board, make_loader: MakeLoader, started_ns: int, niceness: int
) -> Loop:
    configuration = _configured(link, board)
    slot = configuration.slot
    if configuration.threads > 1:
        niceness = 0  # libraries start their own threads then, which would stay as nice
    make = partial(_make_loop, configuration, link, board, make_loader)
    try:
        loop, loaded = aside(make, niceness)
    except ConfigurationError as error:
        failed = Started(slot, os.getpid(), 0, failed=f"executor {slot}: {error}")
        link.send(frames.frame(Kind.STARTED, msgspec.json.encode(failed)))
        raise
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_AFTER, 20, 100)
    gc.enable()
    start_ms = (time.monotonic_ns() - started_ns) // 1_000_000
    report = Started(slot, os.getpid(), start_ms, loaded)
    link.send(frames.frame(Kind.STARTED, msgspec.json.encode(report)))
    return loop


def _configured(link: Link, board: Board) -> Configuration:
    """What the node says, once it does; the process is as it says."""
    configured = None
    while configured is None:
        board.beat()
        configured = link.receive(BEAT_S)
    if configured[0] is not Kind.CONFIGURE:
        raise BrokenFrame(f"{configured[0].name} before the configuration")
    configuration = msgspec.json.decode(configured[1], type=Configuration)
    _configure_logs(configuration)
    _offer_to_the_oom_killer()
    if configuration.memory_bytes is not None:
        resource.setrlimit(
            resource.RLIMIT_AS, (configuration.memory_bytes, configuration.memory_bytes)
        )
    return configuration


def _make_loop(
    configuration: Configuration, link: Link, board: Board, make_loader: MakeLoader
) -> tuple[Loop, tuple[Loaded, ...]]:
    """The loop, its models loaded and warm, and what to tell of each."""
    loader = make_loader(configuration.device, configuration.threads, configuration.definitions)
    claims = Claims(
        configuration.claim_prefixes,
        configuration.max_claim_bytes,
        configuration.claim_timeout_ms / 1000,
    )
    orders = configuration.orders
    repertoire, loaded = load(
        find_placed(orders.placements) if orders else find(Path(configuration.models_dir)),
        loader,
        Policy(configuration.max_batch_size, configuration.max_queue_delay_us),
        board,
        configuration.left_out,
        configuration.dispatch,
        partial(taken_bytes, configuration.device),
        configuration.deadly_tiers,
    )
    if orders:
        repertoire.direct(orders.traffic)
    computation = Computation(board, configuration.max_result_bytes)
    ledger = None
    if configuration.tenant_keys_dir is not None:
        ledger = Ledger(configuration.slot, TenantKeys(Path(configuration.tenant_keys_dir)))
    settling = Settling(claims, link.wake)
    return Loop(link, board, repertoire, computation, settling, configuration, ledger), loaded


def _end_with(node_pid: int) -> None:
    """Be killed when the node dies, however it does (Linux; elsewhere the socket's end tells)."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != node_pid:
        raise SystemExit("its node is gone")


def _offer_to_the_oom_killer() -> None:
    """If memory runs out, the kernel should end an executor rather than its node (Linux)."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")
    except OSError as error:
        log.debug("oom_score_not_set", reason=str(error))


def _configure_logs(configuration: Configuration) -> None:
    """To stderr, in the node's own format."""
    renderer = (
        structlog.processors.JSONRenderer()
        if configuration.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(configuration.log_level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(slot=configuration.slot)


def _onnx_loader(device: str, threads: int, definitions: tuple[str, ...]) -> Loader:
    from chimera.workers.backends.loaders import OnnxLoader

    return OnnxLoader(device, threads, definitions)


def run(arguments: list[str]) -> int:
    """An executor without torch; see `main`."""
    return main(arguments, _onnx_loader, _import_libraries)


def _import_libraries() -> None:
    """While the node finds out what to load."""
    importlib.import_module("chimera.workers.backends.loaders")
