from hypothesis import given
from hypothesis import strategies as st

from chimera.workers.budget import Plan, Sized, plan, total

SIZES = st.lists(st.integers(0, 100), max_size=6)
LIMITS = st.integers(0, 300) | st.none()


def named(kind: str, sizes: list[int]) -> list[Sized]:
    return [Sized(f"{kind}{at}", size) for at, size in enumerate(sizes)]


def test_new_version_displaces_the_least_recently_used_spares() -> None:
    spare = [Sized("last used", 30), Sized("before", 30), Sized("long ago", 30)]
    made = plan([Sized("live", 20)], [Sized("next", 20)], spare, 80)
    assert made == Plan(("live", "next", "last used"), ("before", "long ago"))


def test_version_that_does_not_fit_is_refused_and_spares_stay() -> None:
    made = plan([Sized("live", 60)], [Sized("huge", 50)], [Sized("spare", 40)], 100)
    assert made == Plan(("live", "spare"), (), ("huge",))


@given(SIZES, SIZES, SIZES, LIMITS)
def test_plan_keeps_its_promises(
    serving: list[int], new: list[int], spare: list[int], limit: int | None
) -> None:
    parts = (named("serving", serving), named("new", new), named("spare", spare))
    made = plan(*parts, limit)
    sizes = {one.name: one for part in parts for one in part}
    assert sorted((*made.kept, *made.evicted, *made.refused)) == sorted(sizes)
    assert {one.name for one in parts[0]} <= set(made.kept)
    kept = total([sizes[name] for name in made.kept])
    if limit is None:
        assert not made.evicted and not made.refused
        return
    assert kept <= max(limit, sum(serving))
    for name in made.refused:
        assert name.startswith("new")
        needed = [sizes[one] for one in made.kept if not one.startswith("spare")]
        assert total(needed) + sizes[name].size_bytes > limit
    ranks = [int(name.removeprefix("spare")) for name in made.kept if name.startswith("spare")]
    assert ranks == list(range(len(ranks))), "what was used later stays longer"
    if made.evicted:
        assert kept + sizes[made.evicted[0]].size_bytes > limit
