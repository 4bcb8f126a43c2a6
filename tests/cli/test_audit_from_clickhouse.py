"""`chimera audit prove` and `verify` from a warehouse that serves: the table is not believed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from chimera.cli.main import app
from chimera.schemas.transparency import checkpoints
from chimera.schemas.transparency.checkpoints import Checkpoint
from chimera.schemas.transparency.merkle import leaf_hash, root
from chimera.stores import audit_checkpoints, audit_log
from chimera.stores.clickhouse import ClickHouse
from chimera.stores.sink import Sink
from chimera.stores.source import Record
from tests.cli.http_served import Served
from tests.schemas.transparency.logs import KEY
from tests.stores.audit_records import AT_MS, ORIGIN, body, emptied, leaf_record

LEAVES = 300


@pytest.fixture
def environment(
    engine: ClickHouse, engine_folder: Path, tmp_path: Path
) -> Iterator[dict[str, str]]:
    """Of an auditor who holds the log's key, and nothing of Kafka."""
    emptied(engine)
    log, heads = Sink(engine, audit_log.destination()), Sink(engine, audit_checkpoints.LOG)
    log.resume(0)
    heads.resume(0)
    for number in range(LEAVES):
        log.add(leaf_record(number))
    head = Checkpoint(ORIGIN, LEAVES, root([leaf_hash(body(at)) for at in range(LEAVES)]))
    heads.add(Record(0, 0, AT_MS, checkpoints.sign(head, KEY).encode()))
    log.flush(all=True)
    heads.flush(all=True)
    served = Served(engine_folder)
    yield {
        "CHIMERA_CLICKHOUSE__DSN": served.address,
        "CHIMERA_STACK__DIR": str(tmp_path / "no-stack"),
        "CHIMERA_AUDIT__ORIGIN": ORIGIN,
        "CHIMERA_AUDIT__KEY": KEY.pem().decode(),
    }
    served.close()


def audit(environment: dict[str, str], *arguments: object) -> Result:
    return CliRunner().invoke(app, ["audit", *map(str, arguments)], env=environment)


def change(engine: ClickHouse, index: int) -> None:
    engine.command(
        "ALTER TABLE chimera.audit_log UPDATE body = replaceOne(body, 'digits', 'finger')"
        f" WHERE log_index = {index} SETTINGS mutations_sync = 1"
    )


def test_request_is_proved_and_log_verified_until_a_row_is_changed(
    environment: dict[str, str], engine: ClickHouse, tmp_path: Path
) -> None:
    proved = audit(environment, "prove", "r-17", "--to", tmp_path)
    assert proved.exit_code == 0, proved.output
    assert "acme: digits 1, ok; commitments under no key" in proved.stderr
    policy = tmp_path / "policy"
    policy.write_text(f"log {checkpoints.log_key(ORIGIN, KEY).text}\nquorum none\n")
    assert audit({}, "check", proved.stdout.strip(), "--policy", policy).exit_code == 0
    verified = audit(environment, "verify", "--source", "clickhouse")
    assert verified.stdout.startswith(f"audit verify: ok, {LEAVES} leaves, root "), verified.output

    change(engine, 17)
    refused = audit(environment, "prove", "r-17", "--to", tmp_path)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "leaf 17: changed: its bytes are not those of its leaf hash" in refused.stderr
    found = audit(environment, "verify", "--source", "clickhouse")
    assert (found.exit_code, "leaf 17: changed" in found.stdout) == (2, True)


def test_request_that_no_table_has_is_looked_for_in_kafka(environment: dict[str, str]) -> None:
    looked = audit(environment, "prove", "nobody")
    assert (looked.exit_code, "no Kafka" in looked.stderr) == (1, True)
    asked = audit(environment, "prove", "nobody", "--source", "clickhouse")
    assert "no leaf has the request id 'nobody'" in asked.stderr
    gone = environment | {"CHIMERA_CLICKHOUSE__DSN": "http://localhost:1"}
    refused = audit(gone, "prove", "nobody", "--source", "clickhouse")
    assert (refused.exit_code, "localhost" in refused.stderr) == (1, True)
