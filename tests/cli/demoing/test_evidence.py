"""The demo's auditor: a log that is whole, and a copy in which one row was altered."""

import os
from pathlib import Path

import pytest

from chimera.cli.demoing import configuration, evidence, trust
from chimera.cli.demoing.failure import DemoFailed
from chimera.cli.demoing.versions import GOOD, WORSE
from chimera.schemas.settings import Settings, load
from chimera.schemas.transparency import policy_file
from chimera.schemas.transparency.checkpoints import log_key
from chimera.schemas.transparency.cosignatures import witness_key
from chimera.schemas.transparency.leaves import encode_leaf
from chimera.stores import audit_export
from tests.schemas.transparency.logs import KEY, ORIGIN, WITNESSES, Log, served

POLICY = (
    f"log {log_key(ORIGIN, KEY).text}\nwitness w {witness_key('w1', WITNESSES['w1']).text}\nquorum w\n"
).encode()


def export(folder: Path, versions: str, *witnesses: str) -> Path:
    """A log of requests that the first (g) or the second (w) version answered."""
    names = {"g": GOOD, "w": WORSE}
    leaves = [served(at, version=names[one]) for at, one in enumerate(versions)]
    log = Log([encode_leaf(one) for one in leaves])
    notes = [log.checkpoint(len(leaves), *witnesses)]
    audit_export.write(folder, log.rows(), notes, POLICY)
    return folder


def test_row_that_was_altered_is_named(tmp_path: Path) -> None:
    found = evidence.examine(export(tmp_path / "log", "gggwwg", "w1"), tmp_path / "copy")
    assert found.is_good
    assert (found.verdict.leaves, found.verdict.witnessed_size, found.altered) == (6, 6, 3)
    (fault,) = found.found.faults
    assert str(fault).startswith("leaf 3: changed")
    altered = list(audit_export.read_rows(tmp_path / "copy"))
    whole = list(audit_export.read_rows(tmp_path / "log"))
    assert [at for at in range(6) if altered[at] != whole[at]] == [3]


def test_log_that_no_witness_has_seen_is_not_good(tmp_path: Path) -> None:
    found = evidence.examine(export(tmp_path / "log", "gw"), tmp_path / "copy")
    assert found.is_named
    assert not found.is_good


def test_log_of_which_the_second_version_is_missing_ends_the_demo(tmp_path: Path) -> None:
    with pytest.raises(DemoFailed, match=f"no leaf .* says that {WORSE} has answered"):
        evidence.examine(export(tmp_path / "log", "gg", "w1"), tmp_path / "copy")


def test_keys_are_those_that_the_policy_believes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("CHIMERA_")]:
        monkeypatch.delenv(name)
    own = configuration.overrides(tmp_path, is_embedded=True, has_int8=False)
    made = trust.make(configuration.applied(Settings(), own))
    for name, value in {**own, **made.environment}.items():
        monkeypatch.setenv(name, value)
    settings = load()
    policy = policy_file.decode(made.policy, "policy")
    assert [one.key.text for one in policy.logs] == list(settings.witness.logs)
    (witness,) = settings.audit.witnesses
    assert witness.split()[0] == policy.witnesses[policy.quorum].text
    assert witness.endswith(f":{settings.witness.port}")
