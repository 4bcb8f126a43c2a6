"""A process that finds usable GPUs and ends: `python -m chimera.workers.probe` names one a line."""

import sys

from chimera.workers.backends.onnx_runtime import usable_gpus

if __name__ == "__main__":
    sys.stdout.write("".join(f"{device}\n" for device in usable_gpus()))
