"""An executor that has torch beside ONNX Runtime: started only where a torch tier is to compute.

All else is `executor.py`. It takes ten times the memory and some seconds to start, so a node has it
only while a version that it holds is fastest in a torch tier, or verified in no other.
`tests/workers/test_torch_executor.py` runs it.
"""

from chimera.workers import executor
from chimera.workers.backends.protocol import Loader


def _torch_loader(device: str, threads: int, definitions: tuple[str, ...]) -> Loader:
    from chimera.workers.backends.loaders import TorchLoader

    return TorchLoader(device, threads, definitions)


def run(arguments: list[str]) -> int:
    """An executor with torch; see `executor.main`."""
    return executor.main(arguments, _torch_loader)
