"""The demo's two runs, from their triggers on: ordered, trained while somebody watches, released.

    rights ── triggers ── a queue ── first: trained ── registered ── compiled ── promoted by its policy
                                  └─ second, after it: trained, its data have drifted ── registered

`tests/cli/demoing/test_demo.py` runs it.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# (aiokafka ships no type information)

from collections.abc import Callable, Sequence
from typing import TypeVar

from aiokafka import AIOKafkaProducer

from chimera.cli.demoing.failure import DemoFailed
from chimera.cli.demoing.lessons import Lesson
from chimera.cli.demoing.recording import Recording
from chimera.cli.demoing.stages import Stages
from chimera.cli.demoing.versions import NTH
from chimera.schemas.compile_report import CompileReport, decode
from chimera.schemas.model_events import CompileStepped, ModelCompiled
from chimera.schemas.settings import Settings
from chimera.schemas.training_triggers import TrainModel, encode_trigger
from chimera.stores.artifacts import Artifacts
from chimera.topics import clients
from chimera.topics.catalogue import catalogue

E = TypeVar("E")

TRAINED_WITHIN_S = 240.0
RELEASED_WITHIN_S = 120.0
COMPILED_WITHIN_S = 600.0  # all tiers, on a busy machine


async def publish(settings: Settings, bootstrap: str, triggers: Sequence[TrainModel]) -> None:
    """As any producer would. Raises KafkaError."""
    topic = catalogue(settings).training_triggers.name
    producer = AIOKafkaProducer(
        **clients.arguments(settings.kafka, bootstrap, "chimera-demo"), enable_idempotence=True
    )
    await producer.start()
    try:
        for one in triggers:
            await producer.send_and_wait(topic, encode_trigger(one), key=one.trigger_id.encode())
    finally:
        await producer.stop()


class Learning:
    """Follows one lesson by what is recorded."""

    def __init__(self, lesson: Lesson, recording: Recording, stages: Stages) -> None:
        self.lesson = lesson
        self._recording, self._stages = recording, stages
        self._nth = NTH[lesson.version]

    async def until_trained(self) -> None:
        """Raises DemoFailed: it fails, or takes too long."""
        with self._stages.begin(f"{self._nth} run trained") as stage:

            def is_trained() -> bool:
                stage.update(0, self._read().live)
                return self.lesson.manifest is not None

            await self._until(is_trained, "trained", TRAINED_WITHIN_S)
        self._stages.say(f"          {self.lesson.curve}")
        self._say()

    async def until_registered(self) -> None:
        """Raises as `until_trained`."""
        with self._stages.begin(f"{self._nth} version registered"):
            await self._until(lambda: bool(self._read().digest), "registered", RELEASED_WITHIN_S)
        self._say()

    async def until_promoted(self) -> int:
        """The revision of the model's state. Raises as `until_trained`."""
        with self._stages.begin(f"{self._nth} version compiled") as stage:

            def is_compiled() -> bool:
                stage.update(0, self._step())
                return self._read().is_compiled

            await self._until(is_compiled, "compiled", COMPILED_WITHIN_S)
        with self._stages.begin(f"{self._nth} version promoted by its policy"):
            lesson = self.lesson
            await self._until(
                lambda: self._read().promoted is not None, "promoted", RELEASED_WITHIN_S
            )
        assert lesson.promoted is not None  # until then
        return lesson.promoted.revision

    def compiled(self, settings: Settings) -> CompileReport:
        """What became of its tiers, out of the store. Raises ArtifactMissing and the like."""
        found = [one for one in self._events(ModelCompiled) if one.version == self.lesson.version]
        digest = found[-1].report_sha256
        store = Artifacts(settings.artifacts.url, settings.artifacts.cache_dir)
        return decode(store.get(digest).read_bytes(), f"report {digest}")

    def _read(self) -> Lesson:
        return self.lesson.read(self._recording.training)

    def _step(self) -> str:
        """What is being done to a tier now."""
        steps = [one for one in self._events(CompileStepped) if one.version == self.lesson.version]
        return f"{steps[-1].tier}: {steps[-1].stage}" if steps else ""

    def _events(self, kind: type[E]) -> list[E]:
        return [one.event for one in self._recording.events if isinstance(one.event, kind)]

    def _say(self) -> None:
        """What was told of it for people, since the last time."""
        for told in self.lesson.take_told():
            self._stages.say(f"          {told}")

    async def _until(self, condition: Callable[[], bool], what: str, within_s: float) -> None:
        if not await self._recording.until(condition, within_s, stalled_s=within_s):
            name = self.lesson.version
            raise DemoFailed(f"run {name} is not {what} within {within_s:.0f} s")
