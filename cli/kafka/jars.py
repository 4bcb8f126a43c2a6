"""Kafka's class path: the pinned jars, fetched once from Maven's central repository by jgo.

`jars.json` names each jar by its Maven coordinates with its size and SHA-256, so nothing is
resolved at run time, a start needs no network once the jars are there, and a jar that differs from
the one we tested is refused. Each is checked before it gets its name: an interrupted download is
taken up again, and two processes may fetch at once. `deploy/pin_kafka.py` writes the list.
`tests/cli/test_kafka_jars.py` proves it.
"""

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chimera.schemas.errors import ConfigurationError, KafkaUnavailable

if TYPE_CHECKING:
    from jgo.maven import MavenContext

Progress = Callable[[int, int], None]
"""Called with (bytes fetched, bytes in all), from several threads, one at a time."""

CENTRAL: dict[str, str] | None = None  # jgo's default repositories
_TRIES = 3
_AT_ONCE = 6
_CALL_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Jar:
    coordinates: str  # group:artifact:version
    sha256: str
    size_bytes: int

    @property
    def file_name(self) -> str:
        _group, artifact, version = self.coordinates.split(":")
        return f"{artifact}-{version}.jar"


@dataclass(frozen=True, slots=True)
class Pinned:
    """What one version of Kafka consists of."""

    kafka: str
    jars: tuple[Jar, ...]


def pinned() -> Pinned:
    """The list that this package ships."""
    read = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
    jars = tuple(Jar(row["jar"], row["sha256"], row["size_bytes"]) for row in read["jars"])
    return Pinned(read["kafka"], jars)


def class_path(
    folder: Path,
    progress: Progress | None = None,
    *,
    pin: Pinned | None = None,
    repositories: dict[str, str] | None = CENTRAL,
) -> list[Path]:
    """The jars' paths in `folder`, in the pinned order; what is missing is fetched first.

    Raises:
        ConfigurationError: `folder` cannot be written.
        KafkaUnavailable: a jar cannot be fetched, or is not the pinned one.
    """
    jars = (pin or pinned()).jars
    folder = folder.expanduser().absolute()
    missing = [jar for jar in jars if not _present(folder / jar.file_name, jar)]
    if missing:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _fetch(folder, missing, progress, repositories)
        except OSError as error:
            raise ConfigurationError(
                f"Kafka's jars cannot be kept in {folder} ({error}); "
                "set CHIMERA_KAFKA__JARS_DIR to a folder that can be written"
            ) from error
    return [folder / jar.file_name for jar in jars]


def missing_bytes(folder: Path, pin: Pinned | None = None) -> int:
    """How much `class_path` would fetch."""
    folder = folder.expanduser()
    jars = (pin or pinned()).jars
    return sum(jar.size_bytes for jar in jars if not _present(folder / jar.file_name, jar))


def _present(path: Path, jar: Jar) -> bool:
    return path.is_file() and path.stat().st_size == jar.size_bytes


def _fetch(
    folder: Path,
    jars: list[Jar],
    progress: Progress | None,
    repositories: dict[str, str] | None,
) -> None:
    counter = _Counter(sum(jar.size_bytes for jar in jars), progress)
    with (
        tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder) as scratch,
        ThreadPoolExecutor(_AT_ONCE) as threads,
    ):
        fetcher = _Fetcher(folder, Path(scratch), counter, repositories)
        futures = [threads.submit(fetcher.fetch, jar) for jar in jars]
        try:
            for future in futures:
                future.result()
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise


class _Counter:
    """Adds what several threads fetched."""

    def __init__(self, total_bytes: int, progress: Progress | None) -> None:
        self._total_bytes = total_bytes
        self._progress = progress
        self._lock = threading.Lock()
        self._done_bytes = 0
        self.add(0)

    def add(self, size_bytes: int) -> None:
        with self._lock:
            self._done_bytes += size_bytes
            if self._progress is not None:
                self._progress(self._done_bytes, self._total_bytes)


class _Fetcher:
    def __init__(
        self,
        folder: Path,
        scratch: Path,
        counter: _Counter,
        repositories: dict[str, str] | None,
    ) -> None:
        self._folder = folder
        self._scratch = scratch
        self._counter = counter
        self._repositories = repositories

    def fetch(self, jar: Jar) -> None:
        reason = ""
        for number in range(_TRIES):
            attempt = _Attempt(self._counter)
            with attempt:
                reason = self._once(jar, self._scratch / jar.file_name / str(number), attempt)
            if not reason:
                return
        raise KafkaUnavailable(
            f"{jar.coordinates} cannot be fetched ({reason}); the embedded Kafka needs the network "
            "once: try again, or set CHIMERA_KAFKA__BOOTSTRAP to a cluster of your own"
        )

    def _once(self, jar: Jar, scratch: Path, attempt: "_Attempt") -> str:
        """Fetch one jar and put it in its place; else why not."""
        import requests

        group, artifact, version = jar.coordinates.split(":")
        maven = _maven(scratch, self._repositories, attempt.reading)
        try:
            fetched = maven.project(group, artifact).at_version(version).artifact().resolve()
        except (requests.RequestException, RuntimeError) as error:
            return str(error)[:200]
        found = hashlib.sha256(fetched.read_bytes()).hexdigest()
        if found != jar.sha256:
            return f"its SHA-256 is {found}, pinned is {jar.sha256}"
        os.replace(fetched, self._folder / jar.file_name)
        attempt.succeeded = True
        return ""


class _Attempt:
    """Takes back what a failed attempt has counted."""

    def __init__(self, counter: _Counter) -> None:
        self._counter = counter
        self._counted_bytes = 0
        self.succeeded = False

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        if not self.succeeded:
            self._counter.add(-self._counted_bytes)

    @contextmanager
    def reading(self, _file_name: str, _size_bytes: int) -> Generator[Callable[[int], None]]:
        yield self._add

    def _add(self, size_bytes: int) -> None:
        self._counted_bytes += size_bytes
        self._counter.add(size_bytes)


def _maven(
    scratch: Path,
    repositories: dict[str, str] | None,
    reading: Callable[[str, int], AbstractContextManager[Callable[[int], None]]],
) -> "MavenContext":
    """jgo without its environments: those would look for a JDK to classify jars, and fetch one."""
    from jgo.maven import MavenContext, PythonResolver

    return MavenContext(
        resolver=PythonResolver(progress_callback=reading),
        repo_cache=scratch,
        local_repos=[],
        remote_repos=repositories,
        timeout=_CALL_TIMEOUT_S,
    )
