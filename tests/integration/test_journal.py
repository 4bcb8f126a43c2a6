"""The journal of a node on a real broker: one row for each request, whatever became of it."""

import hmac
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from confluent_kafka import Producer

from chimera.schemas.journal_rows import NO_COMMITMENT
from chimera.workers.models import write_model
from tests.integration import journals
from tests.integration.test_node import started_node
from tests.waiting import until
from tests.workers.rig import manifest, request, sums

PARTITIONS = 2
KEY = bytes(range(32))
Headers = list[tuple[str, str | bytes | None]]


def settings_of(folder: Path) -> dict[str, str]:
    """A journal with a key for the default tenant alone, and a model to be served."""
    keys = folder / "keys"
    if not keys.exists():
        keys.mkdir()
        (keys / "default.key").write_bytes(KEY)
        (keys / "default.key").chmod(0o600)
        write_model(folder / "models", sums(), manifest("sums"))
    return {
        "CHIMERA_JOURNAL__ENABLED": "1",
        "CHIMERA_JOURNAL__KEYS_DIR": str(keys),
        "CHIMERA_KAFKA__PARTITIONS": str(PARTITIONS),
        "CHIMERA_SERVING__RETRY_DELAYS_MS": "[1000]",
    }


def fill(bootstrap: str, topic: str, values: Mapping[str, tuple[bytes, Headers]]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 100})
    for at, (key, (value, headers)) in enumerate(values.items()):
        producer.produce(topic, value, key, partition=at % PARTITIONS, headers=headers)
    producer.flush(30)


def answered(bootstrap: str, prefix: str, count: int) -> Callable[[], bool]:
    """Whether so many results are visible."""
    topic = f"{prefix}inference.results"
    return lambda: len(journals.visible(bootstrap, topic, PARTITIONS)) == count


def mac(value: bytes) -> bytes:
    return hmac.digest(KEY, value, "sha256")


def test_each_request_has_one_row_that_agrees_with_its_result(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    plain: dict[str, tuple[bytes, Headers]] = {
        f"p{at}": (request((at, 1), "sums", id=f"p{at}"), []) for at in range(1_200)
    }
    late = str(time.time_ns() // 1_000_000 + 600_000)
    single: dict[str, tuple[bytes, Headers]] = {
        f"s{at}": (request((at, 2), "sums", id=f"s{at}"), [("chimera-deadline", late)])
        for at in range(20)
    }
    single["other"] = (request((1, 1), "sums", id="other"), [("chimera-tenant", "acme")])
    single["bad"] = (b"{", [])
    single["none"] = (request((1, 1), "none", id="none"), [])
    sent = plain | single
    with started_node(kafka, prefix, tmp_path, settings=settings_of(tmp_path)) as node:
        fill(kafka, f"{prefix}inference.requests", plain)
        fill(kafka, f"{prefix}inference.requests", single)
        until(answered(kafka, prefix, len(sent)))
        node.terminate()
        assert node.wait(30) == 0
    requests = {
        (m.topic(), m.partition(), m.offset()): ((m.key() or b"").decode(), m.value() or b"")
        for m in journals.visible(kafka, f"{prefix}inference.requests", PARTITIONS)
    }
    journal = journals.read(kafka, f"{prefix}inference.journal", PARTITIONS)
    assert journal.rows.keys() == requests.keys()
    assert {len(rows) for rows in journal.rows.values()} == {1}
    for message in journals.visible(kafka, f"{prefix}inference.results", PARTITIONS):
        where, value, headers = journals.result_of(message)
        (name, asked), (row,) = requests[where], journal.rows[where]
        assert (row.input_bytes, row.output_bytes) == (len(asked), len(value))
        assert row.outcome == headers.get("chimera-error-code", b"ok").decode()
        assert (row.attempt, row.origin) == (0, "")
        if name == "other":
            assert (row.group.tenant, row.input_commitment) == ("acme", NO_COMMITMENT)
            continue
        assert (row.input_commitment, row.output_commitment) == (mac(asked), mac(value))
        assert row.group.tenant == "default"
        assert (0 < row.slack_ms <= 600_000) == (name in single and name.startswith("s"))
        if row.outcome == "ok":
            assert row.id == name
            told = (row.group.model, row.group.version, row.group.tier)
            assert told == ("sums", "1", headers["chimera-tier"].decode())
            assert row.group.digest == headers["chimera-model-digest"].decode()
            assert row.group.executor == "cpu:0"
            assert row.group.batch_size == int(headers["chimera-batch-size"])
            assert row.group.queue_us == int(headers["chimera-queue-us"])
            assert row.group.compute_us == int(headers["chimera-compute-us"])
            assert row.group.total_us == int(headers["chimera-total-us"])
    outcomes = {requests[where][0]: rows[0].outcome for where, rows in journal.rows.items()}
    assert (outcomes["bad"], outcomes["none"]) == ("malformed", "unknown_model")


@pytest.mark.campaign
def test_segments_follow_each_other_through_kills(kafka: str, prefix: str, tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    count = 0
    for number, step in enumerate(("after_produce:2", "after_commit:2", "")):
        crash = {"CHIMERA_CRASH_AT": step} if step else {}
        with started_node(kafka, prefix, tmp_path, settings=settings | crash) as node:
            for part in range(6):
                named = [f"{number}-{part}-{at}" for at in range(150)]
                headers: Headers = [("chimera-tenant", "acme")] if part % 3 == 2 else []
                values = {one: (request((1, 2), "sums", id=one), headers) for one in named}
                fill(kafka, f"{prefix}inference.requests", values)
                count += len(values)
            if step:
                assert node.wait(60) == -9
            else:
                until(answered(kafka, prefix, count))
                node.terminate()
                assert node.wait(30) == 0
    journal = journals.read(kafka, f"{prefix}inference.journal", PARTITIONS)
    asked = journals.visible(kafka, f"{prefix}inference.requests", PARTITIONS)
    assert journal.rows.keys() == {(m.topic(), m.partition(), m.offset()) for m in asked}
    assert all(len(rows) == 1 and rows[0].outcome == "ok" for rows in journal.rows.values())
    for number in range(PARTITIONS):
        heads = [head for head in journal.heads if head.partition == number]
        assert heads[0].start == 0
        assert [head.start for head in heads[1:]] == [head.next for head in heads[:-1]]
