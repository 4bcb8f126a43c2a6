"""Which version answered: counted by digests, as answers come."""

from chimera.cli.demoing.requests import Plan
from chimera.cli.demoing.served import Served
from chimera.cli.demoing.versions import GOOD, WORSE
from tests.cli.demoing.records import DIGESTS, Told, published, result

VERSIONS = {"1": GOOD, "2": WORSE}


def answers(plan: Plan, versions: str) -> list[Told]:
    good = [one for one in published(plan).items() if one[1].code is None]
    return [result(*one, version=VERSIONS[name]) for one, name in zip(good, versions, strict=False)]


def test_served_counts_what_has_come_since_it_began(plan: Plan) -> None:
    told = answers(plan, "11122")
    served = Served(DIGESTS, start=1).read(told[:3], [1.0, 2.0, 3.0])
    assert (served.counts, served.in_a_row(GOOD)) == ({GOOD: 2}, 2)
    served.read(told, [1.0, 2.0, 3.0, 4.0, 5.0])
    assert served.counts == {GOOD: 2, WORSE: 2}
    assert served.first_s == {GOOD: 2.0, WORSE: 4.0}
    assert (served.in_a_row(GOOD), served.in_a_row(WORSE)) == (0, 2)


def test_served_knows_since_when_the_latest_version_answers(plan: Plan) -> None:
    times = [float(at) for at in range(8)]
    served = Served(DIGESTS).read(answers(plan, "11212111"), times)
    assert served.in_a_row(GOOD) == 3
    assert served.since_s == 5.0


def test_served_counts_an_error_as_nobodys(plan: Plan) -> None:
    bad = [result(*one) for one in published(plan).items() if one[1].code is not None]
    served = Served(DIGESTS).read(bad[:2], [0.0, 1.0])
    assert (served.counts.total(), served.counts[GOOD], served.counts[WORSE]) == (2, 0, 0)
