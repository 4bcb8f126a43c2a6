"""Records between nodes: what a node must know of requests that it did not compute itself.

Their form and the rules for its versions are those of `schemas/versioned.py`. `test_internal.py`.
"""

from typing import Annotated

import msgspec

from chimera.schemas.versioned import Form

ATTEMPT_VERSION = 1


class Attempt(msgspec.Struct, frozen=True):
    """`inference.attempts`: how many executors a request has killed, and how the last one died."""

    deaths: Annotated[int, msgspec.Meta(ge=1)]
    reason: str  # crashed, hung or out_of_memory
    v: int = ATTEMPT_VERSION


_FORM = Form[Attempt]("attempt", Attempt, ATTEMPT_VERSION)
encode_attempt = _FORM.encode
decode_attempt = _FORM.decode
