"""What an executor asks of a runtime: load a model once, run it often.

Errors are the tree's own, so that an executor knows what to do without knowing the runtime.
"""

from collections.abc import Sequence
from typing import Protocol

from chimera.schemas.errors import ChimeraError
from chimera.schemas.manifest import Manifest
from chimera.schemas.placements import Variant
from chimera.schemas.tensors import Array


class DeviceLost(ChimeraError):
    """The device will compute nothing for this process any more: it has to end."""


class Backend(Protocol):
    """A model that is loaded, in one tier."""

    @property
    def tier(self) -> str:
        """For example onnx-cpu; it goes into every result's headers."""
        ...

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """Compute one batch; inputs and outputs in the manifest's order, rows first.

        Raises:
            OutOfMemory: this batch did not fit; a smaller one may.
            ModelFailed: the model refused this batch.
            DeviceLost: and will refuse every other.
        """
        ...


class Loader(Protocol):
    """Makes backends on one device."""

    def load(self, manifest: Manifest, model: bytes) -> Backend:
        """Check a model file, whose digest is known to be right, and make it ready to run.

        Raises:
            ModelRefused: it must not be served, or is not what the manifest says.
        """
        ...

    def open(self, manifest: Manifest, source: bytes, variant: Variant) -> Backend:
        """Make a verified variant of it ready to run; the backend's tier is the variant's name.

        Raises:
            ModelRefused: its files are not those that were verified, or it cannot run here.
        """
        ...
