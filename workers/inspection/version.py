"""A stranger's folder as a version of a model: what each file must be, and how they fit together.

    model.onnx          an ONNX graph without external data, which takes what the manifest says
    *.safetensors       weights, samples
    *.json              labels and the like: JSON, which no other reader takes for something else
    *.pt2, *.pt2.sig    a program exported or compiled here, and our signature over its SHA-256
    manifest.json       what is missing in it is filled in: files, digests, sizes
    manifest.sig        left as it is: whoever packs signs anew

Everything else is refused. Cheap checks of all files come first, the digests last. It runs in the
confined process. `tests/workers/test_inspection.py` tries each thing that must not pass.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from chimera.schemas import manifest as manifests
from chimera.schemas.errors import ModelRefused
from chimera.schemas.manifest import (
    GRAPH_FILE,
    MANIFEST_FILE,
    SIGNATURE_FILE,
    WEIGHTS_FILE,
    File,
    Manifest,
)
from chimera.schemas.tensors import shown
from chimera.workers.inspection import contents, entries, weights
from chimera.workers.inspection.entries import Entry
from chimera.workers.inspection.rules import Rules
from chimera.workers.inspection.weights import Tensor

MAX_TEXT_BYTES = 1 << 20  # of a JSON file
MAX_SIGNATURE_BYTES = 256
NO_DIGEST = "0" * 64  # in a manifest: to be filled in
_DTYPES = {
    "BOOL": "BOOL", "UINT8": "U8", "UINT16": "U16", "UINT32": "U32", "UINT64": "U64",
    "INT8": "I8", "INT16": "I16", "INT32": "I32", "INT64": "I64",
    "FP16": "F16", "BF16": "BF16", "FP32": "F32", "FP64": "F64",
}  # fmt: skip

Later = Callable[[], File]
Judge = Callable[[Manifest], None]


class Inspection:
    """Of one folder; `result` is its manifest, complete."""

    def __init__(self, folder: Path, rules: Rules) -> None:
        self._rules = rules
        self._headers: dict[str, dict[str, Tensor]] = {}
        self._judges: list[Judge] = []  # of what only the manifest can say
        with entries.opened(folder, rules.max_file_bytes) as found:
            self._found = found
            said = _said(found)
            parts = [found[name] for name in found if _is_part(name)]
            for entry in parts:
                self._require_kind(entry)
            parts.sort(key=lambda entry: entry.name.endswith(".onnx"))  # they cost the most
            pending = {entry.name: self._check(entry) for entry in parts}
            files = {name: pending[name]() for name in sorted(pending)}
        self.result = completed(said, files)
        for judge in self._judges:
            judge(self.result)
        self._require_samples(self.result)

    def _check(self, entry: Entry) -> Later:
        """Refuse a file, or say how to get its digest."""
        for suffix, check in (
            (".onnx", self._check_graph),
            (".safetensors", self._check_weights),
            (".json", self._check_json),
            (".pt2", self._check_program),
            (".pt2.sig", self._check_signature),
        ):
            if entry.name.endswith(suffix):
                return check(entry)
        raise ModelRefused(
            f"{entry.name}: is no part of a model: {GRAPH_FILE}, *.safetensors, *.json or *.pt2"
        )

    def _require_kind(self, entry: Entry) -> None:
        """Refuse what no file may be; a program with a signature is an archive."""
        kind = contents.refused_kind(entry.file, entry.size_bytes)
        is_program = entry.name.endswith(".pt2") and f"{entry.name}.sig" in self._found
        if kind and not (is_program and kind.startswith("a zip archive")):
            raise ModelRefused(f"{entry.name}: is {kind}")

    def _check_graph(self, entry: Entry) -> Later:
        from chimera.workers.inspection.graphs import MAX_GRAPH_BYTES, Graph

        if entry.name != GRAPH_FILE:
            raise ModelRefused(f"{entry.name}: the one graph of a version is {GRAPH_FILE}")
        model = entry.read(MAX_GRAPH_BYTES)
        graph = Graph(model, entry.name, self._rules)
        self._judges.append(lambda manifest: graph.require(manifest.inputs, manifest.outputs))
        digest = entry.digest(model)
        return lambda: digest

    def _check_weights(self, entry: Entry) -> Later:
        self._headers[entry.name], known = weights.read_header(
            entry.file, entry.size_bytes, entry.name, self._rules.max_tensors
        )
        return lambda: entry.digest(known)

    def _check_json(self, entry: Entry) -> Later:
        raw = entry.read(MAX_TEXT_BYTES)
        try:
            msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ModelRefused(f"{entry.name}: is no JSON: {error}") from None
        return lambda: entry.digest(raw)

    def _check_program(self, entry: Entry) -> Later:
        """Programs run code: only our own word says that they may."""
        from chimera.schemas import signing  # here: other files need no cryptography

        if f"{entry.name}.sig" not in self._found:
            raise ModelRefused(
                f"{entry.name}: is a program, taken only with our signature {entry.name}.sig"
            )
        signature = _text(self._found[f"{entry.name}.sig"])
        digest = entry.digest(b"")
        keys = (signing.read_public(text, "a trusted key") for text in self._rules.trusted)
        signing.Trusted(keys).verify(
            signing.Kind.PROGRAM, bytes.fromhex(digest.sha256), signature, f"{entry.name}.sig"
        )
        return lambda: digest

    def _check_signature(self, entry: Entry) -> Later:
        if entry.name.removesuffix(".sig") not in self._found:
            raise ModelRefused(f"{entry.name}: signs a file that is not there")
        known = _text(entry).encode()
        return lambda: entry.digest(known)

    def _require_samples(self, manifest: Manifest) -> None:
        """The sample inputs are the manifest's inputs, each of a shape and datatype that it takes."""
        if not manifest.samples:
            return
        found, name = self._headers[manifest.samples], manifest.samples
        wanted = {spec.name: spec for spec in manifest.inputs}
        if odd := sorted(found.keys() ^ wanted.keys()):
            raise ModelRefused(f"{name}: should hold each input and nothing else: {odd[0]!r}")
        for spec in manifest.inputs:
            tensor = found[spec.name]
            if tensor.dtype != _DTYPES.get(spec.datatype):
                raise ModelRefused(
                    f"{name}: {spec.name!r} is {tensor.dtype}, the manifest says {spec.datatype}"
                )
            if len(tensor.shape) != len(spec.shape) or any(
                said not in (-1, size) for size, said in zip(tensor.shape, spec.shape, strict=True)
            ):
                raise ModelRefused(
                    f"{name}: {spec.name!r} has the shape {shown(tensor.shape)},"
                    f" the manifest says {shown(spec.shape)}"
                )


