"""How models are signed, stored, compiled and deployed.

Sections of `schemas/settings.py`, which reads them; a field's description is its documentation.
"""

from pathlib import Path

from pydantic import Field, SecretStr

from chimera.schemas.section import Section


class KeysSettings(Section):
    signing_file: Path = Field(
        default=Path(".chimera/keys/signing.pem"),
        description="private key (Ed25519, PEM, mode 0600) that signs manifests and compiled"
        " programs; made by `chimera keys init`",
    )
    signing: SecretStr | None = Field(
        default=None,
        description="the private key itself, as PEM; wins over the file; never logged",
    )
    trusted: tuple[str, ...] = Field(
        default=(),
        description="public keys (ed25519:...) whose signatures also count, for machines that only"
        " verify and while a key is replaced; our own always counts",
    )
    trusted_dir: Path = Field(
        default=Path(".chimera/keys/trusted"),
        description="folder of more such keys, one in each *.pub; may be missing",
    )


class ArtifactsSettings(Section):
    url: str = Field(
        default=".chimera/artifacts",
        description="where models' files rest: a folder, or any URL that fsspec opens",
    )
    cache_dir: Path = Field(
        default=Path(".chimera/cache/artifacts"),
        description="read-only copies of what rests elsewhere; verified at each use",
    )
    grace_s: int = Field(
        default=86_400,
        ge=0,
        description="files that nothing refers to are kept for this long: a registration that is"
        " under way has stored them before it names them",
    )
    sources: tuple[str, ...] = Field(
        default=(),
        description="fsspec URL prefixes that register commands may name, for versions that are not"
        " stored yet; they have to be signed by a trusted key; empty: none",
    )
    source_within_s: float = Field(
        default=600,
        gt=0,
        description="for a register command's version to be brought and inspected; commands behind"
        " it wait for as long",
    )
    definitions: tuple[str, ...] = Field(
        default=("chimera.workers.definitions.mlp:*", "chimera.workers.definitions.encoder:*"),
        description="torch definitions that a manifest may name: package.module:name, or"
        " package.module:* for all of a module; importing one runs its code",
    )
    operator_domains: tuple[str, ...] = Field(
        default=(),
        description="domains of ONNX operators that are taken beside ONNX's own, exactly",
    )
    max_graph_nodes: int = Field(
        default=50_000,
        ge=1,
        description="nodes of an ONNX graph, subgraphs and expanded functions counted",
    )
    max_tensors: int = Field(
        default=50_000, ge=1, description="tensors in one ONNX or safetensors file"
    )
    max_file_bytes: int = Field(
        default=34_359_738_368, ge=1, description="of one file of a version; ONNX: 2 GiB at most"
    )
    inspection_cpu_s: int = Field(
        default=5,
        ge=1,
        description="processor seconds that one inspection may take, and one more for each"
        " 128 MiB; after four times as much on the clock it is ended",
    )
    inspection_memory_bytes: int = Field(
        default=536_870_912,
        ge=1 << 28,
        description="address space of the inspection, and three times the largest ONNX file",
    )


class CompilingSettings(Section):
    batch_sizes: tuple[int, ...] = Field(
        default=(1, 32, 256),
        description="rows of the batches that tiers are measured at, and TensorRT's profiles",
    )
    measure_s: float = Field(
        default=1.0, gt=0, description="how long each tier is measured at each batch size"
    )
    int8: bool = Field(
        default=True, description="try int8 on the processor too; it must be verified and faster"
    )


