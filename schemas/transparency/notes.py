"""Signed notes: text, and under it who signed it; C2SP signed-note.

    <text: lines, the last of them ended>
    <empty line>
    — <key name> <base64 of key id and signature>

A note has one spelling: other base64 of the same bytes, control characters and anything after the
last signature are refused. Whose signatures count is not said here but by a policy.
`tests/schemas/transparency/test_notes.py` has the specification's own example.
"""

import base64
import binascii
from dataclasses import dataclass

from chimera.schemas.errors import EvidenceMalformed

MAX_NOTE_BYTES = 262_144  # 16 signatures of the largest kind, 5 kB each, and room
MAX_SIGNATURES = 64
KEY_ID_BYTES = 4
_DASH = "\N{EM DASH} "


@dataclass(frozen=True, slots=True)
class Signature:
    """One line under a note; `raw` is what stands behind the key id."""

    name: str
    key_id: bytes
    raw: bytes

    @property
    def line(self) -> str:
        return f"{_DASH}{self.name} {encode_base64(self.key_id + self.raw)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """`text` ends with a line break; it is what is signed."""

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        return f"{self.text}\n{''.join(one.line for one in self.signatures)}".encode()


def decode(raw: bytes) -> Note:
    """Read a note; nobody's signature is verified.

    Raises:
        EvidenceMalformed: it is none.
    """
    if len(raw) > MAX_NOTE_BYTES:
        raise EvidenceMalformed(f"note: {len(raw)} bytes are more than {MAX_NOTE_BYTES}")
    text = decode_text(raw, "note")
    body, empty_line, under = text.rpartition("\n\n")
    if not empty_line or not under:
        raise EvidenceMalformed("note: no empty line with signatures under it")
    return Note(f"{body}\n", decode_signatures(under))


def decode_signatures(text: str) -> tuple[Signature, ...]:
    """Read signature lines, at least one.

    Raises:
        EvidenceMalformed: they are none.
    """
    lines = text.split("\n")
    if lines.pop() != "" or not lines:
        raise EvidenceMalformed("note: its last line is not ended")
    if len(lines) > MAX_SIGNATURES:
        raise EvidenceMalformed(f"note: more than {MAX_SIGNATURES} signatures")
    return tuple(_signature(line) for line in lines)


def decode_text(raw: bytes, what: str) -> str:
    """UTF-8 without control characters; line breaks are none. `what` is named in errors.

    Raises:
        EvidenceMalformed: it is not.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise EvidenceMalformed(f"{what}: byte {error.start} is not UTF-8") from None
    if any(byte < 0x20 and byte != 0x0A for byte in raw):
        raise EvidenceMalformed(f"{what}: it has control characters")
    return text


def is_key_name(text: str) -> bool:
    """Whether a key may be called so: no spaces, no plus."""
    return bool(text) and "+" not in text and not any(map(str.isspace, text))


def encode_base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def decode_base64(text: str, what: str) -> bytes:
    """RFC 4648, 4, in the one spelling that an encoder writes.

    Raises:
        EvidenceMalformed: it is not.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise EvidenceMalformed(f"{what}: is no base64") from None
    if encode_base64(raw) != text:
        raise EvidenceMalformed(f"{what}: is not the base64 that an encoder writes")
    return raw


def _signature(line: str) -> Signature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space or not is_key_name(name):
        raise EvidenceMalformed("note: a signature is: em dash, key name, base64")
    raw = decode_base64(encoded, f"note: the signature of {name}")
    if len(raw) <= KEY_ID_BYTES:
        raise EvidenceMalformed(f"note: the signature of {name} is too short")
    return Signature(name, raw[:KEY_ID_BYTES], raw[KEY_ID_BYTES:])
