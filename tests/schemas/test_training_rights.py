"""Who may train, and who may promote."""

import pytest

from chimera.schemas.errors import SchemaInvalid
from chimera.schemas.training_rights import TrainingRights, rights_of

RIGHTS = TrainingRights(train=("ada@forge", "ci-*"), promote=("bo",))


@pytest.mark.parametrize(
    ("actor", "trains", "promotes"),
    [
        ("ada@forge", True, False),
        ("ada@forge2", False, False),
        ("ci-7", True, False),
        ("bo", False, True),
        ("xci-7", False, False),
        ("ADA@forge", False, False),
    ],
)
def test_rights_to_train_and_to_promote_are_apart(actor: str, trains: bool, promotes: bool) -> None:
    assert (RIGHTS.lacking(actor, "train") == "") is trains
    assert (RIGHTS.lacking(actor, "promote") == "") is promotes


def test_nobody_may_where_nothing_was_allowed() -> None:
    assert TrainingRights().lacking("ada", "train") == (
        "ada has no right to train: `chimera train allow ada --train`"
    )


@pytest.mark.parametrize("line", ["a.a", "a+", "[a]", "^a"])
def test_a_line_is_no_expression_but_for_its_stars(line: str) -> None:
    rights = TrainingRights(train=(line,))
    assert rights.lacking("aa", "train")
    assert not rights.lacking(line, "train")


@pytest.mark.parametrize("body", [{"train": "ada"}, {"v": 2}, []])
def test_policy_of_another_form_lets_nobody_pass(body: object) -> None:
    with pytest.raises(SchemaInvalid, match="training rights"):
        rights_of(body)
