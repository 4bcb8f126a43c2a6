"""Quix Streams, per message: a dataframe's apply between two topics; at least once."""

# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (Quix Streams is not in the project's environment)

from typing import Any

from quixstreams import Application  # type: ignore[import-not-found]  # has its own environment

from benchmarks.rivals.compute import Model
from benchmarks.rivals.options import Options, parse


def serve(options: Options) -> None:
    """Run the application until the time limit."""
    model = Model(options.model)
    app: Any = Application(
        broker_address=options.bootstrap,
        consumer_group=options.group,
        auto_offset_reset="earliest",
        loglevel="WARNING",
        auto_create_topics=False,
        consumer_extra_config={"fetch.queue.backoff.ms": 5},  # as in loop_confluent
        producer_extra_config={"linger.ms": 5, "queue.buffering.max.messages": 1_000_000},
    )
    requests = app.topic(options.requests, value_deserializer="json")
    results = app.topic(options.results, value_serializer="bytes")
    app.dataframe(requests).apply(model.one).to_topic(results)
    app.run(timeout=options.limit_s)


if __name__ == "__main__":
    serve(parse())
