"""Which label belongs to which answered request, and what a joined row is. Pure.

    malformed   no sample, or its key is another id
    unknown     no request of that id was answered within the window
    ambiguous   several requests have that id: whose label it is cannot be told
    failed      the request was answered with an error: nothing was predicted
    duplicate   the request has this very label already; the first one stays
    conflict    it has another label; the first one stays
    leaking     the label was known before its input came: a model could only learn to cheat
    late        it was observed after the window
    gone        retention has removed the request, or its claim check
    misfit      not as many labels as the request has rows

`tests/workers/training/test_labelling.py`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from chimera.schemas.errors import SchemaInvalid
from chimera.schemas.inference import Request
from chimera.schemas.responses import Output

REASONS = (
    "malformed",
    "unknown",
    "ambiguous",
    "failed",
    "duplicate",
    "conflict",
    "leaking",
    "late",
    "gone",
    "misfit",
)
INPUT, OUTPUT = "input_", "output_"  # before the names of tensors: columns of a row


class Asked(NamedTuple):
    """A request that was answered."""

    partition: int
    offset: int
    result_offset: int  # in the same partition
    is_error: bool
    label: str | None  # that it was given, as JSON


class Given(NamedTuple):
    """A label, and where it stands in its topic."""

    partition: int
    offset: int
    id: str
    label: str  # as JSON
    observed_ms: int


def candidate(label: Given, asked: Sequence[Asked]) -> Asked | str:
    """The request that the label may belong to, or the reason why it belongs to none."""
    if len(asked) > 1:
        return "ambiguous"
    (one,) = asked
    if one.is_error:
        return "failed"
    if one.label is not None:
        return "duplicate" if one.label == label.label else "conflict"
    return one


def verdict(label: Given, requested_ms: int, window_ms: int) -> str | None:
    """By when the label was observed; None: it counts."""
    if label.observed_ms < requested_ms:
        return "leaking"
    return "late" if label.observed_ms - requested_ms > window_ms else None


def rows(
    request: Request, outputs: Sequence[Output], labels: Sequence[float | str]
) -> Iterator[dict[str, Any]]:
    """One for each label: inputs and outputs as flat lists, and the label.

    Raises:
        SchemaInvalid: there are not as many labels as rows.
    """
    arrays = {INPUT + name: tensor.array for name, tensor in request.inputs.items()}
    arrays |= {OUTPUT + one.name: one.array for one in outputs}
    count = len(labels)
    for name, array in arrays.items():
        if count > 1 and (array.ndim == 0 or len(array) != count):
            raise SchemaInvalid(f"{count} labels, but {name} has the shape {array.shape}")
        if count == 1 and array.ndim > 1 and len(array) != 1:
            raise SchemaInvalid(f"one label, but {name} has the shape {array.shape}")
    for at, label in enumerate(labels):
        row = {
            name: (array[at] if count > 1 else array).reshape(-1) for name, array in arrays.items()
        }
        number = label if not isinstance(label, str) else None
        yield row | {"label": number, "label_text": label if number is None else None}
