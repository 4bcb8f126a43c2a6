"""Faust as its manual shows it: an agent per event, or with take(). It loses events on an error."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUntypedFunctionDecorator=false
# (Faust's types do not reach through its decorators)

from typing import Any

import faust
import orjson

from benchmarks.rivals.compute import Model
from benchmarks.rivals.options import Options, parse


def build(options: Options) -> faust.App:
    """The app with its one agent."""
    app = faust.App(
        options.group,
        broker=f"kafka://{options.bootstrap}",
        value_serializer="raw",
        topic_disable_leader=True,
        store="memory://",
        web_enabled=False,
        stream_buffer_maxsize=16_384,
        broker_max_poll_records=2_000,
        producer_linger=0.005,
        consumer_auto_offset_reset="earliest",
    )
    requests = app.topic(options.requests, value_type=bytes, value_serializer="raw")
    results = app.topic(options.results, value_serializer="raw")
    model = Model(options.model)

    async def each(stream: Any) -> None:
        async for key, value in stream.items():
            await results.send(key=key, value=model.one(orjson.loads(value)))

    async def take(stream: Any) -> None:
        async for events in stream.take_events(256, within=0.01):
            outputs = model.process([event.value for event in events])
            for event, output in zip(events, outputs, strict=True):
                await results.send(key=event.key, value=output)

    app.agent(requests, name="infer")(take if options.rest.get("mode") == "take" else each)
    return app


if __name__ == "__main__":
    faust.Worker(build(parse()), loglevel="warning").execute_from_commandline()
