"""Bytewax, batched: KafkaSource in batches of 512, flat_map_batch, KafkaSink.

Without a recovery store, so at its fastest; with one it would be at least once. Runs in its own
environment: `python -m bytewax.run 'benchmarks.rivals.bytewax_flow:flow(...)'`.
"""

# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false
# (Bytewax is not in the project's environment)

from typing import Any

import bytewax.operators as op  # type: ignore[import-not-found]  # has an environment of its own
from bytewax.connectors.kafka import (  # type: ignore[import-not-found]  # the same
    KafkaSink,
    KafkaSinkMessage,
    KafkaSource,
)
from bytewax.dataflow import Dataflow  # type: ignore[import-not-found]  # the same

from benchmarks.rivals.compute import Model

OFFSET_BEGINNING = -2


def flow(bootstrap: str, requests: str, results: str, model_path: str) -> Any:
    """The dataflow, from one topic to the other."""
    model = Model(model_path)
    dataflow = Dataflow("rival")

    def infer(messages: list[Any]) -> list[Any]:
        outputs = model.process([message.value for message in messages])
        return [
            KafkaSinkMessage(message.key, output)
            for message, output in zip(messages, outputs, strict=True)
        ]

    source = KafkaSource(
        [bootstrap],
        [requests],
        tail=True,
        batch_size=512,
        starting_offset=OFFSET_BEGINNING,
        add_config={"fetch.queue.backoff.ms": "5"},  # as in loop_confluent
    )
    stream = op.flat_map_batch("infer", op.input("requests", dataflow, source), infer)
    op.output("results", stream, KafkaSink([bootstrap], results, {"linger.ms": "5"}))
    return dataflow
