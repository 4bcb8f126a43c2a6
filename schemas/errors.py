"""Every way a request, or Chimera itself, can fail: one tree, drawn here.

    ChimeraError
    ├── RequestError            a request's outcome; `code` goes on the wire, the set is closed
    │   ├── Malformed           not JSON, or a binary head that does not fit          malformed
    │   ├── SchemaInvalid       JSON, but not a request this model takes              schema_invalid
    │   ├── BadSignature        signed wrongly, or not at all where it must be        bad_signature
    │   ├── Unauthorised        the tenant has no such right                          unauthorised
    │   ├── RateLimited         over the tenant's rate                      retriable rate_limited
    │   ├── UnknownModel        no such model, or no such version                     unknown_model
    │   ├── DeadlineExceeded    the caller's own deadline has passed                  deadline_exceeded
    │   ├── Shed                dropped under load, by policy               retriable shed
    │   ├── BackendUnavailable  nothing could compute it in time            retriable backend_unavailable
    │   ├── ModelFailed         the model raised                            retriable model_error
    │   ├── OutOfMemory         it did not fit, not even alone                        out_of_memory
    │   ├── WorkerCrashed       it killed its executor, again and again               worker_crashed
    │   └── TooLarge            the request or its result is over the limit           too_large
    ├── ConfigurationError      a setting, a flag, or a file is wrong: says which, and what to do
    ├── ModelRefused            a model's files that may not be served: says why
    │   ├── SignatureInvalid    not signed, or not by a trusted key, or something else was
    │   ├── ArtifactMissing     nothing is stored under this digest
    │   └── ArtifactDamaged     what is stored is no longer what its digest says
    ├── CompileFailed           a tier that could not be made: says why, and hides no other
    ├── ArtifactsUnavailable    the store of artifacts does not answer, or not as it should
    ├── KafkaUnavailable        no broker, or one that cannot do what was asked of it
    ├── PostgresUnavailable     no registry answers in time, or its embedded server does not start
    ├── DiskUnavailable         a disk that is full, or fails: what was to be on it is not
    ├── EvidenceRefused         of the audit log, not to be believed: says why
    │   ├── EvidenceMalformed   no note, key, checkpoint, proof or policy: says where
    │   ├── EvidenceUntrusted   not signed by a trusted key, or by too few witnesses
    │   ├── ProofInvalid        hashes that do not lead to the root
    │   └── EvidenceAltered     a row that is not what was signed: says which leaf
    ├── PositionsForgotten      nobody knows how far an input of the audit log was read
    ├── ClickHouseUnavailable   it does not answer, or not now; trying later may help
    ├── ClickHouseRefused       a statement that it does not take, now or later
    ├── HistoryConflict         what a table holds is not what its sink remembers: it stops
    ├── VersionTaken            another manifest is registered under that name and version
    ├── DeploymentRefused       a change of what serves that makes no sense now: says why
    ├── TrainingRefused         a run that cannot be: its data, a name in its order, its rights
    └── TrainingAborted         a run that cannot go on: what it computes is no number any more

`retriable` is a class attribute: policy reads it and needs no isinstance ladder. An error that
crosses a process or a topic travels as its code and message, never as a pickled object.
`tests/schemas/test_errors.py` holds the set of codes to the one in the documentation.
"""

from typing import ClassVar


class ChimeraError(Exception):
    """The root: `except ChimeraError` catches whatever Chimera itself raises."""


class RequestError(ChimeraError):
    """A request that ends in an error outcome. `str(error)` is what its caller reads."""

    code: ClassVar[str]
    retriable: ClassVar[bool] = False


class Malformed(RequestError):
    code = "malformed"


class SchemaInvalid(RequestError):
    code = "schema_invalid"


class BadSignature(RequestError):
    code = "bad_signature"


class Unauthorised(RequestError):
    code = "unauthorised"


class RateLimited(RequestError):
    code = "rate_limited"
    retriable = True


class UnknownModel(RequestError):
    code = "unknown_model"


class DeadlineExceeded(RequestError):
    code = "deadline_exceeded"


class Shed(RequestError):
    code = "shed"
    retriable = True


class BackendUnavailable(RequestError):
    code = "backend_unavailable"
    retriable = True


class ModelFailed(RequestError):
    code = "model_error"
    retriable = True


class OutOfMemory(RequestError):
    code = "out_of_memory"


class WorkerCrashed(RequestError):
    code = "worker_crashed"


class TooLarge(RequestError):
    code = "too_large"


class ConfigurationError(ChimeraError):
    """A setting, a flag or a file is wrong; the message names it and says what to do."""


class ModelRefused(ChimeraError):
    """A model's files that may not be served; the message names the file and the reason."""


class SignatureInvalid(ModelRefused):
    """Not signed, not by a key that is trusted here, or it was something else that was signed."""


class ArtifactMissing(ModelRefused):
    """Nothing is stored under a digest that is asked for."""


class ArtifactDamaged(ModelRefused):
    """What is stored under a digest is something else; it is never handed out."""


class ArtifactsUnavailable(ChimeraError):
    """The store of artifacts failed; the message has its own words. Later it may work."""


class CompileFailed(ChimeraError):
    """A tier's artifact that its compiler could not make; the message has the compiler's reason."""


class KafkaUnavailable(ChimeraError):
    """No broker answers, or the one that does cannot do what was asked of it."""


class PostgresUnavailable(ChimeraError):
    """No Postgres answers in time, or the embedded one does not start; trying later may help."""


class DiskUnavailable(ChimeraError):
    """A disk is full, or fails; the message names the file. With room, it works again."""


class EvidenceRefused(ChimeraError):
    """A note, a key, a proof or a policy of the audit log that is not to be believed."""


class EvidenceMalformed(EvidenceRefused):
    """It is none; the message says of what, and where."""


class EvidenceUntrusted(EvidenceRefused):
    """Nobody who is trusted has signed it, somebody's signature is wrong, or too few have."""


class ProofInvalid(EvidenceRefused):
    """Hashes that do not lead to the root that they should prove."""


class EvidenceAltered(EvidenceRefused):
    """A row of the log that is not what was signed; the message says what was done to it."""

    def __init__(self, index: int, message: str) -> None:
        self.index = index  # the first leaf that is meant
        super().__init__(message)


class PositionsForgotten(ChimeraError):
    """How far an input of the audit log has leaves is known to nobody; the message says how to go on."""


class ClickHouseUnavailable(ChimeraError):
    """ClickHouse does not answer, or has no room now; whether an INSERT was done is not known."""


class ClickHouseRefused(ChimeraError):
    """A statement that ClickHouse does not take; the message is its own."""


class HistoryConflict(ChimeraError):
    """A table and what its sink had decided do not fit: going on could repeat or lose rows."""


class VersionTaken(ChimeraError):
    """Another manifest is registered under that name and version; a version never changes."""


class DeploymentRefused(ChimeraError):
    """Nothing to promote, nothing to go back to; the message names the model and what it lacks."""


class TrainingRefused(ChimeraError):
    """Data, a configuration's name, or a right; the message says which file, row, column or field."""


class TrainingAborted(ChimeraError):
    """The message names the update, and the rows of its batch."""


REQUEST_ERRORS: tuple[type[RequestError], ...] = (
    Malformed,
    SchemaInvalid,
    BadSignature,
    Unauthorised,
    RateLimited,
    UnknownModel,
    DeadlineExceeded,
    Shed,
    BackendUnavailable,
    ModelFailed,
    OutOfMemory,
    WorkerCrashed,
    TooLarge,
)

BY_CODE: dict[str, type[RequestError]] = {error.code: error for error in REQUEST_ERRORS}
