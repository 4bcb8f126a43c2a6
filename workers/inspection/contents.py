"""What bytes are, whatever their file is called: pickles and archives are found by content.

A pickle is what Python's own reader of pickles takes for one: it begins with a protocol and an
opcode, or imports something and calls something, or is read to its end; text that only looks like
opcodes has nothing on the stack for them. They are listed, never run. An archive is known by its head or by its directory at the end, where readers look for it.
`tests/workers/test_contents.py`.
"""

import io
import pickletools
import warnings
import zipfile
from contextlib import suppress
from typing import IO

HEAD_BYTES = 1 << 16
MAX_DIRECTORY_BYTES = 1 << 20  # of an archive whose names are listed; only for the reason's text
BOMB_BYTES, BOMB_RATIO = 1 << 30, 100
_IMPORTS = frozenset({"GLOBAL", "STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"})
_CALLS = frozenset({"REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD"})
_UNREADABLE = (ValueError, KeyError, IndexError, OverflowError)  # as opcodes
_END_OF_DIRECTORY, _END_SIZE = b"PK\x05\x06", 22
_MAGICS = (
    (b"\x93NUMPY", "a numpy file, which may hold pickles"),
    (b"\x89HDF\r\n", "an HDF5 file, which may hold code"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x7fELF", "native code"),
)


def refused_kind(file: IO[bytes], size_bytes: int) -> str | None:
    """What a file is, if it is something that no version may hold under any name."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    if is_pickle(head):
        return "a pickle, which runs code when it is read"
    if is_zip(file, head, size_bytes):
        return _zip_kind(file, size_bytes)
    for magic, kind in _MAGICS:
        if head.startswith(magic):
            return kind
    return "a tar archive" if head[257:262] == b"ustar" else None


def is_pickle(head: bytes) -> bool:
    """Whether a reader of pickles would begin to run these bytes."""
    has_protocol = head[:1] == b"\x80" and head[1:2] <= b"\x05"
    stack: list[object] = []
    imports = False
    with warnings.catch_warnings(action="ignore"), suppress(*_UNREADABLE):  # odd escapes in texts
        for count, (opcode, _, at) in enumerate(pickletools.genops(io.BytesIO(head))):
            if not _steps(opcode, stack):
                return False  # it would end here
            imports = imports or opcode.name in _IMPORTS
            if (imports and opcode.name in _CALLS) or (has_protocol and count > 0):
                return True
            if opcode.name == "STOP":
                return at == len(head) - 1
    return False


def _steps(opcode: pickletools.OpcodeInfo, stack: list[object]) -> bool:
    """What an opcode does to a reader's stack; False: it lacks what it takes. After `dis`."""
    mark, takes = pickletools.markobject, opcode.stack_before
    count = len(takes)
    pops_mark = opcode.name == "POP" and stack[-1:] == [mark]
    if mark in takes or pops_mark:
        if mark not in stack:
            return False
        while stack.pop() is not mark:
            pass
        count = 0 if pops_mark else takes.index(mark)
    if len(stack) < count:
        return False
    del stack[len(stack) - count :]
    stack.extend(opcode.stack_after)
    return True


def is_zip(file: IO[bytes], head: bytes, size_bytes: int) -> bool:
    """Whether a reader of zip archives would take it: it looks at the end first."""
    if head[:4] in (b"PK\x03\x04", _END_OF_DIRECTORY):
        return True
    found = _directory(file, size_bytes)
    return found is not None and (found[1] == 0xFFFF_FFFF or found[1] <= found[0])


def _directory(file: IO[bytes], size_bytes: int) -> tuple[int, int] | None:
    """Where an archive's directory ends, and its size; None: there is none."""
    start = max(0, size_bytes - 0xFFFF - _END_SIZE)
    file.seek(start)
    tail = file.read(0xFFFF + _END_SIZE)
    at = tail.rfind(_END_OF_DIRECTORY)
    if at < 0 or len(tail) - at < _END_SIZE:
        return None
    return start + at, int.from_bytes(tail[at + 12 : at + 16], "little")


def _zip_kind(file: IO[bytes], size_bytes: int) -> str:
    """Its names and sizes, as far as its directory is small; nothing is expanded."""
    found = _directory(file, size_bytes)
    if found is None or found[1] > MAX_DIRECTORY_BYTES:
        return "a zip archive"
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, EOFError):
        return "a zip archive"
    for member in members:
        if member.filename.rsplit("/", 1)[-1].lower() in ("data.pkl", "constants.pkl"):
            return f"a zip archive with the pickle {member.filename[:64]!r}"
    expanded = sum(member.file_size for member in members)
    if expanded > BOMB_BYTES and expanded > BOMB_RATIO * size_bytes:
        return f"a zip archive that expands to {expanded} bytes"
    return "a zip archive"
