"""The manifest of a model version: what it takes, what it gives, and which file it is.

It lies as `manifest.json` beside the version's files, in the folder that bears the model's name and
version. A version's source is an ONNX graph, or the weights of a torch module whose definition is
named by its import path; what is compiled from it later is not part of the manifest. Shapes are the
model's own with its batch dimension, -1 where a size varies; names follow the Open Inference
Protocol's metadata and Triton's configuration. Readers ignore fields that they do not know. Its
signature lies beside it; a version's digest is the SHA-256 of the manifest's bytes.
`tests/workers/test_models.py` and `tests/schemas/test_manifest.py` read good and bad ones.
"""

import re
from typing import Annotated, Literal

import msgspec

from chimera.schemas.definitions import is_definition
from chimera.schemas.errors import ModelRefused
from chimera.schemas.tensors import DATATYPES

MANIFEST_VERSION = 1
MAX_BATCH_ROWS = 65_536
MAX_FILES = 64
GRAPH_FILE, WEIGHTS_FILE = "model.onnx", "model.safetensors"
MANIFEST_FILE, SIGNATURE_FILE = "manifest.json", "manifest.sig"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

Ordering = Literal["key", "none"]
Size = Annotated[int, msgspec.Meta(ge=-1, le=2**31 - 1)]
Rows = Annotated[int, msgspec.Meta(ge=1, le=MAX_BATCH_ROWS)]
MaxRows = Annotated[int, msgspec.Meta(ge=0, le=MAX_BATCH_ROWS)]
Text = Annotated[str, msgspec.Meta(max_length=255)]
Digest = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Argument = bool | int | float | str | None | tuple[int, ...]


class TensorSpec(msgspec.Struct, frozen=True):
    """An input or an output."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    datatype: str
    shape: Annotated[tuple[Size, ...], msgspec.Meta(max_length=32)]


class File(msgspec.Struct, frozen=True):
    """One of a version's files, whole and unchangeable."""

    sha256: Digest
    size_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**40)]


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """One version of one model. `max_batch_size` and the delay default to the settings'."""

    name: str
    version: str
    inputs: Annotated[tuple[TensorSpec, ...], msgspec.Meta(min_length=1, max_length=64)]
    outputs: Annotated[tuple[TensorSpec, ...], msgspec.Meta(min_length=1, max_length=64)]
    sha256: Digest  # of the source file
    ordering: Ordering = "key"
    max_batch_size: MaxRows | None = None  # rows; 0: the model knows no batches
    max_queue_delay_us: Annotated[int, msgspec.Meta(ge=0, le=60_000_000)] | None = None
    preferred_batch_size: Annotated[tuple[Rows, ...], msgspec.Meta(max_length=64)] = ()
    labels: tuple[Text, ...] = ()  # of the classes, in the order of their scores
    tolerance: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0  # another version's numbers agree
    #   that differ by so much of their row's largest; for outputs that are no scores
    files: Annotated[
        dict[str, File], msgspec.Meta(max_length=MAX_FILES)
    ] = {}  # by name, the source among them; none: it is model.onnx alone
    definition: Text = ""  # torch only: package.module:factory, from the settings' allow-list
    arguments: dict[str, Argument] = {}  # torch only: the factory's keyword arguments
    samples: Text = ""  # the file (safetensors) with sample inputs, by their names
    training_run: Text = ""  # that made it
    v: int = MANIFEST_VERSION

    @property
    def source(self) -> str:
        """The name of the file that everything else is made of."""
        return WEIGHTS_FILE if self.definition else GRAPH_FILE

    @property
    def batches(self) -> bool:
        """Whether the first dimension is a batch's, which requests may share."""
        specs = (*self.inputs, *self.outputs)
        return self.max_batch_size != 0 and all(spec.shape[:1] == (-1,) for spec in specs)


_DECODER = msgspec.json.Decoder(Manifest)


def encode(manifest: Manifest) -> bytes:
    """As JSON for people: indented."""
    fields = {**msgspec.to_builtins(manifest), "v": manifest.v}
    return msgspec.json.format(msgspec.json.encode(fields), indent=2) + b"\n"


def encode_draft(manifest: Manifest) -> bytes:
    """The same without digests: to be packed, which fills them in."""
    fields = msgspec.json.decode(encode(manifest), type=dict[str, object])
    for field in ("sha256", "files"):
        fields.pop(field, None)
    return msgspec.json.format(msgspec.json.encode(fields), indent=2) + b"\n"


def decode(raw: bytes, path: str) -> Manifest:
    """Read and check a manifest; `path` is named in errors.

    Raises:
        ModelRefused: not JSON, a field is missing or wrong, or a version of it not known here.
    """
    try:
        manifest = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelRefused(f"{path}: {error}") from None
    if manifest.v != MANIFEST_VERSION:
        raise ModelRefused(f"{path}: v is {manifest.v}, this release reads {MANIFEST_VERSION}")
    for field, name in (("name", manifest.name), ("version", manifest.version)):
        if not is_name(name):
            raise ModelRefused(f"{path}: {field} {name!r} is no name: letters, digits, . _ -")
    for field, specs in (("inputs", manifest.inputs), ("outputs", manifest.outputs)):
        if len({spec.name for spec in specs}) < len(specs):
            raise ModelRefused(f"{path}: {field} names a tensor twice")
        for spec in specs:
            if spec.datatype not in DATATYPES:
                raise ModelRefused(f"{path}: {spec.name}: unknown datatype {spec.datatype!r}")
    _require_files(manifest, path)
    _require_definition(manifest, path)
    return manifest


def is_name(text: str) -> bool:
    """Whether a model or a version may be called so: it becomes a folder and a label."""
    return _NAME.fullmatch(text) is not None


def is_file_name(text: str) -> bool:
    """Whether one of a version's files may be called so: no path, no draft, none of our own."""
    return is_name(text) and text.casefold() not in (MANIFEST_FILE, SIGNATURE_FILE)


def _require_files(manifest: Manifest, path: str) -> None:
    """The files have plain names that differ on every file system; source and samples are there."""
    for name in manifest.files:
        if not is_file_name(name):
            raise ModelRefused(f"{path}: files: {name!r} is no plain file name")
    if len({name.casefold() for name in manifest.files}) < len(manifest.files):
        raise ModelRefused(f"{path}: files: two names differ in case alone")
    source = manifest.files.get(manifest.source)
    if manifest.files and source is None:
        raise ModelRefused(f"{path}: files: {manifest.source}, the source, is not among them")
    if source is not None and source.sha256 != manifest.sha256:
        raise ModelRefused(f"{path}: files: {manifest.source} has not the digest that sha256 has")
    if manifest.samples and not manifest.samples.endswith(".safetensors"):
        raise ModelRefused(f"{path}: samples: {manifest.samples!r} is no .safetensors file")
    if manifest.samples and manifest.samples not in manifest.files:
        raise ModelRefused(f"{path}: samples: {manifest.samples!r} is not among the files")


def _require_definition(manifest: Manifest, path: str) -> None:
    """Weights and definition come together; whether it may be imported is the settings' to say."""
    if not manifest.definition:
        if manifest.arguments:
            raise ModelRefused(f"{path}: arguments are a definition's, and there is none")
        return
    if not is_definition(manifest.definition):
        raise ModelRefused(
            f"{path}: definition {manifest.definition!r} should be package.module:factory"
        )
    if not manifest.files:
        raise ModelRefused(f"{path}: a definition needs its weights among the files")
    if wrong := [name for name in manifest.arguments if not name.isidentifier()]:
        raise ModelRefused(f"{path}: arguments: {wrong[0]!r} is no name of an argument")
