"""`chimera doctor` on what computes: drivers, wheels, devices, models, executors.

What is too heavy to import is not: versions are read from the wheels' files, and executors are
started as a node starts them. `tests/cli/test_doctor.py` breaks what can be broken.
"""

import asyncio
import ctypes
import importlib.util
import runpy
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from chimera.cli.checkup.findings import Finding, failed, note, ok
from chimera.schemas.errors import ChimeraError, ModelRefused
from chimera.schemas.settings import Settings
from chimera.schemas.work import Block, Deferred, Outcomes, Results
from chimera.workers import models
from chimera.workers.devices import devices, has_driver
from chimera.workers.pool import Pool
from chimera.workers.reports import Report

POOL_WITHIN_S = 120.0


def check(settings: Settings) -> Iterator[Finding]:
    """Everything that needs no event loop."""
    yield from _wheels()
    yield from _models(settings)


def _wheels() -> Iterator[Finding]:
    """CUDA of the wheels against CUDA of the driver; the wheels are not imported for it."""
    if not has_driver():
        yield note("GPU driver", "no NVIDIA driver on this machine: models run on the processor")
        return
    driver = driver_cuda()
    if driver is None:
        yield failed(
            "GPU driver", "libcuda.so.1 cannot be loaded", "install NVIDIA's driver (libcuda) again"
        )
        return
    yield ok("GPU driver", f"offers CUDA {driver[0]}.{driver[1]}")
    for name, cuda in (("onnxruntime", runtime_cuda()), ("torch", torch_cuda())):
        if not cuda:
            yield note(name, "a build without CUDA: it uses no GPU")
        elif int(cuda.split(".")[0]) > driver[0]:
            yield failed(
                name,
                f"is built for CUDA {cuda}, the driver offers {driver[0]}.{driver[1]}",
                "install a newer driver, or a build for the driver's CUDA",
            )
        else:
            yield ok(name, f"built for CUDA {cuda}")


def driver_cuda() -> tuple[int, int] | None:
    version = ctypes.c_int(0)
    try:
        status = ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except OSError:
        return None
    return None if status else (version.value // 1000, version.value % 1000 // 10)


def runtime_cuda() -> str:
    return _constant("onnxruntime", "capi/build_and_package_info.py", "cuda_version")


def torch_cuda() -> str:
    return _constant("torch", "version.py", "cuda")


def _constant(package: str, file: str, name: str) -> str:
    """A name of a small module inside a package that is too heavy to import; empty: none."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return ""
    path = Path(spec.submodule_search_locations[0]) / file
    return str(runpy.run_path(str(path)).get(name) or "") if path.exists() else ""


def _models(settings: Settings) -> Iterator[Finding]:
    folder = settings.serving.models_dir.absolute()
    found = models.find(folder)
    for version in found.versions:
        name = f"{version.manifest.name} {version.manifest.version}"
        try:
            size = len(models.read_model(version))
        except ModelRefused as error:
            yield failed("model", f"{name}: {error}", "write the version again, as a new one")
        else:
            yield ok("model", f"{name}, {size / (1 << 20):,.1f} MiB")
    for refusal in found.refusals:
        yield failed(
            "model", f"{refusal.model} {refusal.version}: {refusal.reason}", "put that right"
        )
    if not found.versions and not found.refusals:
        yield note("model", f"none in {folder}", "name their folder: CHIMERA_SERVING__MODELS_DIR")


async def check_executors(settings: Settings) -> list[Finding]:
    """Start what a node would start, see that it can compute, end it."""
    try:
        slots = await devices(settings.serving.devices)
    except ChimeraError as error:
        return [failed("devices", str(error), "name devices that are here, or none")]
    findings = [ok("devices", ", ".join(slots))]
    if has_driver() and not any(slot.startswith("cuda") for slot in slots):
        findings = [
            note(
                "devices", "a driver is here, but ONNX Runtime can use no GPU: the processor serves"
            )
        ]
    pool = Pool(settings, _Nobody())
    started_s = time.monotonic()
    try:
        async with asyncio.timeout(POOL_WITHIN_S):
            await pool.start()
    except (ChimeraError, TimeoutError) as error:
        why = str(error) or f"none could compute after {POOL_WITHIN_S:.0f} s"
        return [*findings, failed("executors", why, "see what executors log: `chimera node`")]
    else:
        took_s = time.monotonic() - started_s
        for one in pool.executors:
            for loaded in one.models:
                if loaded.refused:
                    what = f"{loaded.model} {loaded.version}: {loaded.refused}"
                    findings.append(failed("executors", what, "export the model again"))
            served = sum(not loaded.refused for loaded in one.models)
            found = f"{one.slot} computes after {took_s:.1f} s, serves {served} model versions"
            findings.append(ok("executors", found))
        return findings
    finally:
        await pool.stop()


class _Nobody:
    """Nothing is submitted, so nothing comes back."""

    def take_outcomes(self, outcomes: Outcomes) -> None: ...
    def take_results(self, results: Results) -> None: ...
    def take_unread(self, block: Block, accused: Collection[int]) -> None: ...
    def take_deferred(self, deferred: Deferred) -> None: ...
    def take_suspects(self, lane: int, offsets: list[int], reason: str) -> None: ...
    def take_death(self, reason: str) -> None: ...
    def take_report(self, report: Report) -> None: ...
