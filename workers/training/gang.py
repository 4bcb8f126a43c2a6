"""A run in several processes of this machine: torchrun starts them, and again when one of them dies.

    launch ── torchrun ─┬─ member 0   writes the run's files
                        └─ member 1   computes its share of each batch

All members end with one of them; torchrun starts all again, and they go on from the last checkpoint.
A run that is refused, or cannot go on, is not tried again: its reason comes back in a file. The
manifest is recorded here, so no member holds a private key. Members speak gloo on processors; nccl
between GPUs is written and was never run. `tests/workers/training/test_gang.py` kills a member, and
compares with one process.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from chimera.schemas.errors import ConfigurationError, TrainingAborted, TrainingRefused
from chimera.schemas.settings import inheritable
from chimera.schemas.signing import SigningKey
from chimera.schemas.training_config import TrainingConfig
from chimera.schemas.training_manifest import TrainingManifest, decode_manifest
from chimera.workers.training import recording
from chimera.workers.training.folder import CONFIG, MANIFEST
from chimera.workers.training.tail import Tail
from chimera.workers.training.tracking import Listener

MEMBER = "chimera.workers.training.member"
ORDER, REFUSAL = "gang.json", "refusal.json"
FRESH_STORE = {  # else members that were started again read where those before them had listened
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"
}
LOOK_EVERY_S = 0.2
ENDED = {one.__name__: one for one in (TrainingRefused, TrainingAborted, ConfigurationError)}


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What members are told."""

    config: TrainingConfig
    runs: str
    run_id: str
    allowed: tuple[str, ...]
    device: str  # cpu, or cuda: each member has its own
    resident_bytes: int
    mlflow_uri: str | None = None


class Refusal(msgspec.Struct, frozen=True):
    """Why no member should be started again."""

    error: str  # of ENDED
    message: str


def launch(
    order: Order,
    processes: int,
    *,
    restarts: int = 3,
    resume: bool = False,
    key: SigningKey | None = None,
    listeners: Sequence[Listener] = (),
) -> TrainingManifest:
    """Do all of a run, or the rest of it; `listeners` hear what the first member tells.

    Raises:
        TrainingRefused, ConfigurationError: the order, its data, or what is left of the run.
        TrainingAborted: the loss is no number too often, or members died more than `restarts` times.
    """
    folder = Path(order.runs) / order.run_id
    has_begun = (folder / CONFIG).exists()
    if resume != has_begun:
        what = "was never begun" if resume else "exists: resume it, or choose another id"
        raise TrainingRefused(f"run {order.run_id} {what}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / REFUSAL).unlink(missing_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    tail = Tail(folder)
    (folder / ORDER).write_bytes(msgspec.json.encode(order))
    with (folder / "members.log").open("ab") as log:
        command = _command(folder / ORDER, processes, restarts)
        environment = inheritable() | FRESH_STORE
        running = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
        )
        try:
            _listen(running, tail, listeners)
        finally:
            running.terminate()  # torchrun ends its members
            running.wait()
    return _recorded(order, folder, running.returncode, key)


def _command(order: Path, processes: int, restarts: int) -> list[str]:
    torchrun = ["--standalone", f"--nproc-per-node={processes}", f"--max-restarts={restarts}"]
    return [sys.executable, "-m", "torch.distributed.run", *torchrun, "-m", MEMBER, str(order)]


def _listen(running: "subprocess.Popen[bytes]", tail: Tail, listeners: Sequence[Listener]) -> None:
    """Until the processes end."""
    is_running = True
    while is_running:
        is_running = running.poll() is None
        for line in tail.read():
            for listener in listeners:
                listener(line)
        if is_running:
            time.sleep(LOOK_EVERY_S)


def _recorded(order: Order, folder: Path, code: int, key: SigningKey | None) -> TrainingManifest:
    refusal = folder / REFUSAL
    if refusal.exists():
        found = msgspec.json.decode(refusal.read_bytes(), type=Refusal)
        raise ENDED[found.error](found.message)
    if not (folder / MANIFEST).exists():
        raise TrainingAborted(
            f"run {order.run_id}: its processes ended (torchrun: {code}); see {folder}/members.log"
        )
    draft = decode_manifest((folder / MANIFEST).read_bytes())
    return recording.record(Path(order.runs), draft, key)
