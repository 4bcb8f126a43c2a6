"""Ways to spoil a good folder: one change each, and the bytes that they put there.

`hostile_files.py` makes its corpus of them.
"""

import io
import json
import os
import pickle
import socket
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from safetensors.numpy import save

from chimera.schemas import manifest as manifests
from chimera.schemas.manifest import Manifest
from tests.workers.rig import manifest, sums

Change = Callable[[Path], None]
DATA = b"\0" * 8
DEFINITION = "tests.workers.networks:Sums"


class Runs:
    """Unpickled, it would leave a file behind."""

    def __reduce__(self) -> tuple[Any, ...]:
        return subprocess.call, (("touch", "chimera-was-here"),)


def good(folder: Path, *, weights: bool = False, **fields: Any) -> Path:
    """A folder that passes: a graph, or weights and a definition; with samples."""
    folder.mkdir()
    samples = {"x": np.zeros((3, 2), "f4")}
    (folder / "samples.safetensors").write_bytes(save(samples))
    if weights:
        fields = {"definition": DEFINITION, "arguments": {"width": 2}, **fields}
        (folder / "model.safetensors").write_bytes(save({"ones": np.ones((2, 1), "f4")}))
    else:
        (folder / "model.onnx").write_bytes(sums())
    say(folder, manifest(samples="samples.safetensors", **fields))
    return folder


def say(folder: Path, found: Manifest, **fields: object) -> None:
    """Write a manifest as a person would: without digests."""
    said = json.loads(manifests.encode_draft(found)) | fields
    (folder / "manifest.json").write_text(json.dumps(said))


def saying(**fields: object) -> Change:
    """Change what the manifest says."""

    def change(folder: Path) -> None:
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return change


def holding(name: str, content: bytes) -> Change:
    return lambda folder: put(folder / name, content)


def put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def zipped(**members: bytes) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return raw.getvalue()


def tarred() -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../../etc/cron.d/evil"))
    return raw.getvalue()


def bomb(gigabytes: int = 2) -> bytes:
    """A small archive that says it expands to this much; its directory is what lies."""
    raw = bytearray(zipped(a=b"\0" * 100_000))
    at = raw.rfind(b"PK\x01\x02")
    raw[at + 24 : at + 28] = struct.pack("<I", gigabytes * (1 << 30) - 1)
    return bytes(raw)


def headed(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file with this header: as JSON, or bytes as they are."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def tensor(*shape: int, dtype: str = "F32", offsets: tuple[int, int] = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def graph(change: Callable[[onnx.ModelProto], object]) -> Change:
    """Change the ONNX file."""

    def changed(folder: Path) -> None:
        found = onnx.ModelProto.FromString((folder / "model.onnx").read_bytes())
        change(found)
        put(folder / "model.onnx", found.SerializeToString())

    return changed


def runtime_format(folder: Path) -> None:
    """An ONNX file that ONNX Runtime would read as one of its own format."""
    put(folder / "model.onnx", b"\x12\x06xxORTM" + (folder / "model.onnx").read_bytes())


def hungry(folder: Path) -> None:
    """Twelve million nodes in 24 MB: parsed, they are gigabytes."""
    nodes = b"\x0a\x00" * 12_000_000
    length = bytearray()
    value = len(nodes)
    while value >= 0x80:
        length.append(value & 0x7F | 0x80)
        value >>= 7
    put(folder / "model.onnx", b"\x3a" + bytes((*length, value)) + nodes)


def symbolic(folder: Path) -> None:
    (folder / "labels.json").symlink_to("/etc/passwd")


def symbolic_model(folder: Path) -> None:
    elsewhere = folder.with_name("elsewhere")
    (folder / "model.onnx").rename(elsewhere)
    (folder / "model.onnx").symlink_to(elsewhere)


def hard(folder: Path) -> None:
    put(folder.with_name("other"), b"{}")
    os.link(folder.with_name("other"), folder / "labels.json")


def fifo(folder: Path) -> None:
    os.mkfifo(folder / "labels.json")


def listening(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        at = os.getcwd()
        os.chdir(folder)  # a socket's path is short
        end.bind("labels.json")
        os.chdir(at)


def inner(folder: Path) -> None:
    (folder / "data").mkdir()
    put(folder / "data" / "x.json", b"{}")


def many(folder: Path) -> None:
    for at in range(70):
        put(folder / f"l{at}.json", b"{}")


def gone(folder: Path) -> None:
    (folder / "model.onnx").unlink()


def sparse(folder: Path) -> None:
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(1 << 40)


def program(signature: str) -> Change:
    def change(folder: Path) -> None:
        put(folder / "model.pt2", zipped(archive__data_dot_pkl=pickle.dumps(Runs())))
        put(folder / "model.pt2.sig", signature.encode())

    return change


def samples(**arrays: np.ndarray[Any, Any]) -> Change:
    return holding("samples.safetensors", save(arrays))


def weights(header: object, data: bytes = DATA, length: int | None = None) -> Change:
    return holding("model.safetensors", headed(header, data, length))
