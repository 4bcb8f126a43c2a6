"""Which observations count for a watch, and for which of its versions; each counts once."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.agents.controlling.evidence import Evidence
from chimera.schemas.deployments import Placed, Watch
from chimera.schemas.model_commands import WatchPolicy
from chimera.schemas.model_observed import ModelObserved, Seen

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
SINCE_MS = int(SINCE.timestamp() * 1000)
OLD, NEW = Placed("1", "a" * 64), Placed("2", "b" * 64)
WINDOW_S = 120


def evidence(weight: int = 100) -> Evidence:
    policy = WatchPolicy(window_s=WINDOW_S)
    return Evidence("acme", "digits", Watch(5, NEW, weight, OLD, policy, SINCE))


def observed(version: str, revision: int, sequence: int = 1, **fields: Any) -> ModelObserved:
    given: dict[str, Any] = {
        "tenant": "acme",
        "model": "digits",
        "node": "n1",
        "seen": Seen(requests=10),
        **fields,
    }
    return ModelObserved(version=version, revision=revision, sequence=sequence, until_ms=0, **given)


@pytest.mark.parametrize(
    ("version", "revision", "after_s", "weight", "counted"),
    [
        ("2", 5, 1, 100, (10, 0)),
        ("2", 6, 1, 100, (10, 0)),  # it was paused meanwhile
        ("2", 4, -1, 100, (0, 0)),  # while it had a share, before it was promoted
        ("1", 4, -1, 100, (0, 10)),
        ("1", 3, -WINDOW_S + 1, 100, (0, 10)),
        ("1", 3, -WINDOW_S - 1, 100, (0, 0)),
        ("1", 5, 1, 100, (0, 0)),  # asked for by name, or as a shadow
        ("1", 5, 1, 10, (0, 10)),
        ("1", 4, -1, 10, (0, 0)),
        ("3", 5, 1, 100, (0, 0)),
    ],
)
def test_observation_counts_for_the_version_and_the_time_that_it_is_of(
    version: str, revision: int, after_s: int, weight: int, counted: tuple[int, int]
) -> None:
    found = evidence(weight)
    found.take(observed(version, revision), SINCE_MS + 1000 * after_s)
    assert (found.candidate.requests, found.previous.requests) == counted


@pytest.mark.parametrize("other", [{"tenant": "umbra"}, {"model": "faces"}])
def test_observation_of_another_model_does_not_count(other: dict[str, Any]) -> None:
    found = evidence()
    found.take(observed("2", 5, **other), SINCE_MS)
    assert found.candidate.requests == 0


def test_short_window_looks_back_a_minute() -> None:
    watch = Watch(5, NEW, 100, OLD, WatchPolicy(window_s=2), SINCE)
    found = Evidence("acme", "digits", watch)
    found.take(observed("1", 4, 1), SINCE_MS - 59_000)
    found.take(observed("1", 4, 2), SINCE_MS - 61_000)
    assert found.previous.requests == 10


def test_what_the_shadow_compared_counts_for_the_version_that_it_shadowed() -> None:
    found = evidence()
    compared = Seen(requests=9, errors=9, compared=8, disagreed=3)
    found.take(observed("1", 5, 1, seen=compared), SINCE_MS)
    found.take(observed("1", 4, 2, seen=compared), SINCE_MS)
    assert (found.candidate.compared, found.candidate.disagreed) == (8, 3)
    assert (found.candidate.requests, found.candidate.errors) == (0, 0)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=30))
def test_record_counts_once_however_often_the_log_is_read(told: list[tuple[str, bool]]) -> None:
    """From anywhere on, again and again, as after a seek."""
    numbers = dict.fromkeys("abc", 0)
    log: list[ModelObserved] = []
    for node, _ in told:
        numbers[node] += 1
        log.append(observed("2", 5, numbers[node], node=node))
    found = evidence()
    for at, (_, is_read_again) in enumerate(told):
        for one in log[: at + 1] if is_read_again else log[at : at + 1]:
            found.take(one, SINCE_MS)
    assert found.candidate.requests == 10 * len(log)
