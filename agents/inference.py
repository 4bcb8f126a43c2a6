"""The agent that listens to requests: each event is a run of one partition, for its lane."""

# pyright: reportUnknownMemberType=false
# (Faust leaves its key and value types open)

from collections.abc import Callable, Sequence
from typing import Any

import faust
from faust.serializers.codecs import Codec, register
from faust.types import StreamT

from chimera.agents.lanes.fetched import Run


class AsItIs(Codec):
    """Runs are no bytes: nothing to decode."""

    def _loads(self, s: Any) -> Any:
        return s


def listen(app: faust.App, topics: Sequence[str], take: Callable[[Run], None]) -> None:
    """Register the agent; it hands each run to `take`, which never raises."""
    register("run", AsItIs())
    channel = app.topic(*topics, value_serializer="run", key_serializer="run", acks=False)

    async def inference(runs: StreamT[Run]) -> None:
        async for run in runs:
            take(run)

    app.agent(channel, name="inference")(inference)
