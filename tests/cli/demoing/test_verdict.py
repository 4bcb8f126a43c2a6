"""The demo's judge before answers that are right, and before each kind that is not."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from chimera.cli.demoing.requests import Digits, Plan
from chimera.cli.demoing.verdict import Verdict, judge
from chimera.cli.demoing.versions import GOOD, WORSE
from tests.cli.demoing.records import Sent, Told, letter, published, result


def judged(sent: Sent, digits: Digits, answers: Iterable[Told], letters: Iterable[Told]) -> Verdict:
    return judge(sent, answers, letters, digits)


def perfect(sent: Sent) -> tuple[list[Told], list[Told]]:
    answers = [result(*one) for one in sent.items()]
    return answers, [letter(*one) for one in sent.items() if one[1].code]


def test_judge_finds_nothing_wrong_where_nothing_is(plan: Plan, digits: Digits) -> None:
    sent = published(plan)
    verdict = judged(sent, digits, *perfect(sent))
    assert verdict.is_exact, verdict.complaints
    assert verdict.accuracy == 1.0
    assert verdict.expected == verdict.dead_letters
    assert verdict.outcomes.total() == verdict.results == verdict.requests == 1_000
    assert verdict.answered == {GOOD: verdict.valid}


Spoil = Callable[[list[Told], list[Told]], object]


def changed(at: int, **fields: object) -> Spoil:
    def change(answers: list[Told], _: list[Told]) -> None:
        answers[at] = replace(answers[at], **fields)  # type: ignore[arg-type]  # of Told, by name

    return change


WRONG: dict[str, tuple[Spoil, tuple[int, int, int]]] = {
    "a result is missing": (lambda answers, _: answers.pop(7), (1, 0, 0)),
    "a result comes twice": (lambda answers, _: answers.append(answers[-1]), (0, 1, 0)),
    "two results change places": (lambda answers, _: answers.reverse(), (0, 0, 999)),
    "a result has another key": (changed(3, key=b"other"), (0, 0, 1)),
    "a result is in another partition": (changed(3, partition=1), (0, 0, 1)),
    "a result is of nobody's": (changed(3, headers=[]), (1, 0, 1)),
    "a result cannot be read": (changed(-1, value=b"{"), (0, 0, 1)),
    "a result is empty": (changed(-1, value=None), (0, 0, 1)),
    "a dead letter is missing": (lambda _, letters: letters.pop(), (0, 0, 1)),
    "a dead letter comes twice": (lambda _, letters: letters.append(letters[0]), (0, 1, 0)),
    "a dead letter has other bytes": (
        lambda _, letters: letters.append(replace(letters.pop(), value=b"")),
        (0, 0, 1),
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_judge_notices_when(plan: Plan, digits: Digits, what: str) -> None:
    spoil, expected = WRONG[what]
    sent = published(plan)
    answers, letters = perfect(sent)
    spoil(answers, letters)
    verdict = judged(sent, digits, answers, letters)
    assert (verdict.lost, verdict.duplicated, verdict.mismatched) == expected
    assert verdict.complaints


def test_judge_notices_answers_that_were_given_to_the_wrong_requests(
    plan: Plan, digits: Digits
) -> None:
    sent = published(plan)
    answers, letters = perfect(sent)
    where, request = next(one for one in sent.items() if one[1].code is None)
    answers[where.offset] = result(where, request, says=(request.digit + 1) % 10)
    verdict = judged(sent, digits, answers, letters)
    assert verdict.mismatched == 1
    assert verdict.right.total() == verdict.valid - 1


def test_judge_notices_a_bad_request_that_was_served(plan: Plan, digits: Digits) -> None:
    sent = published(plan)
    answers, letters = perfect(sent)
    where, request = next(one for one in sent.items() if one[1].kind == "expired deadline")
    answers[where.offset] = result(where, replace(request, code=None))
    assert judged(sent, digits, answers, letters).mismatched == 1


def test_judge_knows_each_version_by_its_own_scores_and_digest(plan: Plan, digits: Digits) -> None:
    sent = published(plan)
    answers, letters = perfect(sent)
    good = [(where, request) for where, request in sent.items() if request.code is None]
    for where, request in good[:7]:
        answers[where.offset] = result(where, request, (request.digit + 1) % 10, WORSE)
    verdict = judged(sent, digits, answers, letters)
    assert verdict.is_exact, verdict.complaints
    assert verdict.answered == {GOOD: verdict.valid - 7, WORSE: 7}
    assert verdict.right == {GOOD: verdict.valid - 7}


def test_judge_notices_a_digest_that_is_not_the_versions(plan: Plan, digits: Digits) -> None:
    sent = published(plan)
    answers, letters = perfect(sent)
    where, request = next(one for one in sent.items() if one[1].code is None)
    lying = result(where, request, version=WORSE)
    answers[where.offset] = replace(answers[where.offset], headers=lying.headers)
    assert judged(sent, digits, answers, letters).mismatched == 1