class TrainingSettings(Section):
    dir: Path = Field(
        default=Path(".chimera/runs"),
        description="folder of all training runs: their data, checkpoints and manifests",
    )
    allowed: tuple[str, ...] = Field(
        default=("chimera.workers.definitions.mlp:*", "chimera.workers.definitions.encoder:*"),
        description="modules and transforms that a training configuration may name:"
        " package.module:name, or package.module:* for all of a module; importing one runs its code",
    )
    device: str = Field(default="cpu", description="of a run: cpu, or cuda:0")
    resident_bytes: int = Field(
        default=268_435_456,
        ge=1 << 20,
        description="pages of a larger data set are given back after so much was read of it: a run's"
        " memory stays flat whatever its rows",
    )
    sources: tuple[str, ...] = Field(
        default=(),
        description="fsspec URL prefixes below which the data and the configurations lie that"
        " triggers may name, as file:///data/; empty: synthetic rows alone",
    )
    mlflow_uri: str | None = Field(
        default=None,
        description="MLflow's tracking URI, which runs are told to as well; needs the extra mlflow."
        " Credentials are in MLflow's own variables. Unset: to none",
    )


class TrainerSettings(Section):
    devices: tuple[str, ...] = Field(
        default=("cpu",),
        description="where an agent's runs compute, one line a run at once: cpu twice is two runs",
    )
    lease_s: float = Field(
        default=15.0,
        ge=0.5,
        description="a run of an agent that is gone is taken up by another after so long; an agent"
        " that cannot reach the registry for half of it ends its trainers",
    )
    tell_s: float = Field(
        default=1.0,
        gt=0,
        description="how often a run tells its progress, and its lease is renewed; at most a"
        " quarter of the lease",
    )
    queue_ms: int = Field(
        default=1_000, ge=1, description="how often an agent with room looks for runs that wait"
    )
    poll_ms: int = Field(
        default=250,
        ge=1,
        description="how often the agent that leads looks for triggers, and for what is to be told",
    )
    judge_ms: int = Field(
        default=1_000,
        ge=1,
        description="how often the agent that leads looks for training policies that are due",
    )
    replay_since_s: int = Field(
        default=3_600,
        ge=1,
        description="a replay before a promotion is of the requests of so long",
    )
    replay_requests: int = Field(
        default=10_000,
        ge=1,
        description="and of no more than so many; the oldest of each partition",
    )
    nice: int = Field(
        default=19,
        ge=0,
        le=19,
        description="niceness of a trainer: it gets what nobody else on the machine wants",
    )
    threads: int = Field(
        default=1,
        ge=1,
        description="of a trainer, at most, and where its configuration names none; equal weights"
        " bit for bit need an equal number",
    )
    memory_bytes: int | None = Field(
        default=None,
        ge=1 << 28,
        description="that a trainer may allocate, mapped data sets not counted; more ends the run;"
        " unset: half of the machine's memory, or of its cgroup's, parted among `devices`, and on"
        " a GPU as much as there is",
    )
    start_within_s: float = Field(
        default=3_600,
        gt=0,
        description="a trainer that has not made its first step by then hangs: reading the data is"
        " part of it",
    )
    hang_s: float = Field(
        default=600,
        gt=0,
        description="a trainer that says nothing for so long hangs, and is ended; an update, and an"
        " evaluation, have to be shorter",
    )
    max_attempts: int = Field(
        default=3,
        ge=1,
        description="a run whose trainers die or hang so often in a row without a new checkpoint"
        " has failed",
    )
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65_535,
        description="an agent's Prometheus port on CHIMERA_OBSERVABILITY__METRICS_HOST; 0: a free one;"
        " unset: none",
    )


class ControllerSettings(Section):
    poll_ms: int = Field(
        default=250,
        ge=1,
        description="how often it looks for commands, and for rows of the outbox that somebody"
        " else wrote; a change is visible no sooner",
    )
    judge_ms: int = Field(
        default=1_000,
        ge=1,
        description="how often versions under watch are judged by what nodes saw of them",
    )
    compile_within_s: float = Field(
        default=3_600,
        gt=0,
        description="one compile command; its process is ended after that, and other compiles and"
        " registers wait for as long, traffic does not",
    )
    max_attempts: int = Field(
        default=3,
        ge=1,
        description="a compile or register that was begun so often, and each time lost with its"
        " controller, has failed",
    )
