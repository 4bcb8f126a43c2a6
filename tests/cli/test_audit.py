"""`chimera audit`: verdicts and exit codes; and the auditor's page, whose script is run as it stands."""

import json
import re
import subprocess
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from chimera.cli.main import app
from chimera.schemas.transparency.checkpoints import log_key
from chimera.schemas.transparency.cosignatures import witness_key
from chimera.schemas.transparency.merkle import prove_inclusion
from chimera.schemas.transparency.proof_file import Proof
from chimera.stores import audit_export
from tests.schemas.transparency.logs import AT_S, KEY, ORIGIN, WITNESSES, make_log

LOG = make_log(11)
LOG_KEY = log_key(ORIGIN, KEY).text
POLICY = f"log {LOG_KEY}\n" + "".join(
    f"witness {name} {witness_key(name, key).text}\n" for name, key in WITNESSES.items()
)
QUORUM = f"{POLICY}group two 2 w1 w2 w3\nquorum two\n"
PAGE = Path(__file__).parents[2] / "docs" / "audit.md"


def audit(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["audit", *map(str, arguments)])


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "believed"
    path.write_text(QUORUM)
    return path


@pytest.fixture
def export(tmp_path: Path) -> Path:
    path = tmp_path / "export"
    notes = [LOG.checkpoint(4, "w1", "w2"), LOG.checkpoint(11, "w2", "w3")]
    audit_export.write(path, LOG.rows(), notes, f"log {LOG_KEY}\nquorum none\n".encode())
    return path


@pytest.fixture
def proof(tmp_path: Path) -> Path:
    path = tmp_path / "r-6.tlog-proof"
    hashes = tuple(prove_inclusion(LOG.leaf_hashes, 6))
    path.write_bytes(Proof(LOG.bodies[6], 6, hashes, LOG.checkpoint(11, "w1", "w3")).encode())
    return path


def test_good_export_is_ok(export: Path, policy: Path) -> None:
    result = audit("verify", "--export", export, "--policy", policy)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("audit verify: ok, 11 leaves, root ")
    assert result.stdout.splitlines()[0].endswith(", signed, witnessed")
    assert "leaves 0 to 10: exactly_once" in result.stdout


def test_export_with_its_own_keys_says_so(export: Path) -> None:
    result = audit("verify", "--export", export)
    assert result.exit_code == 0, result.output
    assert "no witness asked for" in result.stdout
    told = json.loads(audit("verify", "--export", export, "--json").stdout)
    assert (told["ok"], told["policy"]) == (True, "the export's own")
    assert f"came with the export; compare them elsewhere: {LOG_KEY}" in result.stdout


def test_export_with_a_changed_leaf_is_not_ok(tmp_path: Path, policy: Path) -> None:
    rows = LOG.rows()
    rows[7] = rows[7]._replace(body=rows[7].body.replace(b"digits", b"finger"))
    audit_export.write(tmp_path / "e", rows, [LOG.checkpoint(11, "w1", "w2")], b"")
    result = audit("verify", "--export", tmp_path / "e", "--policy", policy)
    assert result.exit_code == 2
    assert result.stdout.startswith("audit verify: NOT OK, 11 leaves")
    assert "leaf 7: changed" in result.stdout
    told = json.loads(
        audit("verify", "--export", tmp_path / "e", "--policy", policy, "--json").stdout
    )
    assert told["ok"] is False
    assert (told["faults"][0]["kind"], told["faults"][0]["index"]) == ("changed", 7)


def test_checkpoint_that_the_auditor_holds_counts(
    export: Path, policy: Path, tmp_path: Path
) -> None:
    held = tmp_path / "held"
    held.write_bytes(make_log(13).checkpoint(13, "w1", "w2"))
    result = audit("verify", "--export", export, "--policy", policy, "--held", held)
    assert result.exit_code == 2
    assert "leaves 11 to 12: rolled back" in result.stdout


def test_export_that_no_witness_has_seen_for_long_is_stale(
    tmp_path: Path, export: Path, policy: Path
) -> None:
    old = audit("verify", "--export", export, "--policy", policy, "--max-age", "1h")
    assert old.exit_code == 2
    assert "leaf 11: stale: witnesses last saw it at 2025-11-21 09:30:16 UTC" in old.stdout
    told = json.loads(
        audit("verify", "--export", export, "--policy", policy, "--max-age", "1h", "--json").stdout
    )
    assert (told["witnessed_at_s"], told["faults"][0]["kind"]) == (AT_S, "stale")
    fresh = [LOG.checkpoint(11, "w1", "w2", at_s=int(time.time()))]
    audit_export.write(tmp_path / "fresh", LOG.rows(), fresh, b"")
    result = audit("verify", "--export", tmp_path / "fresh", "--policy", policy, "--max-age", "1h")
    assert result.exit_code == 0, result.output
    assert "witnesses last saw it at" in result.stdout


def test_age_of_a_log_without_witnesses_is_not_told(export: Path) -> None:
    result = audit("verify", "--export", export, "--max-age", "1h")
    assert result.exit_code == 1
    assert "asks for no witness" in result.stderr


def test_export_that_cannot_be_read_is_told(tmp_path: Path, policy: Path) -> None:
    result = audit("verify", "--export", tmp_path, "--policy", policy)
    assert result.exit_code == 1
    assert "checkpoints.txt: cannot be read" in result.stderr
    assert audit("verify", "--export", tmp_path).exit_code == 1


def test_good_proof_shows_its_leaf(proof: Path, policy: Path) -> None:
    result = audit("check", proof, "--policy", policy)
    assert result.exit_code == 0, result.output
    assert "audit check: ok, leaf 6 of 11 in example.com/audit" in result.stdout
    assert "cosigned by w3 at 2025-11-21" in result.stdout
    assert json.loads(result.stdout.splitlines()[-1])["request_id"] == "r-6"


def test_proof_that_is_altered_is_refused(proof: Path, policy: Path) -> None:
    raw = proof.read_bytes()
    for wrong in (raw.replace(b"index 6", b"index 7"), raw[:-3], b""):
        proof.write_bytes(wrong)
        result = audit("check", proof, "--policy", policy)
        assert result.exit_code == 1
        assert "chimera audit check: " in result.stderr


def script(proof: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """The page's own."""
    found = re.search(r"```sh\n(# check\.sh.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert found
    (folder / "check.sh").write_text(found[1])
    command = ["sh", "-eu", "check.sh", str(proof), LOG_KEY]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)


def test_script_of_the_page_verifies_a_proof_without_our_code(proof: Path, tmp_path: Path) -> None:
    result = script(proof, tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == f"in the log: {LOG.bodies[6].decode()}"


@pytest.mark.parametrize(
    ("old", "new"), [(b"index 6", b"index 5"), (b"extra eyJ", b"extra eyK"), (b"\n11\n", b"\n12\n")]
)
def test_script_of_the_page_refuses_what_is_altered(
    proof: Path, tmp_path: Path, old: bytes, new: bytes
) -> None:
    assert old in proof.read_bytes()
    proof.write_bytes(proof.read_bytes().replace(old, new))
    result = script(proof, tmp_path)
    assert result.returncode != 0
    assert "in the log" not in result.stdout


def test_every_action_stands_on_the_page() -> None:
    from chimera.schemas.control_actions import ACTIONS

    assert [action for action in ACTIONS if f"`{action}`" not in PAGE.read_text("utf-8")] == []


def test_every_fault_stands_on_the_page() -> None:
    from chimera.schemas.transparency.tampering import Kind

    assert [kind for kind in Kind if f"`{kind}`" not in PAGE.read_text("utf-8")] == []
