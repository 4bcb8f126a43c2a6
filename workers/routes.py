"""From a valid request to the model that computes it and the queue it waits in.

Here a request meets its model's manifest: the right inputs, datatypes and shapes, and no more rows
than a batch may have. Nearly all requests look like one before them, so the answer is remembered by
what a request looks like, and costs one look-up. `tests/workers/test_routes.py`.
"""

from dataclasses import dataclass

from chimera.schemas.errors import RequestError, SchemaInvalid
from chimera.schemas.inference import Request
from chimera.schemas.manifest import TensorSpec
from chimera.schemas.tensors import Tensor, quoted, shown
from chimera.workers.repertoire import Repertoire, Served

MAX_REMEMBERED = 4_096

Look = tuple[object, ...]
Shape = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """Where requests that look alike go; requests share a batch if model and `shape` are equal."""

    served: Served
    rows: int
    shape: Shape  # of one row, for each input in the manifest's order


class Routes:
    """Of one executor."""

    def __init__(self, repertoire: Repertoire) -> None:
        self._repertoire = repertoire
        self._known: dict[Look, Route | RequestError] = {}

    def forget(self) -> None:
        """The repertoire answers differently now."""
        self._known.clear()

    def find(self, request: Request, picked: str | None = None) -> Route | RequestError:
        """The route of a request whose claim checks are settled, or why it has none.

        `picked`: a version for one that names none; else whichever answers for its model.
        """
        version = picked if request.version is None else request.version
        look = _look(request, version)
        known = self._known.get(look)
        if known is None:
            try:
                known = self._examine(request, version)
            except RequestError as error:
                known = error
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[look] = known
        return known

    def _examine(self, request: Request, version: str | None) -> Route:
        served = self._repertoire.find(request.model, version)
        specs = served.manifest.inputs
        for name in request.inputs:
            if all(name != spec.name for spec in specs):
                raise SchemaInvalid(
                    f"unknown input {quoted(name)}, the model takes {_names(specs)}"
                )
        for spec in specs:
            if spec.name not in request.inputs:
                raise SchemaInvalid(f"input {quoted(spec.name)} is missing")
            _require(spec, request.inputs[spec.name])
        shapes = [request.inputs[spec.name].shape for spec in specs]
        if not served.batches:
            return Route(served, 1, tuple(shapes))
        rows = shapes[0][0]
        if any(shape[0] != rows for shape in shapes):
            raise SchemaInvalid("the inputs' first dimensions differ, they are one batch")
        if not 1 <= rows <= served.policy.max_batch_size:
            raise SchemaInvalid(
                f"a batch of {rows} rows, the model takes 1 to {served.policy.max_batch_size}"
            )
        return Route(served, rows, tuple(shape[1:] for shape in shapes))


def _look(request: Request, version: str | None) -> Look:
    inputs = request.inputs
    if len(inputs) == 1:
        for tensor in inputs.values():
            return (request.model, version, tensor.name, tensor.datatype, tensor.shape)
    return (
        request.model,
        version,
        *((tensor.name, tensor.datatype, tensor.shape) for tensor in inputs.values()),
    )


def _require(spec: TensorSpec, tensor: Tensor) -> None:
    if tensor.datatype != spec.datatype:
        raise SchemaInvalid(
            f"input {quoted(spec.name)} is {tensor.datatype}, the model takes {spec.datatype}"
        )
    fits = len(tensor.shape) == len(spec.shape) and all(
        wanted in (-1, size) for size, wanted in zip(tensor.shape, spec.shape, strict=True)
    )
    if not fits:
        raise SchemaInvalid(
            f"input {quoted(spec.name)} has the shape {shown(tensor.shape)},"
            f" the model takes {list(spec.shape)}"
        )


def _names(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(quoted(spec.name) for spec in specs)
