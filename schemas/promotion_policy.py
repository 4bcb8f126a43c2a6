"""What a version has to show before it may answer all of a model's requests. Pure.

    requires_replay   a replay that passed, by limits no wider than these, not older than so long

The registry keeps one such policy a model, under `policy_name`, and asks `lacking` when a version is
promoted, or deployed to all. The first version of a model has nothing to be compared with, and the
way back is never barred: neither is asked. `tests/schemas/test_promotion_policy.py`.
"""

from typing import Annotated

import msgspec

from chimera.schemas.errors import ConfigurationError, SchemaInvalid
from chimera.schemas.manifest import is_name
from chimera.schemas.replay_report import ReplayLimits, ReplayReport

PROMOTION_POLICY_VERSION = 1
DAY_S = 86_400

Seconds = Annotated[int, msgspec.Meta(ge=1, le=366 * DAY_S)]


class ReplayRequirement(msgspec.Struct, frozen=True, kw_only=True):
    max_age_s: Seconds = 7 * DAY_S
    limits: ReplayLimits = ReplayLimits()


class PromotionPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Of one model; without any requirement it bars nothing."""

    requires_replay: ReplayRequirement | None = None
    v: int = PROMOTION_POLICY_VERSION


def policy_name(model: str) -> str:
    """How the registry calls it.

    Raises:
        ConfigurationError: the model's name leaves no room for it.
    """
    name = f"promotion.{model}"
    if not is_name(name):
        raise ConfigurationError(f"model {model}: its name is too long to have a policy")
    return name


def policy_of(body: object) -> PromotionPolicy:
    """The policy that a document holds.

    Raises:
        SchemaInvalid: it is none, or of a form that this release does not know: nothing is let pass.
    """
    try:
        found = msgspec.convert(body, PromotionPolicy)
    except msgspec.ValidationError as error:
        raise SchemaInvalid(f"promotion policy: {error}") from None
    if found.v != PROMOTION_POLICY_VERSION:
        raise SchemaInvalid(
            f"promotion policy: v is {found.v}, this release reads {PROMOTION_POLICY_VERSION}"
        )
    return found


def lacking(policy: PromotionPolicy, report: ReplayReport | None, age_s: float) -> str:
    """What a version lacks, by its newest decided replay; empty: nothing."""
    wanted = policy.requires_replay
    if wanted is None:
        return ""
    if report is None:
        return "it was not replayed, or no replay of it was decided"
    if report.verdict != "passed":
        return f"its replay failed: {report.reason}"
    if age_s > wanted.max_age_s:
        return f"its replay is {age_s:.0f} s old, at most {wanted.max_age_s} s are let pass"
    if not report.limits.holds(wanted.limits):
        return "its replay passed by wider limits than the policy's: replay it without any options"
    return ""
