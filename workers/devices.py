"""Which devices a node's executors compute on.

Settings may name them; else it is every GPU on which ONNX Runtime can really make a session, which
a process of its own tries, because a node must hold neither CUDA nor the runtime; else the
processor. Without the driver's device files there is nothing to try.
`tests/workers/test_devices.py`.
"""

import asyncio
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog

from chimera.schemas.errors import ConfigurationError
from chimera.schemas.settings import inheritable

log = structlog.get_logger(__name__)

PROBE = (sys.executable, "-P", "-m", "chimera.workers.probe")
PROBE_WITHIN_S = 60.0
QUIET = {"ORT_DISABLE_TELEMETRY": "1"}  # ONNX Runtime reports to its maker unless it is told not to
_DEVICE = re.compile(r"cpu|cuda:[0-9]{1,3}")


async def devices(named: Sequence[str], probe: Sequence[str] = PROBE) -> tuple[str, ...]:
    """The devices to use: those that settings name, or what is there.

    Raises:
        ConfigurationError: settings name what can be no device, or one of them twice.
    """
    for device in named:
        if not _DEVICE.fullmatch(device):
            raise ConfigurationError(
                f"CHIMERA_SERVING__DEVICES: {device!r} is no device, use cpu or cuda:0"
            )
    if len(set(named)) < len(named):
        raise ConfigurationError("CHIMERA_SERVING__DEVICES: names a device twice")
    if named:
        return tuple(named)
    return await _usable_gpus(probe) or ("cpu",) if has_driver() else ("cpu",)


def has_driver() -> bool:
    """Whether NVIDIA's driver has any device here."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()


async def _usable_gpus(probe: Sequence[str]) -> tuple[str, ...]:
    process = await asyncio.create_subprocess_exec(
        *probe,
        env=inheritable() | QUIET,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), PROBE_WITHIN_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        log.error("gpu_probe_hangs", seconds=PROBE_WITHIN_S)
        return ()
    found = tuple(
        line for line in out.decode("utf-8", "replace").split() if _DEVICE.fullmatch(line)
    )
    log.info("gpus_found", devices=found, status=process.returncode)
    return found
