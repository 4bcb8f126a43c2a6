"""Folders that must be refused: each is made of a good one by one change, and names its reason.

`CORPUS` is tried as a whole through `inspect`, in the confined process, by `test_inspection.py`;
`python -m tests.workers.hostile_files` prints how long each refusal takes.
"""

import os
import pickle
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chimera.schemas.errors import ModelRefused
from chimera.schemas.signing import Kind, new_key
from chimera.workers.inspection.inspector import inspect
from chimera.workers.inspection.rules import Rules
from tests.workers import hostile_changes as changes
from tests.workers import hostile_graphs
from tests.workers.rig import sums

KEY, STRANGER = new_key(), new_key()
RULES = Rules(
    definitions=(changes.DEFINITION,),
    trusted=(KEY.public.text,),
    max_graph_nodes=1_000,
    max_tensors=500,
)


@dataclass(frozen=True)
class Case:
    name: str
    change: changes.Change  # of a good folder
    reason: str  # in the message
    weights: bool = False  # of a folder with weights and a definition rather than a graph


ONE = changes.tensor(2, 1)
PICKLES = {
    "protocol 0": pickle.dumps(changes.Runs(), 0),
    "protocol 2": pickle.dumps(changes.Runs(), 2),
    "protocol 4": pickle.dumps(changes.Runs(), 4),
    "protocol 5": pickle.dumps(changes.Runs(), 5),
    "plain data": pickle.dumps({"weights": [1.0]}, 4),
    "without its end": pickle.dumps(changes.Runs(), 4)[:-1],
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


CORPUS = [
    *(
        Case(f"pickle {kind} as {name}", changes.holding(name, raw), "a pickle")
        for kind, raw in PICKLES.items()
        for name in (NAMES if kind == "protocol 4" else NAMES[1:2])
    ),
    Case(
        "torch archive as safetensors",
        changes.holding(
            "model.safetensors", changes.zipped(archive__data_dot_pkl=pickle.dumps(changes.Runs()))
        ),
        "zip archive with the pickle 'archive/data.pkl'",
    ),
    Case(
        "archive behind an ONNX file",
        lambda folder: changes.put(
            folder / "model.onnx",
            (folder / "model.onnx").read_bytes()
            + changes.zipped(x__data_dot_pkl=b"cos\nsystem\n."),
        ),
        "zip archive with the pickle",
    ),
    Case(
        "zip bomb",
        changes.holding("model.safetensors", changes.bomb()),
        "zip archive that expands to 2147483647",
    ),
    Case(
        "zip of nothing bad",
        changes.holding("weights.zip", changes.zipped(a=b"b")),
        "a zip archive",
    ),
    Case("tar that leads out", changes.holding("labels.json", changes.tarred()), "a tar archive"),
    Case("gzip", changes.holding("labels.json", b"\x1f\x8b\x08\x00"), "a gzip archive"),
    Case("numpy with a pickle", changes.holding("a.npy", b"\x93NUMPY\x01\x00"), "may hold pickles"),
    Case("native code", changes.holding("a.so", b"\x7fELF\x02\x01"), "native code"),
    Case("Python", changes.holding("model.py", b"import os\n"), "is no part of a model"),
    Case("symbolic link", changes.symbolic, "a symbolic link could lead anywhere"),
    Case("model is a symbolic link", changes.symbolic_model, "a symbolic link could lead anywhere"),
    Case("hard link", changes.hard, "a hard link"),
    Case("pipe", changes.fifo, "is a pipe"),
    Case("socket", changes.listening, "is a socket"),
    Case("folder", changes.inner, "is a folder"),
    Case("too many files", changes.many, "at most 64"),
    Case("hidden file", changes.holding(".hidden.json", b"{}"), "no plain file name"),
    Case("line break in a name", changes.holding("a\nb.json", b"{}"), "no plain file name"),
    Case(
        "name that is no text",
        lambda f: changes.put(Path(os.fsdecode(bytes(f) + b"/\xff")), b""),
        "name",
    ),
    Case("our name in capitals", changes.holding("MANIFEST.JSON", b"{}"), "no plain file name"),
    Case("no source", changes.gone, "model.onnx: is missing"),
    Case("no manifest", lambda f: (f / "manifest.json").unlink(), "has no manifest.json"),
    Case("manifest is no JSON", changes.holding("manifest.json", b"{"), "manifest.json"),
    Case(
        "manifest nested",
        changes.holding("manifest.json", b'{"a":' + b"[" * 200_000),
        "manifest.json",
    ),
    Case("manifest is a list", changes.holding("manifest.json", b"[]"), "manifest.json"),
    Case("large manifest", changes.holding("manifest.json", b" " * (2 << 20)), "at most"),
    Case(
        "file leads out",
        changes.saying(files={"../../etc/passwd": {"sha256": "0" * 64, "size_bytes": 1}}),
        "'../../etc/passwd' is no plain file name",
    ),
    Case(
        "file is absolute",
        changes.saying(files={"/etc/passwd": {"sha256": "0" * 64, "size_bytes": 1}}),
        "'/etc/passwd' is no plain file name",
    ),
    Case(
        "file is not there",
        changes.saying(files={"z.json": {"sha256": "0" * 64, "size_bytes": 1}}),
        "not the file that the manifest names",
    ),
    Case("other digest", changes.saying(sha256="1" * 64), "the manifest says '1111"),
    Case(
        "samples lead out",
        changes.saying(samples="../x.safetensors"),
        "samples: '../x.safetensors'",
    ),
    Case("model leads out", changes.saying(name="../../x"), "is no name"),
    Case("version leads out", changes.saying(version=".."), "is no name"),
    Case("label is no JSON", changes.holding("labels.json", b"cat\ndog\n"), "is no JSON"),
    Case("second graph", changes.holding("other.onnx", sums()), "the one graph"),
    Case("external data", changes.graph(hostile_graphs.external), "external data"),
    Case(
        "foreign operator",
        changes.graph(hostile_graphs.foreign),
        "com.microsoft.EPContext is none of ONNX's own",
    ),
    Case(
        "shadowed operator",
        changes.graph(hostile_graphs.shadowing),
        "the domain is a runtime's own",
    ),
    Case("wide graph", changes.graph(hostile_graphs.wide), "at most 1000"),
    Case("wide graph inside", changes.graph(hostile_graphs.wide_inside), "at most 1000"),
    Case("many tensors", changes.graph(hostile_graphs.many_tensors), "at most 500"),
    Case("deep graph", changes.graph(hostile_graphs.deep), "graphs inside graphs, at most 16"),
    Case("functions that expand", changes.graph(hostile_graphs.expanding), "functions expanded"),
    Case("functions in a circle", changes.graph(hostile_graphs.circular), "calls itself"),
    Case("opset of tomorrow", changes.graph(hostile_graphs.opset), "opset 9999"),
    Case(
        "tensor shorter than its shape",
        changes.graph(hostile_graphs.short_tensor),
        "needs 4294967296 bytes",
    ),
    Case(
        "impossible tensor", changes.graph(hostile_graphs.impossible_tensor), "an impossible shape"
    ),
    Case("other input", changes.graph(hostile_graphs.renamed_input), "also has the input 'other'"),
    Case(
        "other datatype",
        changes.graph(hostile_graphs.other_datatype),
        "is FP64, the manifest says FP32",
    ),
    Case("other shape", changes.graph(hostile_graphs.other_shape), "has the shape [-1, 3]"),
    Case("the runtime's own format", changes.runtime_format, "ONNX Runtime's own format"),
    Case("hungry file", changes.hungry, "more than memory allows"),
    Case("no ONNX", changes.holding("model.onnx", b"\xff" * 100), "is no ONNX file"),
    Case("empty", changes.holding("model.onnx", b""), "has no graph"),
    Case(
        "samples of another shape", changes.samples(x=np.zeros((3, 4), "f4")), "has the shape [3,4]"
    ),
    Case("samples of another type", changes.samples(x=np.zeros((3, 2), "f8")), "is F64"),
    Case(
        "samples of another input", changes.samples(y=np.zeros((3, 2), "f4")), "nothing else: 'x'"
    ),
    Case(
        "sample too many",
        changes.samples(x=np.zeros((3, 2), "f4"), y=np.zeros(1)),
        "nothing else: 'y'",
    ),
    Case("unsigned program", changes.holding("m.pt2", changes.zipped(a=b"b")), "is a zip archive"),
    Case(
        "unsigned program, no zip", changes.holding("m.pt2", b"x"), "taken only with our signature"
    ),
    Case("program with nonsense", changes.program("trust me"), "is no signature"),
    Case(
        "program signed by a stranger",
        changes.program(STRANGER.sign(Kind.PROGRAM, b"0" * 32)),
        "which is no trusted key",
    ),
    Case(
        "signature of other bytes",
        changes.program(KEY.sign(Kind.PROGRAM, b"0" * 32)),
        "is not over",
    ),
    Case("signature of nothing", changes.holding("m.pt2.sig", b"x"), "not there"),
    Case(
        "definition not allowed",
        changes.saying(definition="os:system"),
        "not in CHIMERA",
        weights=True,
    ),
    Case(
        "definition is a path",
        changes.saying(definition="../evil:x"),
        "package.module",
        weights=True,
    ),
    Case(
        "definition is private", changes.saying(definition="a._b:c"), "package.module", weights=True
    ),
    Case(
        "header larger than the file",
        changes.weights({}, length=1 << 40),
        "a header of",
        weights=True,
    ),
    Case("header of 2**63", changes.weights({}, length=1 << 63), "a header of", weights=True),
    Case(
        "header too large",
        changes.weights(b"{" + b" " * (17 << 20)),
        "at most 16777216",
        weights=True,
    ),
    Case("no header", changes.holding("model.safetensors", b"\0" * 7), "no header", weights=True),
    Case("header is no JSON", changes.weights(b"{'a': 1}"), "no JSON", weights=True),
    Case("header is nested", changes.weights(b'{"a":' + b"[" * 200_000), "no JSON", weights=True),
    Case("header is a list", changes.weights([]), "no JSON object", weights=True),
    Case("metadata nested", changes.weights({"__metadata__": {"a": {}}}), "texts", weights=True),
    Case(
        "out of range",
        changes.weights({"a": changes.tensor(4, 1, offsets=(0, 16))}),
        "end at 16",
        weights=True,
    ),
    Case(
        "beyond all",
        changes.weights({"a": changes.tensor(2, offsets=(1 << 40, (1 << 40) + 8))}),
        "gap",
        True,
    ),
    Case(
        "overlap",
        changes.weights({"a": ONE, "b": changes.tensor(1, offsets=(4, 8))}),
        "overlaps the one before",
        weights=True,
    ),
    Case(
        "gap",
        changes.weights({"a": changes.tensor(1, offsets=(4, 8))}),
        "leaves a gap",
        weights=True,
    ),
    Case(
        "bytes at the end",
        changes.weights({"a": changes.tensor(1, offsets=(0, 4))}),
        "end at 4",
        weights=True,
    ),
    Case(
        "turned offsets",
        changes.weights({"a": changes.tensor(0, offsets=(8, 0))}),
        "ends before",
        weights=True,
    ),
    Case("other size", changes.weights({"a": changes.tensor(3)}), "needs 12 bytes", weights=True),
    Case(
        "unknown dtype",
        changes.weights({"a": changes.tensor(2, dtype="OBJ")}),
        "unknown dtype",
        weights=True,
    ),
    Case(
        "huge shape",
        changes.weights({"a": changes.tensor(*[2**31] * 9)}),
        "too large",
        weights=True,
    ),
    Case(
        "negative shape",
        changes.weights({"a": changes.tensor(-2, -1)}),
        "the number '-2'",
        weights=True,
    ),
    Case("fraction", changes.weights(b'{"a": 1.5}'), "the number '1.5'", weights=True),
    Case("not a number", changes.weights(b'{"a": NaN}'), "the number 'NaN'", weights=True),
    Case(
        "long number",
        changes.weights(b'{"a": %s}' % (b"9" * 5_000)),
        "the number '999",
        weights=True,
    ),
    Case("name twice", changes.weights(b'{"a": 1, "a": 2}'), "'a' twice", weights=True),
    Case("half a character", changes.weights(b'{"\\ud800": 1}'), "no JSON", weights=True),
    Case(
        "field too many",
        changes.weights({"a": {**ONE, "url": "x"}}),
        "unknown field `url`",
        weights=True,
    ),
    Case(
        "field missing",
        changes.weights({"a": {"dtype": "F32"}}),
        "missing required field",
        weights=True,
    ),
    Case(
        "many tensors in weights",
        changes.weights({f"t{at}": changes.tensor(0, offsets=(0, 0)) for at in range(501)}, b""),
        "501 tensors",
        weights=True,
    ),
    Case("a terabyte of nothing", changes.sparse, "at most", weights=True),
]


def main() -> None:
    """Print the seconds of each refusal, longest first: on the clock, and of the processor."""
    took: list[tuple[float, float, str, str]] = []
    for case in CORPUS:
        with tempfile.TemporaryDirectory() as place:
            folder = changes.good(Path(place) / "upload", weights=case.weights)
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
