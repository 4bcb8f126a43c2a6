"""The folder of models: `<name>/<version>/{manifest.json, its files}`, found and checked.

Light enough for a node: it reads manifests and file names, hashes, and knows no ONNX. Whatever could
run code or read elsewhere is refused with its reason, and the others are served: links, pickled
files, names that lead out, a file that is not the one the manifest names. What the graph itself
must not hold is checked in `workers/backends`. `tests/workers/test_models.py` tries each.
"""

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISREG

import msgspec

from chimera.schemas import manifest as manifests
from chimera.schemas.errors import ModelRefused
from chimera.schemas.manifest import File, Manifest
from chimera.schemas.placements import Variant
from chimera.workers.aside import read_at_most

MODEL_FILE, MANIFEST_FILE = manifests.GRAPH_FILE, manifests.MANIFEST_FILE
MAX_MODEL_BYTES = 2 << 30  # protobuf's own limit: larger ones need external data
MAX_MANIFEST_BYTES = 1 << 20
_PICKLED = frozenset(
    [
        ".pt",
        ".pth",
        ".pkl",
        ".pickle",
        ".p",
        ".ckpt",
        ".joblib",
        ".dill",
        ".cloudpickle",
        ".npy",
        ".npz",
        ".mar",
        ".h5",
        ".keras",
    ]
)


@dataclass(frozen=True, slots=True)
class Version:
    """A version whose folder may be served, as far as can be told without its graph."""

    folder: Path
    manifest: Manifest
    digest: str  # what results name it by
    variants: tuple[Variant, ...] = ()  # none: the source is served as it is
    trusted: tuple[str, ...] | None = None  # public keys, as text; None: nobody signed it


@dataclass(frozen=True, slots=True)
class Refusal:
    """A version that is not served, and why."""

    model: str
    version: str
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    versions: tuple[Version, ...]  # by name, oldest first
    refusals: tuple[Refusal, ...]


def find(models_dir: Path) -> Found:
    """All versions in a folder of models, which may be missing.

    One that is refused never hides another.
    """
    versions: list[Version] = []
    refusals: list[Refusal] = []
    for model in _folders(models_dir):
        for folder in _folders(model):
            try:
                manifest = read_manifest(folder)
            except ModelRefused as error:
                refusals.append(Refusal(model.name, folder.name, str(error)))
            else:
                versions.append(Version(folder, manifest, manifest.sha256))
    versions.sort(key=lambda found: (found.manifest.name, version_order(found.manifest.version)))
    return Found(tuple(versions), tuple(refusals))


def read_manifest(folder: Path) -> Manifest:
    """Check a version's folder and read its manifest; the model file itself is not read.

    Raises:
        ModelRefused: names the file and the reason.
    """
    require_entries(folder)
    raw = read_file(folder / MANIFEST_FILE, MAX_MANIFEST_BYTES)
    manifest = manifests.decode(raw, str(folder / MANIFEST_FILE))
    require_names(folder, manifest)
    return manifest


def require_entries(folder: Path) -> None:
    """Refuse a folder with what no version has, whatever its manifest says. Raises ModelRefused."""
    _require_plain_folder(folder.parent)
    _require_plain_folder(folder)
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_symlink():
            raise ModelRefused(f"{entry.path}: a symbolic link could lead anywhere")
        if Path(entry.name).suffix.lower() in _PICKLED:
            raise ModelRefused(f"{entry.path}: pickled files run code when they are read")


def require_names(folder: Path, manifest: Manifest) -> None:
    """Refuse a manifest that is of another folder. Raises ModelRefused."""
    if (manifest.name, manifest.version) != (folder.parent.name, folder.name):
        raise ModelRefused(
            f"{folder / MANIFEST_FILE}: is of {manifest.name} {manifest.version},"
            f" its folder is {folder.parent.name}/{folder.name}"
        )


