"""Who signs in the demo, and whom its auditor believes: keys of its own, made anew each time.

    log      signs checkpoints of the audit log           tenant   its rows commit to what was asked
    witness  cosigns them, after the log was seen to grow

`tests/cli/demoing/test_evidence.py`.
"""

import json
from collections.abc import Mapping
from typing import NamedTuple

from chimera.schemas.model_names import DEFAULT_TENANT
from chimera.schemas.settings import Settings
from chimera.schemas.signing import new_key
from chimera.schemas.transparency.checkpoints import log_key
from chimera.schemas.transparency.cosignatures import witness_key
from chimera.stores import keys


class Trust(NamedTuple):
    environment: Mapping[str, str]  # of the sequencer and of the witness
    policy: bytes  # a C2SP tlog-policy: the log's key, and one witness of one


def make(settings: Settings) -> Trust:
    """Raises ConfigurationError: there are keys already, or they cannot be written."""
    keys.create_tenant_key(settings.journal.keys_dir, DEFAULT_TENANT)
    origin, witness = settings.audit.origin, settings.witness
    assert witness.name is not None  # `configuration` has named it
    signer, cosigner = new_key(), new_key()
    log, seen_by = log_key(origin, signer).text, witness_key(witness.name, cosigner).text
    keys.write_key(settings.audit.key_file, signer, log)
    keys.write_key(witness.key_file, cosigner, seen_by)
    environment = {
        "CHIMERA_WITNESS__LOGS": json.dumps([log]),
        "CHIMERA_AUDIT__WITNESSES": json.dumps([f"{seen_by} http://{witness.host}:{witness.port}"]),
    }
    return Trust(environment, f"log {log}\nwitness demo {seen_by}\nquorum demo\n".encode())
