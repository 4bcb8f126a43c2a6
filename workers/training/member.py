"""One of a run's processes, as torchrun starts it: `python -m chimera.workers.training.member ORDER`.

It resumes where the run has begun, which torchrun's restarts have. `tests/workers/training/test_gang.py`.
"""

# pyright: reportUnknownMemberType=false, reportPrivateImportUsage=false
# (torch's functions are typed in part)

import sys
from datetime import timedelta
from pathlib import Path

import msgspec
import torch
from torch import distributed

from chimera.schemas.errors import ConfigurationError, TrainingAborted, TrainingRefused
from chimera.workers.training.folder import CONFIG
from chimera.workers.training.gang import REFUSAL, Order, Refusal
from chimera.workers.training.loaders import Place
from chimera.workers.training.run import Where, train

WAIT = timedelta(hours=24)  # the others wait while the first one prepares the data


def main(path: Path) -> int:
    """Exit status: 0, the run is over or will never be; else torchrun starts all again."""
    order = msgspec.json.decode(path.read_bytes(), type=Order)
    backend = "nccl" if order.device.startswith("cuda") else "gloo"
    distributed.init_process_group(backend, timeout=WAIT)
    place = Place(distributed.get_rank(), distributed.get_world_size())
    has_cuda = order.device.startswith("cuda")
    where = Where(
        runs=Path(order.runs),
        run_id=order.run_id,
        allowed=order.allowed,
        place=place,
        device=f"cuda:{place.rank}" if has_cuda else order.device,
        resident_bytes=order.resident_bytes,
        records=False,
        mlflow_uri=order.mlflow_uri,
    )
    refusal = where.folder / REFUSAL
    try:
        train(order.config, where, resume=_has_begun(where))
    except (TrainingRefused, TrainingAborted, ConfigurationError) as error:
        refusal.write_bytes(msgspec.json.encode(Refusal(type(error).__name__, str(error))))
    except RuntimeError:
        if not refusal.exists():  # else another member has left, and said why
            raise
    distributed.destroy_process_group()
    return 0


def _has_begun(where: Where) -> bool:
    """As the first one sees it before it writes: all have to do the same."""
    found = torch.tensor([(where.folder / CONFIG).exists()], dtype=torch.int32)
    distributed.broadcast(found, 0)
    return bool(found.item())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
