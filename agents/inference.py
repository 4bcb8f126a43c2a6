"""The agent that listens to requests: each event is a run of one partition, for its lane."""

from collections.abc import Callable, Sequence
from typing import Any

import faust
from faust.serializers.codecs import Codec, register

from chimera.agents.transport import Run

TAKE = Callable[[Run], None]


class AsItIs(Codec):
    """Runs are no bytes: nothing to decode."""

    def _loads(self, s: Any) -> Any:
        return s


def listen(app: faust.App, topics: Sequence[str], take: TAKE) -> None:
    """Register the agent; it hands each run to `take` and never raises."""
    register("run", AsItIs())
    channel = app.topic(*topics, value_serializer="run", key_serializer="run", acks=False)

    async def inference(runs: faust.Stream[Run]) -> None:
        async for run in runs:
            take(run)

    app.agent(channel, name="inference")(inference)
