"""Who vouches for a run: a trusted key's signature over its manifest, and files that are those it names.

`tests/cli/test_train.py`, and `test_train_ingested.py` of runs that are not here.
"""

from chimera.cli.training import elsewhere
from chimera.cli.training.tenant import runs
from chimera.schemas.errors import SignatureInvalid
from chimera.schemas.settings import Settings
from chimera.schemas.signing import PublicKey
from chimera.schemas.training_manifest import TrainingManifest, decode_manifest, verify
from chimera.stores import keys
from chimera.workers.training import recording


def signer(settings: Settings, tenant: str, raw: bytes, is_here: bool) -> PublicKey:
    """Of a manifest as it stands in a file or in the registry.

    Raises:
        SignatureInvalid: nobody, nobody who is trusted, or of another manifest; or (`is_here`) the run's
            files are other ones.
    """
    key = verify(raw, keys.trusted(settings.keys), f"run {decode_manifest(raw).run_id}")
    if is_here:
        recording.require_whole(runs(tenant), raw)
    return key


def objections(settings: Settings, tenant: str, run: TrainingManifest) -> tuple[str, ...]:
    """Why nobody vouches for a run; nothing: somebody does."""
    raw, is_here = elsewhere.manifest(tenant, run.run_id)
    try:
        signer(settings, tenant, raw, is_here)
    except SignatureInvalid as error:
        return (str(error),)
    return ()