def read_model(version: Version) -> bytes:
    """The model file's bytes, which are what the manifest says.

    Raises:
        ModelRefused: missing, too large, or another file.
    """
    return _read_known(version.folder / version.manifest.source, version.manifest.sha256)


def read_beside(version: Version, name: str) -> bytes:
    """The bytes of one of the version's other files, which are what the manifest says.

    Raises:
        ModelRefused: the manifest does not name it; or as `read_model`.
    """
    path = version.folder / name
    known = version.manifest.files.get(name)
    if known is None or path.name != name:
        raise ModelRefused(f"{path}: is none of the manifest's files")
    return _read_known(path, known.sha256)


def write_model(
    models_dir: Path, model: bytes, manifest: Manifest, others: Mapping[str, bytes] = {}
) -> Path:
    """Create a version's folder, whole or not at all; the manifest's digests are filled in.

    `others` are files beside the source, such as sample inputs, by their names.

    Raises:
        ModelRefused: the version is there already, or a name is none.
    """
    files = {manifest.source: model, **others}
    digests = {name: File(_sha256(content), len(content)) for name, content in files.items()}
    manifest = msgspec.structs.replace(
        manifest,
        sha256=_sha256(model),
        files=digests if len(files) > 1 or manifest.definition else {},
    )
    manifests.decode(manifests.encode(manifest), MANIFEST_FILE)
    folder = models_dir / manifest.name / manifest.version
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = models_dir / manifest.name / f".{manifest.version}.{secrets.token_hex(4)}"
    draft.mkdir()
    try:
        for name, content in files.items():
            (draft / Path(name).name).write_bytes(content)
        (draft / MANIFEST_FILE).write_bytes(manifests.encode(manifest))
        draft.rename(folder)
    except OSError as error:
        shutil.rmtree(draft)
        raise ModelRefused(f"{folder}: {error.strerror}") from None
    return folder


def latest(versions: Iterable[str]) -> str | None:
    """The highest version: numbers in it count as numbers."""
    return max(versions, key=version_order, default=None)


def version_order(version: str) -> tuple[tuple[int, str], ...]:
    """A key to sort versions by: 9 before 10, 1.2 before 1.10, words before numbers."""
    parts = re.findall(r"[0-9]+|[^0-9]+", version)
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in parts)


def _read_known(path: Path, sha256: str) -> bytes:
    content = read_file(path, MAX_MODEL_BYTES)
    if (digest := _sha256(content)) != sha256:
        raise ModelRefused(f"{path}: SHA-256 is {digest}, the manifest names {sha256}")
    return content


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _folders(folder: Path) -> list[Path]:
    """Folders and links in it; those that begin with a dot are drafts."""
    if not folder.is_dir():
        return []
    return sorted(
        Path(entry.path)
        for entry in os.scandir(folder)
        if not entry.name.startswith(".") and (entry.is_symlink() or entry.is_dir())
    )


def _require_plain_folder(folder: Path) -> None:
    if not manifests.is_name(folder.name):
        raise ModelRefused(f"{folder}: {folder.name!r} is no name: letters, digits, . _ -")
    if not S_ISDIR(folder.lstat().st_mode):
        raise ModelRefused(f"{folder}: a symbolic link could lead anywhere")


def read_file(path: Path, limit_bytes: int) -> bytes:
    """A regular file that is no link, opened so that it cannot become one in between.

    Raises:
        ModelRefused: it is missing, something else, or larger.
    """
    try:
        fileno = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise ModelRefused(f"{path}: {error.strerror}") from None
    with open(fileno, "rb", buffering=0) as file:
        status = os.fstat(fileno)
        if not S_ISREG(status.st_mode):
            raise ModelRefused(f"{path}: is no regular file")
        if status.st_size > limit_bytes:
            raise ModelRefused(f"{path}: {status.st_size} bytes, at most {limit_bytes}")
        return read_at_most(file, limit_bytes + 1)
