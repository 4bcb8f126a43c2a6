"""What an executor of one kind can load on its device: sources as they are, and compiled variants.

There are two kinds, as ONNX Runtime needs a tenth of torch's memory: one that never imports torch, and
one that has both. Of a variant only the file that the registry names is opened, on the kind of device
that it was made for, and by the machine and the library that it was made for: native code of another
processor ends the process. What a GPU is takes torch to know, so its graphs are opened without this
look, and with it none was here. `tests/workers/backends/test_loaders.py`.
"""

from pathlib import Path

from chimera.schemas.compile_report import read_variant
from chimera.schemas.errors import ModelRefused
from chimera.schemas.manifest import Manifest
from chimera.schemas.placements import Variant
from chimera.schemas.tiers import BY_NAME, Tier
from chimera.workers.backends.onnx_runtime import OnnxRuntime
from chimera.workers.backends.opening import Artifact, Place, check_files, open_artifact
from chimera.workers.backends.protocol import Backend
from chimera.workers.compiling import targets


class OnnxLoader:
    """Without torch."""

    def __init__(self, device: str, threads: int, definitions: tuple[str, ...] = ()) -> None:
        """Raises ConfigurationError: there is no such device, or it cannot be used."""
        self._runtime = OnnxRuntime(device, threads)
        self._place = Place(device, threads, definitions)

    def load(self, manifest: Manifest, model: bytes) -> Backend:
        """See `Loader`. Raises ModelRefused."""
        return self._runtime.load(manifest, model)

    def open(self, manifest: Manifest, source: bytes, variant: Variant) -> Backend:
        """See `Loader`. Raises ModelRefused."""
        name, precision = read_variant(variant.name)
        tier, kind = BY_NAME[name], self._place.device.partition(":")[0]
        if tier.device != kind:
            raise ModelRefused(f"{variant.name} runs on {tier.device}, this is {kind}")
        self._require_library(tier)
        own = self._target(tier)
        if tier.file is not None and variant.target and own and variant.target != own:
            raise ModelRefused(
                f"{variant.name} was made for {variant.target}, this machine is {own}: the processor"
                f" or {targets.installed(tier.library)} is another; compile the version again"
            )
        folder = Path(variant.folder)
        check_files(folder, variant.files)
        return open_artifact(Artifact(manifest, name, precision, folder, source), self._place)

    def _target(self, tier: Tier) -> str:
        """The key of this machine; empty: nobody can say."""
        return targets.of_cpu(tier, self._place.threads) if tier.device == "cpu" else ""

    def _require_library(self, tier: Tier) -> None:
        if tier.library != "onnxruntime":
            raise ModelRefused(f"{tier.name} needs {tier.library}, which this executor has not")


class TorchLoader(OnnxLoader):
    """With torch too; an executor of this kind has ten times the memory."""

    def _require_library(self, tier: Tier) -> None:
        if tier.library == "tensorrt":
            raise ModelRefused(f"{tier.name} is experimental: no device has reported it")

    def _target(self, tier: Tier) -> str:
        if tier.device == "cpu":
            return super()._target(tier)
        from chimera.workers.compiling import gpu

        found = gpu.find(self._place.device)
        return "" if isinstance(found, str) else found.target(tier)
