"""A stranger's folder as plain, open files: nothing that leads elsewhere, nothing that waits.

Refused are links of both kinds, pipes, devices, sockets, folders, and names that are more than
names. Each file is opened once, below the open folder, and everything is read through that
descriptor: what was looked at is what is read, whatever is renamed meanwhile.
`tests/workers/test_inspection.py` tries each.
"""

import hashlib
import os
import stat
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from chimera.schemas import manifest as manifests
from chimera.schemas.errors import ModelRefused
from chimera.schemas.manifest import MANIFEST_FILE, MAX_FILES, SIGNATURE_FILE, File

READ_BYTES = 1 << 20
_KINDS = (
    (stat.S_ISLNK, "a symbolic link could lead anywhere"),
    (stat.S_ISDIR, "is a folder: a version's files lie flat"),
    (stat.S_ISFIFO, "is a pipe, no file"),
    (stat.S_ISSOCK, "is a socket, no file"),
    (stat.S_ISCHR, "is a device, no file"),
    (stat.S_ISBLK, "is a device, no file"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One open file. Whoever reads from `file` hands on what was read to `digest`."""

    name: str
    file: IO[bytes]
    size_bytes: int

    def read(self, limit_bytes: int) -> bytes:
        """All of it, from its start.

        Raises:
            ModelRefused: it is larger than `limit_bytes`.
        """
        if self.size_bytes > limit_bytes:
            raise ModelRefused(f"{self.name}: {self.size_bytes} bytes, at most {limit_bytes}")
        self.file.seek(0)
        return self.file.read(self.size_bytes)  # a read of the limit would take that much memory

    def digest(self, known: bytes) -> File:
        """The digest of the whole file: of `known`, its beginning as it was checked, and the rest.

        Raises:
            ModelRefused: its size changed.
        """
        found, size = hashlib.sha256(known), len(known)
        self.file.seek(size)
        while part := self.file.read(READ_BYTES):
            found.update(part)
            size += len(part)
        if size != self.size_bytes:
            raise ModelRefused(f"{self.name}: changed while it was read")
        return File(found.hexdigest(), size)


@contextmanager
def opened(folder: Path, max_file_bytes: int) -> Generator[dict[str, Entry]]:
    """Every file of a folder, by name.

    Raises:
        ModelRefused: one is not a plain file; names it.
    """
    with ExitStack() as stack:
        try:
            at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            stack.callback(os.close, at)
            names = sorted(os.listdir(at))
        except OSError as error:
            raise ModelRefused(f"the folder cannot be read: {error.strerror}") from None
        if len(names) > MAX_FILES:
            raise ModelRefused(f"{len(names)} files, at most {MAX_FILES} are taken")
        entries = {name: _open(stack, at, name) for name in names}
        for entry in entries.values():
            if entry.size_bytes > max_file_bytes:
                raise ModelRefused(
                    f"{entry.name}: {entry.size_bytes} bytes, at most {max_file_bytes} are taken"
                )
        yield entries


def _open(stack: ExitStack, at: int, name: str) -> Entry:
    _require_plain(os.stat(name, dir_fd=at, follow_symlinks=False), repr(name))
    if not (manifests.is_file_name(name) or name in (MANIFEST_FILE, SIGNATURE_FILE)):
        raise ModelRefused(f"{name!r}: is no plain file name: letters, digits, . _ -")
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        file = stack.enter_context(os.fdopen(os.open(name, flags, dir_fd=at), "rb"))
    except OSError as error:
        raise ModelRefused(f"{name}: {error.strerror}") from None
    status = os.fstat(file.fileno())
    _require_plain(status, name)
    return Entry(name, file, status.st_size)


def _require_plain(status: os.stat_result, name: str) -> None:
    for is_kind, reason in _KINDS:
        if is_kind(status.st_mode):
            raise ModelRefused(f"{name}: {reason}")
    if status.st_nlink != 1:
        raise ModelRefused(f"{name}: a hard link: it has another name elsewhere")
