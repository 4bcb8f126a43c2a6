"""`models.observed`: what nodes saw their models' versions do, for whoever judges them.

One record is of one version, on one node, in a while of about a second; records add up. It bears the
revision of `models.state` that the node followed when it wrote it. A node's records are numbered by
`sequence`, so one that comes twice is known. They are evidence and no account: what a node had not
told when it ended is lost. `tests/schemas/test_model_observed.py`.
"""

from typing import Annotated

import msgspec

from chimera.schemas.model_names import Count, Milliseconds, Name
from chimera.schemas.model_state import Revision
from chimera.schemas.versioned import Form

OBSERVED_VERSION = 1
MAX_BUCKET = 576

Bucket = Annotated[int, msgspec.Meta(ge=0, le=MAX_BUCKET)]


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one version in a while."""

    requests: Count = 0  # that have their outcome, errors among them
    errors: Count = 0  # that were not the caller's own fault
    # of those computed: how many took 2^((bucket - 1) / 16) us or more, and less than the next one
    latencies: dict[Bucket, Count] = {}
    compared: Count = 0  # as a shadow, with what was answered
    disagreed: Count = 0
    # of batches of 2^(size / 4) rows or more, and less than the next size: how many took so long
    paces: dict[Bucket, dict[Bucket, Count]] | msgspec.UnsetType = msgspec.UNSET


class ModelObserved(msgspec.Struct, frozen=True, kw_only=True):
    """What one node saw one version do."""

    tenant: Name
    model: Name
    version: Name
    revision: Revision
    node: Name  # one life of it
    sequence: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    until_ms: Milliseconds
    seen: Seen
    v: int = OBSERVED_VERSION


_FORM = Form[ModelObserved]("model observed", ModelObserved, OBSERVED_VERSION)
encode_observed = _FORM.encode
decode_observed = _FORM.decode
