"""The models that an executor serves: loaded once, found by name and version.

A version that is refused is reported with its reason and hides no other. Which model is being loaded
stands on the board, so that one that kills its executor while loading is known, and left out of the
next. Each tier is warm when it is ready (`warming.py`). Without a version the highest that is served
answers. `tests/workers/test_repertoire.py`.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import structlog

from chimera.schemas.errors import ModelRefused, OutOfMemory, UnknownModel
from chimera.schemas.manifest import MAX_BATCH_ROWS, Manifest
from chimera.schemas.placements import Traffic
from chimera.schemas.tensors import quoted
from chimera.schemas.work import Loaded
from chimera.workers.backends.protocol import Backend, Loader
from chimera.workers.batching import Policy
from chimera.workers.configuration import NO_DEADLY_TIERS
from chimera.workers.dispatching import dispatch as dispatching
from chimera.workers.dispatching.dispatch import Dispatcher
from chimera.workers.dispatching.tier_order import Measured
from chimera.workers.dispatching.tiering import Tier, Tiers
from chimera.workers.models import Found, Version, latest, read_model
from chimera.workers.placed import require_native
from chimera.workers.reports import TierTransition
from chimera.workers.results import Tails
from chimera.workers.splits import Split
from chimera.workers.suspects import Board
from chimera.workers.warming import warm

log = structlog.get_logger(__name__)

BY_DEFAULT = dispatching.Policy()


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """A model version that is ready to run."""

    manifest: Manifest
    digest: str
    tiers: Tiers
    policy: Policy
    batches: bool  # else each request is computed alone, in the shape that it came in

    @property
    def name(self) -> str:
        """How logs and the board call it."""
        return f"{self.manifest.name}/{self.manifest.version}"


class Repertoire:
    """What `load` has loaded, and which version answers where a request names none.

    That is the highest, until `direct` says which.
    """

    def __init__(self, served: Collection[Served], refused: Collection[Loaded] = ()) -> None:
        self._versions: dict[str, dict[str, Served]] = {}
        self._refused = {(one.model, one.version) for one in refused}
        for one in served:
            self._versions.setdefault(one.manifest.name, {})[one.manifest.version] = one
        self._is_directed = False
        self._splits: dict[str, Split] = {}
        self._answering: dict[str, str | None] = {
            name: latest(found) for name, found in self._versions.items()
        }

    def direct(self, traffic: Traffic) -> None:
        """From now on these versions answer; one that is not loaded does not exist.

        Raises:
            ConfigurationError: weights that are none.
        """
        self._is_directed = True
        splits = {model: Split(weights) for model, weights in traffic.items()}
        self._answering = {model: split.sole for model, split in splits.items()}
        self._splits = {model: split for model, split in splits.items() if split.sole is None}

    def split(self, model: str) -> Split | None:
        """How its requests are divided, if more than one version answers for it."""
        return self._splits.get(model)

    def answering(self, model: str) -> list[Served]:
        """The versions that answer where a request names none, of those that are loaded."""
        split, versions = self._splits.get(model), self._versions.get(model, {})
        names = (self._answering.get(model),) if split is None else split.versions
        return [versions[name] for name in names if name in versions]

    def find(self, model: str, version: str | None) -> Served:
        """The version asked for, or the one that answers for its model.

        Raises:
            UnknownModel: there is none; the message says whether it was refused.
        """
        versions = self._versions.get(model, {})
        wanted = version if version is not None else self._answering.get(model)
        served = versions.get(wanted) if wanted is not None else None
        if served is not None:
            return served
        if wanted is None or not versions:
            refused = any(name == model for name, _ in self._refused)
            raise UnknownModel(
                f"model {quoted(model)} was refused, see the node's log"
                if refused
                else f"there is no model {quoted(model)}"
            )
        refused = (model, wanted) in self._refused
        raise UnknownModel(
            f"model {quoted(model)}: version {quoted(wanted)}"
            + (" was refused, see the node's log" if refused else " does not exist")
        )

    def lacking(self, model: str, version: str | None) -> str | None:
        """The version asked for, or that is to answer, if it was ordered and refused here."""
        wanted = version if version is not None else self._answering.get(model)
        return wanted if self._is_directed and (model, wanted) in self._refused else None

    def transitions(self) -> list[TierTransition]:
        """What became of the tiers' circuit breakers since the last time."""
        now_ms, now_us = time.time_ns() // 1_000_000, time.monotonic_ns() // 1_000
        return [
            TierTransition(
                model,
                version,
                tier,
                one.before.value,
                one.after.value,
                one.reason,
                now_ms - (now_us - one.at_us) // 1_000,
            )
            for model, versions in self._versions.items()
            for version, served in versions.items()
            for tier, one in served.tiers.take_transitions()
        ]


