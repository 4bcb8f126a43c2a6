"""What a version is compiled from: its manifest, its weights or graph, and its sample inputs.

Everything is compared with the manifest's digests before it is read. Knows no torch.
`tests/workers/compiling/test_source.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays

from chimera.schemas.errors import ModelRefused
from chimera.schemas.manifest import Manifest
from chimera.schemas.tensors import Array
from chimera.workers.models import Version, read_beside, read_manifest, read_model
from chimera.workers.verification.cases import Case, cases, check_samples


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    manifest: Manifest
    content: bytes  # of the source file
    samples: dict[str, Array]  # by input; none: inputs are made up

    def cases(self, rows: Sequence[int]) -> list[Case]:
        return cases(self.manifest, self.samples, rows)

    def inputs(self, rows: int) -> tuple[Array, ...]:
        """Samples, over and over, as one batch."""
        return self.cases((rows,))[0].inputs


def read_source(folder: Path) -> Source:
    """Of a version's folder.

    Raises:
        ModelRefused: names the file and the reason.
    """
    manifest = read_manifest(folder)
    version = Version(folder, manifest, manifest.sha256)
    samples: dict[str, Array] = {}
    if manifest.samples:
        raw = read_beside(version, manifest.samples)
        try:
            samples = dict(load_arrays(raw))
        except (SafetensorError, KeyError, ValueError) as error:
            path = folder / manifest.samples
            raise ModelRefused(f"{path}: is no safetensors file of numbers: {error}") from None
        check_samples(manifest, samples)
    return Source(manifest, read_model(version), samples)
