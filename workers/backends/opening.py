"""From an artifact's files to a backend that is ready to run: the one place that knows which is whose.

Both who verifies and who serves comes through here, so that what was verified is what is served. Each
runtime is imported only for its own tiers: an ONNX tier never imports torch.
`tests/workers/compiling/test_pipeline.py` opens each tier that runs on a processor.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from chimera.schemas.compile_report import Precision, variant
from chimera.schemas.errors import ModelRefused
from chimera.schemas.manifest import File, Manifest
from chimera.schemas.tiers import BY_NAME, ENGINE, GRAPH, PACKAGE
from chimera.workers import aside
from chimera.workers.backends.protocol import Backend

PLAN = "plan.json"


@dataclass(frozen=True, slots=True)
class Artifact:
    """One variant of one version; its files were compared with their digests (`check_files`)."""

    manifest: Manifest
    tier: str
    precision: Precision
    folder: Path  # with this variant's own files
    source: bytes  # of the version: what the eager tiers run

    @property
    def variant(self) -> str:
        return variant(self.tier, self.precision)


@dataclass(frozen=True, slots=True)
class Place:
    device: str  # cpu or cuda:<index>
    threads: int
    definitions: tuple[str, ...] = ()  # the settings' allow-list


def check_files(folder: Path, files: Mapping[str, File]) -> None:
    """Raises ModelRefused: a file is missing, or is not the one that the report names."""
    for name, known in files.items():
        path = folder / name
        if Path(name).name != name or path.is_symlink():
            raise ModelRefused(f"{path}: is no plain file of this folder")
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ModelRefused(f"{path}: {error.strerror}") from None
        if digest != known.sha256:
            raise ModelRefused(f"{path}: is not the file that was verified")


def open_artifact(artifact: Artifact, place: Place) -> Backend:
    """Load it; the backend's `tier` is the variant's name.

    Raises:
        ModelRefused: its files cannot be loaded here.
        ConfigurationError: the device cannot be used.
    """
    library = BY_NAME[artifact.tier].library
    if library == "onnxruntime":
        return _open_graph(artifact, place)
    if library == "tensorrt":
        return _open_engine(artifact, place)
    return _open_torch(artifact, place)


def _open_graph(artifact: Artifact, place: Place) -> Backend:
    from chimera.workers.backends.onnx_runtime import OnnxRuntime

    tensorrt: dict[str, str] | None = {} if artifact.tier == "onnx-tensorrt" else None
    runtime = OnnxRuntime(place.device, place.threads, tensorrt=tensorrt)
    graph = aside.read(artifact.folder / GRAPH)
    return runtime.load_saved(artifact.manifest, graph, artifact.variant)


def _open_engine(artifact: Artifact, place: Place) -> Backend:
    from chimera.workers.backends.tensorrt_engine import TensorrtEngine
    from chimera.workers.compiling.tensorrt_plan import Plan

    made = msgspec.json.decode((artifact.folder / PLAN).read_bytes(), type=Plan)
    engine = aside.read(artifact.folder / ENGINE)
    return TensorrtEngine(place.device, artifact.variant).load(artifact.manifest, engine, made)


def _open_torch(artifact: Artifact, place: Place) -> Backend:
    if BY_NAME[artifact.tier].compiled:
        from chimera.workers.backends.torch_package import TorchPackage

        runtime = TorchPackage(place.device, place.threads, artifact.precision)
        return runtime.load(artifact.manifest, artifact.folder / PACKAGE)
    from chimera.workers.backends.torch_eager import TorchEager

    eager = TorchEager(place.device, place.threads, place.definitions, artifact.precision)
    return eager.load(artifact.manifest, artifact.source)
