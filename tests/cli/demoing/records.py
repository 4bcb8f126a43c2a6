"""Results and dead letters as a node writes them and a consumer gets them, made up."""

import json
from dataclasses import dataclass, field

import numpy as np

from chimera.cli.asking.results import Coordinates
from chimera.cli.demoing.requests import Plan, Request
from chimera.cli.demoing.versions import GOOD, WORSE

DIGESTS = {GOOD: "a" * 64, WORSE: "b" * 64}


def every(plan: Plan) -> list[Request]:
    return [*plan.burst, *plan.paced]


@dataclass(frozen=True)
class Told:
    """A record as a consumer gets it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]] = field(default_factory=list[tuple[str, bytes | None]])


Sent = dict[Coordinates, Request]


def published(plan: Plan) -> Sent:
    return {Coordinates("q", 0, number): one for number, one in enumerate(every(plan))}


def result(
    where: Coordinates, request: Request, says: int | None = None, version: str = GOOD
) -> Told:
    """By a version; `says`: another digit than the request's own."""
    number = request.digit if says is None else says
    scores = np.eye(10)[number].tolist()
    outputs = [
        {"name": "digit", "datatype": "INT64", "shape": [1], "data": [number]},
        {"name": "scores", "datatype": "FP32", "shape": [1, 10], "data": scores},
    ]
    body: dict[str, object] = {"id": request.id}
    headers = story("request", where, request)
    if request.code is None:
        body |= {"model_version": version, "outputs": outputs}
        headers.append(("chimera-model-digest", DIGESTS[version].encode()))
    return Told("r", 0, 0, request.key, json.dumps(body).encode(), headers)


def letter(where: Coordinates, request: Request) -> Told:
    return Told("d", 0, 0, request.key, request.value, story("orig", where, request))


def story(name: str, where: Coordinates, request: Request) -> list[tuple[str, bytes | None]]:
    found: list[tuple[str, bytes | None]] = [
        (f"chimera-{name}-topic", where.topic.encode()),
        (f"chimera-{name}-partition", b"%d" % where.partition),
        (f"chimera-{name}-offset", b"%d" % where.offset),
    ]
    return [*found, ("chimera-error-code", request.code.encode())] if request.code else found
