"""What a policy bars, and why; a document that is none bars everything."""

import msgspec
import pytest

from chimera.schemas.errors import ConfigurationError, SchemaInvalid
from chimera.schemas.promotion_policy import (
    PromotionPolicy,
    ReplayRequirement,
    lacking,
    policy_name,
    policy_of,
)
from chimera.schemas.replay_report import ReplayLimits, ReplayReport
from tests.schemas.test_replay_report import REPORT

REQUIRED = PromotionPolicy(requires_replay=ReplayRequirement(max_age_s=100))


@pytest.mark.parametrize(
    ("policy", "report", "age_s", "told"),
    [
        (PromotionPolicy(), None, 0, ""),
        (REQUIRED, None, 0, "was not replayed"),
        (REQUIRED, REPORT, 100, ""),
        (REQUIRED, REPORT, 101, "101 s old"),
        (REQUIRED, msgspec.structs.replace(REPORT, verdict="failed"), 0, "its replay failed: err"),
        (
            REQUIRED,
            msgspec.structs.replace(REPORT, limits=ReplayLimits(max_disagreement=0.02)),
            0,
            "wider limits",
        ),
        (
            REQUIRED,
            msgspec.structs.replace(REPORT, limits=ReplayLimits(max_disagreement=0.001)),
            0,
            "",
        ),
    ],
)
def test_version_lacks_what_its_policy_asks_for(
    policy: PromotionPolicy, report: ReplayReport | None, age_s: float, told: str
) -> None:
    why = lacking(policy, report, age_s)
    assert told in why and bool(why) is bool(told)


def test_policy_is_read_as_it_was_written() -> None:
    assert policy_of(msgspec.to_builtins(REQUIRED)) == REQUIRED


@pytest.mark.parametrize(
    "body",
    [
        {"v": 2},
        {"requires_replay": {"max_age_s": 0}},
        {"requires_replay": {"limits": {"max_disagreement": 2}}},
        [],
    ],
)
def test_document_that_is_no_policy_is_refused(body: object) -> None:
    with pytest.raises(SchemaInvalid, match="promotion policy"):
        policy_of(body)


def test_policy_is_named_after_its_model() -> None:
    assert policy_name("digits") == "promotion.digits"
    with pytest.raises(ConfigurationError, match="too long"):
        policy_name("m" * 128)
