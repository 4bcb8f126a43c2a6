"""A feedback label: what the right answer to a request was, told afterwards on `training.samples`.

The record's key is the request's id, so all that is said of one request stays in order. A label is
one for a request of one row; a list has one for each row of the request.
`tests/schemas/test_training_sample.py` reads the first form.
"""

from typing import Annotated, Any

import msgspec

from chimera.schemas.model_names import Milliseconds
from chimera.schemas.versioned import Form

SAMPLE_VERSION = 1

Label = float | str
Labels = Label | Annotated[tuple[Label, ...], msgspec.Meta(min_length=1)]
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=1_024)]


class TrainingSample(msgspec.Struct, frozen=True, kw_only=True):
    """What was right."""

    id: Id  # the request's, or <topic>:<partition>:<offset> of one that had none
    label: Labels
    observed_ms: Milliseconds | None = None  # when it was known; unset: when the record came
    source: Annotated[str, msgspec.Meta(max_length=255)] = ""  # who says so
    v: int = SAMPLE_VERSION


_FORM = Form[TrainingSample]("training sample", TrainingSample, SAMPLE_VERSION)
encode_sample = _FORM.encode
decode_sample = _FORM.decode

_LABELS: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Labels)  # pyright: ignore[reportArgumentType]  # a union is a type to msgspec


def each(label: str) -> tuple[Label, ...]:
    """One for each row of the request, of a label as JSON."""
    found: Labels = _LABELS.decode(label)
    return found if isinstance(found, tuple) else (found,)
