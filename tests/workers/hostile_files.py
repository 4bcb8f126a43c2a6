"""Folders that must be refused: each is made of a good one by one change, and names its reason.

`CORPUS` is tried as a whole through `inspect`, in the confined process, by `test_inspection.py`;
`python -m tests.workers.hostile_files` prints how long each refusal takes.
"""

import io
import json
import os
import pickle
import resource
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from safetensors.numpy import save

from chimera.schemas import manifest as manifests
from chimera.schemas.errors import ModelRefused
from chimera.schemas.manifest import Manifest
from chimera.schemas.signing import Kind, new_key
from chimera.workers.inspection.inspector import inspect
from chimera.workers.inspection.rules import Rules
from tests.workers import hostile_graphs
from tests.workers.rig import manifest, sums

KEY, STRANGER = new_key(), new_key()
DEFINITION = "tests.workers.networks:Sums"
RULES = Rules(
    definitions=(DEFINITION,), trusted=(KEY.public.text,), max_graph_nodes=1_000, max_tensors=500
)
Change = Callable[[Path], None]


@dataclass(frozen=True)
class Case:
    name: str
    change: Change  # of a good folder
    reason: str  # in the message
    weights: bool = False  # of a folder with weights and a definition rather than a graph


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


def _runtime_format(folder: Path) -> None:
    """An ONNX file that ONNX Runtime would read as one of its own format."""
    put(folder / "model.onnx", b"\x12\x06xxORTM" + (folder / "model.onnx").read_bytes())


def _hungry(folder: Path) -> None:
    """Twelve million nodes in 24 MB: parsed, they are gigabytes."""
    nodes = b"\x0a\x00" * 12_000_000
    length = bytearray()
    value = len(nodes)
    while value >= 0x80:
        length.append(value & 0x7F | 0x80)
        value >>= 7
    put(folder / "model.onnx", b"\x3a" + bytes((*length, value)) + nodes)


def _symbolic(folder: Path) -> None:
    (folder / "labels.json").symlink_to("/etc/passwd")


def _symbolic_model(folder: Path) -> None:
    elsewhere = folder.with_name("elsewhere")
    (folder / "model.onnx").rename(elsewhere)
    (folder / "model.onnx").symlink_to(elsewhere)


def _hard(folder: Path) -> None:
    put(folder.with_name("other"), b"{}")
    os.link(folder.with_name("other"), folder / "labels.json")


def _fifo(folder: Path) -> None:
    os.mkfifo(folder / "labels.json")


