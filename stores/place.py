"""A place behind fsspec where files appear whole: a folder, a bucket, memory.

    incoming/<random>     what is being written; a process that died left it
    <name>                what was published: moved there in one step, once all of it was written

In a folder the step is a rename, and what was written is on the disk before it (fsync). Object
stores make an object appear when its upload ends, and move by copying within the store; a move that
broke off leaves the name as it was. Whatever a store's client raises becomes `ArtifactsUnavailable`.
`tests/stores/test_artifacts.py` and `test_artifacts_killed.py`.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (fsspec ships no type information)

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import IO, Any

import fsspec  # type: ignore[import-untyped]  # ships no type information
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]  # the same

from chimera.schemas.errors import (
    ArtifactMissing,
    ArtifactsUnavailable,
    ChimeraError,
    ConfigurationError,
)

_INCOMING = "incoming"


class Place:
    """Files by name below `url`; names are relative, with slashes."""

    def __init__(self, url: str) -> None:
        """Raises ConfigurationError: fsspec knows no such kind of URL, or lacks its library."""
        try:
            system, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except (ValueError, ImportError) as error:
            raise ConfigurationError(f"CHIMERA_ARTIFACTS__URL: {url!r}: {error}") from None
        self._system: Any = system
        self._root: str = root.rstrip("/")
        self.url = url
        self.is_local = isinstance(system, LocalFileSystem)

    def path(self, name: str) -> str:
        """As the file system calls it; of a local place, a path."""
        return f"{self._root}/{name}"

    @contextmanager
    def incoming(self) -> Generator["Draft"]:
        """A file to write and then to publish; left unpublished, it goes away."""
        name = f"{_INCOMING}/{secrets.token_hex(16)}"
        with self._answering(name):
            self._system.makedirs(self.path(_INCOMING), exist_ok=True)
        draft = Draft(self, self._system, self.path(name))
        try:
            with self._answering(name):
                draft.open()
            yield draft
        finally:
            with suppress(Exception):  # it may be why we are here; what is left is collected
                draft.discard()

    @contextmanager
    def reading(self, name: str) -> Generator[IO[bytes]]:
        """Raises ArtifactMissing, ArtifactsUnavailable."""
        with self._answering(name), self._system.open(self.path(name), "rb") as file:
            yield file

    def read(self, name: str, limit_bytes: int) -> bytes:
        """A small file. Raises ArtifactMissing, ArtifactsUnavailable."""
        with self.reading(name) as file:
            raw = file.read(limit_bytes + 1)
        if len(raw) > limit_bytes:
            raise ArtifactsUnavailable(f"{self.url}: {name}: more than {limit_bytes} bytes")
        return raw

    def exists(self, name: str) -> bool:
        with self._answering(name):
            return bool(self._system.exists(self.path(name)))

    def names(self, folder: str) -> list[str]:
        """All files below it, however deep."""
        with self._answering(folder):
            if not self._system.exists(self.path(folder)):
                return []
            found: list[str] = self._system.find(self.path(folder))
        return sorted(path.removeprefix(f"{self._root}/") for path in found)

    def leftovers(self) -> list[str]:
        """What was begun and never published, or is being written now."""
        return self.names(_INCOMING)

    def age_s(self, name: str, now: datetime) -> float:
        """Seconds since it was published. Raises ArtifactMissing, ArtifactsUnavailable."""
        with self._answering(name):
            at: datetime = self._system.modified(self.path(name))
        return (now - at).total_seconds()

    def remove(self, name: str) -> None:
        """Somebody else may have been first."""
        with self._answering(name), suppress(FileNotFoundError):
            self._system.rm_file(self.path(name))

    @contextmanager
    def _answering(self, name: str) -> Generator[None]:
        try:
            yield
        except ChimeraError:
            raise
        except FileNotFoundError:
            raise ArtifactMissing(f"{self.url}: {name} is not stored") from None
        except Exception as error:
            raise ArtifactsUnavailable(
                f"{self.url}: {name}: {type(error).__name__}: {error}"
            ) from error


class Draft:
    """A file that is being written; nobody finds it before `publish`."""

    def __init__(self, place: Place, system: Any, path: str) -> None:
        self._place, self._system, self._path = place, system, path
        self._file: Any = None

    def open(self) -> None:
        self._file = self._system.open(self._path, "wb")

    def write(self, part: bytes) -> None:
        """Raises ArtifactsUnavailable."""
        try:
            self._file.write(part)
        except Exception as error:
            raise ArtifactsUnavailable(f"{self._place.url}: {error}") from error

    def publish(self, name: str) -> None:
        """Under this name, in place of what was there. Raises ArtifactsUnavailable."""
        target = self._place.path(name)
        folder = target.rpartition("/")[0]
        try:
            if self._place.is_local:
                self._file.flush()
                os.fchmod(self._file.fileno(), 0o444)
                os.fsync(self._file.fileno())
            self._file.close()
            self._system.makedirs(folder, exist_ok=True)
            if self._place.is_local:
                os.replace(self._path, target)
                _sync_folder(folder)
            else:
                self._system.mv(self._path, target)
        except Exception as error:
            raise ArtifactsUnavailable(f"{self._place.url}: {name}: {error}") from error

    def discard(self) -> None:
        """What was not published."""
        if self._file is not None:
            self._file.close()
        if self._system.exists(self._path):
            self._system.rm_file(self._path)


def _sync_folder(folder: str) -> None:
    """Its new name is on the disk too."""
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(at)
    finally:
        os.close(at)