def completed(said: dict[str, Any], files: dict[str, File]) -> Manifest:
    """A manifest with the files that are there; what it says of them already has to be true.

    Raises:
        ModelRefused: it lacks something else, or its files or digests are others.
    """
    _require_said_files(said.get("files"), files)
    source = WEIGHTS_FILE if said.get("definition") else GRAPH_FILE
    if source not in files:
        raise ModelRefused(f"{source}: is missing, and everything else is made of it")
    if said.get("sha256", NO_DIGEST) not in (NO_DIGEST, files[source].sha256):
        raise ModelRefused(
            f"{source}: SHA-256 is {files[source].sha256}, the manifest says {said['sha256']!r}"
        )
    full = {**said, "sha256": files[source].sha256, "files": files}
    return manifests.decode(msgspec.json.encode(full), MANIFEST_FILE)


def _require_said_files(said: object, files: dict[str, File]) -> None:
    if not said:
        return
    try:
        named = msgspec.convert(said, dict[str, File])
    except msgspec.ValidationError as error:
        raise ModelRefused(f"{MANIFEST_FILE}: files: {error}") from None
    for name in sorted(named.keys() | files.keys()):
        if not manifests.is_file_name(name):
            raise ModelRefused(f"{MANIFEST_FILE}: files: {name!r} is no plain file name")
        if name not in files:
            raise ModelRefused(f"{name}: the manifest names it, and it is not there")
        if named.get(name) != files[name]:
            raise ModelRefused(f"{name}: is not the file that the manifest names")


def _is_part(name: str) -> bool:
    return name not in (MANIFEST_FILE, SIGNATURE_FILE)


def _said(found: dict[str, Entry]) -> dict[str, Any]:
    """The manifest as it is, complete or not."""
    if MANIFEST_FILE not in found:
        raise ModelRefused(f"{MANIFEST_FILE}: is missing")
    raw = found[MANIFEST_FILE].read(MAX_TEXT_BYTES)
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelRefused(f"{MANIFEST_FILE}: {error}") from None


def _text(entry: Entry) -> str:
    """A signature's line; a newline at its end is a person's."""
    raw = entry.read(MAX_SIGNATURE_BYTES)
    try:
        return raw.decode("ascii").removesuffix("\n")
    except UnicodeDecodeError:
        raise ModelRefused(f"{entry.name}: is no signature") from None
