"""Who may train, and who may promote what was trained: a policy of a tenant, kept by the registry.

    {"train": ["ada", "ci-*"], "promote": ["ada"]}

A line is an actor's name; `*` in it stands for any characters. The right to promote is apart from
the right to train, and neither brings the other. Without the policy nobody may.
`tests/schemas/test_training_rights.py`.
"""

import re
from typing import Literal

import msgspec

from chimera.schemas.errors import SchemaInvalid

POLICY = "training"
RIGHTS_VERSION = 1

Right = Literal["train", "promote"]


class TrainingRights(msgspec.Struct, frozen=True, kw_only=True):
    train: tuple[str, ...] = ()
    promote: tuple[str, ...] = ()
    v: int = RIGHTS_VERSION

    def lacking(self, actor: str, right: Right) -> str:
        """Why an actor may not; empty: it may."""
        lines: tuple[str, ...] = getattr(self, right)
        if any(_matches(line, actor) for line in lines):
            return ""
        return f"{actor} has no right to {right}: `chimera train allow {actor} --{right}`"


def rights_of(body: object) -> TrainingRights:
    """The policy that a document holds.

    Raises:
        SchemaInvalid: it is none, or of a form that this release does not know: nobody is let pass.
    """
    try:
        found = msgspec.convert(body, TrainingRights)
    except msgspec.ValidationError as error:
        raise SchemaInvalid(f"training rights: {error}") from None
    if found.v != RIGHTS_VERSION:
        raise SchemaInvalid(f"training rights: v is {found.v}, this release reads {RIGHTS_VERSION}")
    return found


def _matches(line: str, actor: str) -> bool:
    pattern = ".*".join(map(re.escape, line.split("*")))
    return re.fullmatch(pattern, actor, re.DOTALL) is not None
