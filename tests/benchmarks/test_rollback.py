"""Which results belong to which rollback, and what is no rollback."""

import pytest

from benchmarks.rollback import TURN_S, Answer, Rollback, measured


def test_each_rollback_is_measured_until_the_first_of_the_restored_and_the_last_of_the_other() -> (
    None
):
    answers = [Answer(one / 10, "1") for one in range(5)]
    answers += [Answer(1 + one / 10, "2") for one in range(13)]  # until 2.2 s
    answers += [Answer(2.15, "1"), Answer(2.4, "1"), Answer(2 + TURN_S, "2")]
    assert measured(answers, [Rollback(1.5, 1.9)]) == [
        {"command_s": 0.65, "record_s": 0.25, "withdrawn_s": 0.3}
    ]


def test_rollback_that_nobody_sees_has_no_figure() -> None:
    with pytest.raises(ValueError, match="no answer of version 1"):
        measured([Answer(1.6, "2"), Answer(1.7 + TURN_S, "1")], [Rollback(1.5, 1.55)])