def _socket(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        at = os.getcwd()
        os.chdir(folder)  # a socket's path is short
        listening.bind("labels.json")
        os.chdir(at)


def _inner(folder: Path) -> None:
    (folder / "data").mkdir()
    put(folder / "data" / "x.json", b"{}")


def _many(folder: Path) -> None:
    for at in range(70):
        put(folder / f"l{at}.json", b"{}")


def _gone(folder: Path) -> None:
    (folder / "model.onnx").unlink()


def _sparse(folder: Path) -> None:
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(1 << 40)


def _program(signature: str) -> Change:
    def change(folder: Path) -> None:
        put(folder / "model.pt2", zipped(archive__data_dot_pkl=pickle.dumps(Runs())))
        put(folder / "model.pt2.sig", signature.encode())

    return change


def _samples(**arrays: np.ndarray[Any, Any]) -> Change:
    return holding("samples.safetensors", save(arrays))


ONE = tensor(2, 1)
DATA = b"\0" * 8
PICKLES = {
    "protocol 0": pickle.dumps(Runs(), 0),
    "protocol 2": pickle.dumps(Runs(), 2),
    "protocol 4": pickle.dumps(Runs(), 4),
    "protocol 5": pickle.dumps(Runs(), 5),
    "plain data": pickle.dumps({"weights": [1.0]}, 4),
    "without its end": pickle.dumps(Runs(), 4)[:-1],
}
NAMES = (
    "model.onnx",
    "model.safetensors",
    "labels.json",
    "w.pt",
    "model.pt2",
    "manifest.txt",
    "a.bin",
)


def _weights(header: object, data: bytes = DATA, length: int | None = None) -> Change:
    return holding("model.safetensors", headed(header, data, length))


CORPUS = [
    *(
        Case(f"pickle {kind} as {name}", holding(name, raw), "a pickle")
        for kind, raw in PICKLES.items()
        for name in (NAMES if kind == "protocol 4" else NAMES[1:2])
    ),
    Case(
        "torch archive as safetensors",
        holding("model.safetensors", zipped(archive__data_dot_pkl=pickle.dumps(Runs()))),
        "zip archive with the pickle 'archive/data.pkl'",
    ),
    Case(
        "archive behind an ONNX file",
        lambda folder: put(
            folder / "model.onnx",
            (folder / "model.onnx").read_bytes() + zipped(x__data_dot_pkl=b"cos\nsystem\n."),
        ),
        "zip archive with the pickle",
    ),
    Case(
        "zip bomb", holding("model.safetensors", bomb()), "zip archive that expands to 2147483647"
    ),
    Case("zip of nothing bad", holding("weights.zip", zipped(a=b"b")), "a zip archive"),
    Case("tar that leads out", holding("labels.json", tarred()), "a tar archive"),
    Case("gzip", holding("labels.json", b"\x1f\x8b\x08\x00"), "a gzip archive"),
    Case("numpy with a pickle", holding("a.npy", b"\x93NUMPY\x01\x00"), "may hold pickles"),
    Case("native code", holding("a.so", b"\x7fELF\x02\x01"), "native code"),
    Case("Python", holding("model.py", b"import os\n"), "is no part of a model"),
    Case("symbolic link", _symbolic, "a symbolic link could lead anywhere"),
    Case("model is a symbolic link", _symbolic_model, "a symbolic link could lead anywhere"),
    Case("hard link", _hard, "a hard link"),
    Case("pipe", _fifo, "is a pipe"),
    Case("socket", _socket, "is a socket"),
    Case("folder", _inner, "is a folder"),
    Case("too many files", _many, "at most 64"),
    Case("hidden file", holding(".hidden.json", b"{}"), "no plain file name"),
    Case("line break in a name", holding("a\nb.json", b"{}"), "no plain file name"),
    Case(
        "name that is no text", lambda f: put(Path(os.fsdecode(bytes(f) + b"/\xff")), b""), "name"
    ),
    Case("our name in capitals", holding("MANIFEST.JSON", b"{}"), "no plain file name"),
    Case("no source", _gone, "model.onnx: is missing"),
    Case("no manifest", lambda f: (f / "manifest.json").unlink(), "has no manifest.json"),
    Case("manifest is no JSON", holding("manifest.json", b"{"), "manifest.json"),
    Case("manifest nested", holding("manifest.json", b'{"a":' + b"[" * 200_000), "manifest.json"),
    Case("manifest is a list", holding("manifest.json", b"[]"), "manifest.json"),
    Case("large manifest", holding("manifest.json", b" " * (2 << 20)), "at most"),
    Case(
        "file leads out",
        saying(files={"../../etc/passwd": {"sha256": "0" * 64, "size_bytes": 1}}),
        "'../../etc/passwd' is no plain file name",
    ),
    Case(
        "file is absolute",
        saying(files={"/etc/passwd": {"sha256": "0" * 64, "size_bytes": 1}}),
        "'/etc/passwd' is no plain file name",
    ),
    Case(
        "file is not there",
        saying(files={"z.json": {"sha256": "0" * 64, "size_bytes": 1}}),
        "not the file that the manifest names",
    ),
    Case("other digest", saying(sha256="1" * 64), "the manifest says '1111"),
    Case("samples lead out", saying(samples="../x.safetensors"), "samples: '../x.safetensors'"),
    Case("model leads out", saying(name="../../x"), "is no name"),
    Case("version leads out", saying(version=".."), "is no name"),
    Case("label is no JSON", holding("labels.json", b"cat\ndog\n"), "is no JSON"),
    Case("second graph", holding("other.onnx", sums()), "the one graph"),
    Case("external data", graph(hostile_graphs.external), "external data"),
    Case(
        "foreign operator",
        graph(hostile_graphs.foreign),
        "com.microsoft.EPContext is none of ONNX's own",
    ),
    Case("shadowed operator", graph(hostile_graphs.shadowing), "the domain is a runtime's own"),
    Case("wide graph", graph(hostile_graphs.wide), "at most 1000"),
    Case("wide graph inside", graph(hostile_graphs.wide_inside), "at most 1000"),
    Case("many tensors", graph(hostile_graphs.many_tensors), "at most 500"),
    Case("deep graph", graph(hostile_graphs.deep), "graphs inside graphs, at most 16"),
    Case("functions that expand", graph(hostile_graphs.expanding), "functions expanded"),
    Case("functions in a circle", graph(hostile_graphs.circular), "calls itself"),
    Case("opset of tomorrow", graph(hostile_graphs.opset), "opset 9999"),
    Case(
        "tensor shorter than its shape",
        graph(hostile_graphs.short_tensor),
        "needs 4294967296 bytes",
    ),
    Case("impossible tensor", graph(hostile_graphs.impossible_tensor), "an impossible shape"),
    Case("other input", graph(hostile_graphs.renamed_input), "also has the input 'other'"),
    Case("other datatype", graph(hostile_graphs.other_datatype), "is FP64, the manifest says FP32"),
    Case("other shape", graph(hostile_graphs.other_shape), "has the shape [-1, 3]"),
    Case("the runtime's own format", _runtime_format, "ONNX Runtime's own format"),
    Case("hungry file", _hungry, "more than memory allows"),
    Case("no ONNX", holding("model.onnx", b"\xff" * 100), "is no ONNX file"),
    Case("empty", holding("model.onnx", b""), "has no graph"),
    Case("samples of another shape", _samples(x=np.zeros((3, 4), "f4")), "has the shape [3,4]"),
    Case("samples of another type", _samples(x=np.zeros((3, 2), "f8")), "is F64"),
    Case("samples of another input", _samples(y=np.zeros((3, 2), "f4")), "nothing else: 'x'"),
    Case("sample too many", _samples(x=np.zeros((3, 2), "f4"), y=np.zeros(1)), "nothing else: 'y'"),
    Case("unsigned program", holding("m.pt2", zipped(a=b"b")), "is a zip archive"),
    Case("unsigned program, no zip", holding("m.pt2", b"x"), "taken only with our signature"),
    Case("program with nonsense", _program("trust me"), "is no signature"),
    Case(
        "program signed by a stranger",
        _program(STRANGER.sign(Kind.PROGRAM, b"0" * 32)),
        "which is no trusted key",
    ),
    Case("signature of other bytes", _program(KEY.sign(Kind.PROGRAM, b"0" * 32)), "is not over"),
    Case("signature of nothing", holding("m.pt2.sig", b"x"), "not there"),
    Case("definition not allowed", saying(definition="os:system"), "not in CHIMERA", weights=True),
    Case("definition is a path", saying(definition="../evil:x"), "package.module", weights=True),
    Case("definition is private", saying(definition="a._b:c"), "package.module", weights=True),
    Case("header larger than the file", _weights({}, length=1 << 40), "a header of", weights=True),
    Case("header of 2**63", _weights({}, length=1 << 63), "a header of", weights=True),
    Case("header too large", _weights(b"{" + b" " * (17 << 20)), "at most 16777216", weights=True),
    Case("no header", holding("model.safetensors", b"\0" * 7), "no header", weights=True),
    Case("header is no JSON", _weights(b"{'a': 1}"), "no JSON", weights=True),
    Case("header is nested", _weights(b'{"a":' + b"[" * 200_000), "no JSON", weights=True),
    Case("header is a list", _weights([]), "no JSON object", weights=True),
    Case("metadata nested", _weights({"__metadata__": {"a": {}}}), "texts", weights=True),
    Case("out of range", _weights({"a": tensor(4, 1, offsets=(0, 16))}), "end at 16", weights=True),
    Case("beyond all", _weights({"a": tensor(2, offsets=(1 << 40, (1 << 40) + 8))}), "gap", True),
    Case(
        "overlap",
        _weights({"a": ONE, "b": tensor(1, offsets=(4, 8))}),
        "overlaps the one before",
        weights=True,
    ),
    Case("gap", _weights({"a": tensor(1, offsets=(4, 8))}), "leaves a gap", weights=True),
    Case("bytes at the end", _weights({"a": tensor(1, offsets=(0, 4))}), "end at 4", weights=True),
    Case("turned offsets", _weights({"a": tensor(0, offsets=(8, 0))}), "ends before", weights=True),
    Case("other size", _weights({"a": tensor(3)}), "needs 12 bytes", weights=True),
    Case("unknown dtype", _weights({"a": tensor(2, dtype="OBJ")}), "unknown dtype", weights=True),
    Case("huge shape", _weights({"a": tensor(*[2**31] * 9)}), "too large", weights=True),
    Case("negative shape", _weights({"a": tensor(-2, -1)}), "the number '-2'", weights=True),
    Case("fraction", _weights(b'{"a": 1.5}'), "the number '1.5'", weights=True),
    Case("not a number", _weights(b'{"a": NaN}'), "the number 'NaN'", weights=True),
    Case("long number", _weights(b'{"a": %s}' % (b"9" * 5_000)), "the number '999", weights=True),
    Case("name twice", _weights(b'{"a": 1, "a": 2}'), "'a' twice", weights=True),
    Case("half a character", _weights(b'{"\\ud800": 1}'), "no JSON", weights=True),
    Case(
        "field too many", _weights({"a": {**ONE, "url": "x"}}), "unknown field `url`", weights=True
    ),
    Case(
        "field missing", _weights({"a": {"dtype": "F32"}}), "missing required field", weights=True
    ),
    Case(
        "many tensors in weights",
        _weights({f"t{at}": tensor(0, offsets=(0, 0)) for at in range(501)}, b""),
        "501 tensors",
        weights=True,
    ),
    Case("a terabyte of nothing", _sparse, "at most", weights=True),
]


def main() -> None:
    """Print the seconds of each refusal, longest first: on the clock, and of the processor."""
    took: list[tuple[float, float, str, str]] = []
    for case in CORPUS:
        with tempfile.TemporaryDirectory() as place:
            folder = good(Path(place) / "upload", weights=case.weights)
            case.change(folder)
            started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            try:
                inspect(folder, RULES)
                message = "PASSED"
            except ModelRefused as error:
                message = str(error).removeprefix(str(folder))[:90]
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            took.append((time.perf_counter() - started, cpu_s, case.name, message))
    for seconds, cpu_s, name, message in sorted(took, reverse=True):
        sys.stdout.write(f"{seconds:5.2f} s {cpu_s:5.2f} cpu s  {name:32} {message!r}\n")


if __name__ == "__main__":
    main()
