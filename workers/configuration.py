"""What a node tells an executor when it starts it: settings, cut down to what computing needs.

The executor does not read settings itself: their library alone would double its start.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from chimera.schemas.batches import BATCH_BYTES, ENVELOPE_BYTES, FRAMING_BYTES, Compression
from chimera.schemas.placements import Orders
from chimera.workers.dispatching.dispatch import Policy
from chimera.workers.shadowing.policy import Policy as ShadowPolicy

if TYPE_CHECKING:
    from chimera.schemas.settings import Settings

NO_DEADLY_TIERS: Mapping[str, Mapping[str, int]] = MappingProxyType({})


class Configuration(msgspec.Struct, frozen=True):
    """See the settings of the same names."""

    slot: str  # for example cpu:0, cuda:1:0: the device, and a number on it
    device: str
    node_pid: int
    models_dir: str
    threads: int
    max_batch_size: int
    max_queue_delay_us: int
    max_result_bytes: int
    max_claim_bytes: int
    claim_timeout_ms: int
    max_request_bytes: int
    batch_bytes: int  # of a batch of results, at most
    compression: Compression = "none"
    claim_prefixes: tuple[str, ...] = ()
    memory_bytes: int | None = None
    definitions: tuple[str, ...] = ()  # torch modules that may be imported
    dispatch: Policy = Policy()
    shadows: ShadowPolicy = ShadowPolicy()
    orders: Orders | None = None  # None: the whole folder of models, the highest versions answer
    left_out: dict[str, str] = {}  # by name/version: what is not to be loaded, and why
    deadly_tiers: dict[str, dict[str, int]] = {}  # by name/version: how many executors each ended
    tenant_keys_dir: str | None = None  # None: no journal is written
    log_format: str = "console"
    log_level: str = "info"


def configuration(
    settings: "Settings",
    slot: str,
    device: str,
    *,
    node_pid: int,
    orders: Orders | None = None,
    left_out: dict[str, str] | None = None,
    deadly_tiers: Mapping[str, Mapping[str, int]] = NO_DEADLY_TIERS,
) -> Configuration:
    """The configuration of the executor in `slot` on `device`."""
    serving, batching = settings.serving, settings.batching
    return Configuration(
        slot,
        device,
        node_pid,
        str(serving.models_dir.absolute()),
        serving.threads,
        batching.max_batch_size,
        batching.max_queue_delay_us,
        serving.max_result_bytes,
        serving.max_claim_bytes,
        serving.claim_timeout_ms,
        serving.max_request_bytes,
        min(BATCH_BYTES, serving.max_result_bytes + 2 * ENVELOPE_BYTES - FRAMING_BYTES),
        settings.commit.compression,
        serving.claim_prefixes,
        serving.executor_memory_bytes if device == "cpu" else None,  # CUDA maps terabytes
        settings.artifacts.definitions,
        Policy.of(settings),
        ShadowPolicy.of(settings),
        orders,
        left_out or {},
        {name: dict(tiers) for name, tiers in deadly_tiers.items()},
        _absolute(settings.journal.keys_dir) if settings.journal.enabled else None,
        settings.observability.log_format,
        settings.observability.log_level,
    )


def _absolute(folder: Path) -> str:
    return str(folder.expanduser().absolute())