def _nothing() -> int:
    return 0


def load(
    found: Found,
    loader: Loader,
    default: Policy,
    board: Board,
    left_out: Mapping[str, str],
    dispatch: dispatching.Policy = BY_DEFAULT,
    taken_bytes: Callable[[], int] = _nothing,
    deadly_tiers: Mapping[str, Mapping[str, int]] = NO_DEADLY_TIERS,
) -> tuple[Repertoire, tuple[Loaded, ...]]:
    """Load every version but those that are `left_out`, by name/version and with the reason.

    `taken_bytes`: of the memory that models take; what one adds to it is reported. `deadly_tiers`: by
    name/version, those that ended executors, and how many; they are not asked first.
    """
    served: list[Served] = []
    reports = [
        Loaded(refusal.model, refusal.version, "", "", 0, refusal.reason)
        for refusal in found.refusals
    ]
    for version in found.versions:
        manifest = version.manifest
        started_ns, before_bytes = time.monotonic_ns(), taken_bytes()
        name = f"{manifest.name}/{manifest.version}"
        tier = refused = ""
        tiers: tuple[str, ...] = ()
        try:
            if name in left_out:
                raise ModelRefused(left_out[name])
            board.mark_loading(name)
            one = _load(version, loader, default, dispatch, deadly_tiers.get(name, {}))
            served.append(one)
            tier, tiers = one.tiers.first.name, one.tiers.names
        except (ModelRefused, MemoryError, OutOfMemory) as error:
            refused = str(error) or "out of memory"
        finally:
            board.clear()
        load_ms = (time.monotonic_ns() - started_ns) // 1_000_000
        size_bytes = max(0, taken_bytes() - before_bytes)
        about = (manifest.name, manifest.version, version.digest)
        reports.append(Loaded(*about, tier, load_ms, refused, size_bytes, tiers))
    return Repertoire(served, [report for report in reports if report.refused]), tuple(reports)


def policy_of(manifest: Manifest, default: Policy) -> Policy:
    """A model's own batching, where its manifest has any."""
    if not manifest.batches:
        return Policy(1)
    wanted, delay_us = manifest.max_batch_size, manifest.max_queue_delay_us
    return Policy(
        min(default.max_batch_size if wanted is None else wanted, MAX_BATCH_ROWS),
        default.max_queue_delay_us if delay_us is None else delay_us,
        manifest.preferred_batch_size,
    )


def _load(
    version: Version,
    loader: Loader,
    default: Policy,
    dispatch: dispatching.Policy,
    deadly: Mapping[str, int],
) -> Served:
    manifest = version.manifest
    policy = policy_of(manifest, default)
    source = read_model(version)
    if version.variants:
        loaded = _open(version, source, loader, policy)
        tiers = _ordered(version, loaded, dispatch, deadly)
    else:
        tiers = Tiers([_warm(version, loader.load(manifest, source), policy, ())])
    return Served(manifest, version.digest, tiers, policy, manifest.batches)


def _open(
    version: Version, source: bytes, loader: Loader, policy: Policy
) -> dict[str, tuple[Tier, Measured]]:
    """All variants that this executor can run, by name. Raises ModelRefused: there is none."""
    found: dict[str, tuple[Tier, Measured]] = {}
    refusals: list[str] = []
    for variant in version.variants:
        if variant.name in found:
            continue  # the same, made for another machine
        try:
            require_native(variant, version.trusted)
            backend = loader.open(version.manifest, source, variant)
        except ModelRefused as error:
            log.info("tier_not_loaded", model=version.manifest.name, reason=str(error))
            refusals.append(str(error))
            continue
        measured = Measured(variant.name, verified=True, p99_us=variant.p99_us)
        found[variant.name] = _warm(version, backend, policy, variant.p99_us), measured
    if not found:
        raise ModelRefused("; ".join(refusals))
    return found


def _ordered(
    version: Version,
    loaded: Mapping[str, tuple[Tier, Measured]],
    dispatch: dispatching.Policy,
    deadly: Mapping[str, int],
) -> Tiers:
    """Under a dispatcher that knows which of them ended executors. Raises ModelRefused."""
    name = f"{version.manifest.name}/{version.manifest.version}"
    dispatcher = Dispatcher(name, [measured for _, measured in loaded.values()], dispatch)
    for tier, executors in deadly.items():
        dispatcher.ended(tier, executors, time.monotonic_ns() // 1_000)
    return Tiers([loaded[name][0] for name in dispatcher.order], dispatcher)


def _warm(version: Version, backend: Backend, policy: Policy, measured: Iterable[int]) -> Tier:
    warm(backend, version.manifest, policy.max_batch_size, measured)
    return Tier(backend, Tails(version.manifest.name, version.digest, backend.tier))
