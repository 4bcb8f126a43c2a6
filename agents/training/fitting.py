"""What is told fits its topic: an event that would not is told shorter, and says so.

    finished               of its manifest: columns that drifted, then fewer of them and of its slices
    drift, served_drift    fewer columns; both: the most drifted, the largest, and how many there are
    any other              `omitted`: what it was, and how large

Kafka refuses a record over its topic's limit, and no row of the outbox behind it would be told any
more. The whole of a manifest stands in the run's folder, its row of the registry and the history. Pure.
`tests/agents/training/test_fitting.py`.
"""

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from chimera.schemas.batches import BATCH_BYTES, FRAMING_BYTES
from chimera.schemas.errors import RequestError
from chimera.schemas.training_events import (
    DriftFound,
    Event,
    EventOmitted,
    LeftOut,
    RunFinished,
    ServedDriftFound,
    decode_event,
    encode_event,
)
from chimera.schemas.training_manifest import Drift
from chimera.stores.registry.outbox import TRAINING
from chimera.stores.registry.records import OutboxRecord

EVENT_BYTES = BATCH_BYTES  # half of what the topic takes: such a batch has company


def fitting(event: Event, limit: int = EVENT_BYTES) -> Event:
    """The event, or as much of it as fits."""
    return next((one for one in _shorter(event) if _fits(one, limit)), _omitted(event))


def fitted(row: OutboxRecord, limit: int) -> bytes | None:
    """A row's value as its topic takes it, whoever has written it down; None: nothing of it fits."""
    if len(row.key) + len(row.value) + FRAMING_BYTES <= limit:
        return row.value
    try:
        return encode_event(fitting(decode_event(row.value))) if row.topic == TRAINING else None
    except RequestError:  # another release's
        return None


def _shorter(event: Event) -> Iterator[Event]:
    """The event, then less and less of it."""
    yield event
    if isinstance(event, RunFinished):
        yield from _finished(event)
    elif isinstance(event, DriftFound | ServedDriftFound):
        worst = _worst(event.columns)
        for count in _halves(len(worst)):
            left_out = event.drifted - count
            yield replace(event, columns=worst[:count], left_out=left_out)


def _finished(event: RunFinished) -> Iterator[RunFinished]:
    whole = event.manifest
    worst = _worst(whole.drift_from_previous)
    largest = sorted(whole.slices.items(), key=lambda one: -one[1].rows)
    left_out = LeftOut(
        compared=len(whole.drift_from_previous), drifted=len(worst), slices=len(largest)
    )
    for count in (*_halves(2 * max(len(worst), len(largest))), 0):
        manifest = replace(whole, drift_from_previous=worst[:count], slices=dict(largest[:count]))
        yield replace(event, manifest=manifest, left_out=left_out)


def _worst(columns: Iterable[Drift]) -> tuple[Drift, ...]:
    """Columns that drifted: first those that only one side has, then by how sure and how far."""
    drifted = (one for one in columns if one.is_drift)
    return tuple(
        sorted(drifted, key=lambda one: (one.test in ("ks", "chi2"), one.p_value, -one.psi))
    )


def _halves(count: int) -> Iterator[int]:
    """A half, a quarter and so on, down to one."""
    while count := count // 2:
        yield count


def _fits(event: Event, limit: int) -> bool:
    return len(encode_event(event)) <= limit


def _omitted(event: Event) -> EventOmitted:
    return EventOmitted(
        event_id=event.event_id,
        tenant=event.tenant,
        at_ms=event.at_ms,
        source=event.source,
        kind=str(event.__struct_config__.tag),
        size_bytes=len(encode_event(event)),
        run_id=getattr(event, "run_id", None),
    )
