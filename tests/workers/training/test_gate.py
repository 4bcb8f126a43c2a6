"""A run is taken or refused with every reason; what may be chance is no reason."""

import msgspec

from chimera.schemas.training_manifest import Drift, TrainingManifest
from chimera.workers.training.gate import Policy, pick, refusals
from tests.workers.training.test_history import run


def test_metric_has_to_reach_the_least_in_its_direction() -> None:
    assert refusals(run("a", 1.0), Policy(least=1.0)) == ()
    assert refusals(run("a", 1.1), Policy(least=1.0)) == ("eval_mse 1.1 does not reach 1",)
    assert refusals(run("a", 1.1), Policy(direction="max", least=1.0)) == ()
    assert refusals(run("a", None), Policy(least=1.0)) == ("it has no eval_mse",)


def test_worse_than_another_is_what_lies_outside_of_both_intervals() -> None:
    better = run("b", 1.0, 0.9, 1.1)
    assert refusals(run("a", 1.15, 1.05, 1.25), Policy(than=better)) == ()
    assert refusals(run("a", 0.5, 0.4, 0.6), Policy(than=better)) == ()
    assert refusals(run("a", 2.0, 1.9, 2.1), Policy(than=better)) == (
        "eval_mse 2 is worse than 1 of b",
    )
    other = msgspec.structs.replace(better, dataset_digest="2" * 64)
    assert refusals(run("a", 2.0), Policy(than=other)) == (
        "eval_mse 2 is worse than 1 of b, of other data",
    )
    stranger = msgspec.structs.replace(better, name="letters")
    assert refusals(run("a", 0.5), Policy(than=stranger)) == ("b is a run of letters, not of line",)
    assert refusals(run("a", 1.0), Policy(than=run("b", None))) == (
        "b has no eval_mse to be compared with",
    )


def test_every_reason_is_told() -> None:
    drift = Drift("x", "ks", 0.0, 1.0, 2.0, 1.0, True)
    still = msgspec.structs.replace(drift, column="y", is_drift=False)
    one = msgspec.structs.replace(
        run("a", 3.0), drift_from_previous=(drift, still), is_synthetic=True
    )
    policy = Policy(least=1.0, refuses_drift=True, refuses_synthetic=True)
    assert refusals(one, policy) == (
        "eval_mse 3 does not reach 1",
        "its data have drifted in x",
        "its data are synthetic",
    )
    assert refusals(one, Policy()) == ()


def test_best_that_nothing_is_held_against_is_picked() -> None:
    synthetic: TrainingManifest = msgspec.structs.replace(run("a", 1.0), is_synthetic=True)
    runs = [run("c", 3.0), synthetic, run("b", 2.0)]
    assert pick(runs, Policy()) == synthetic
    assert pick(runs, Policy(refuses_synthetic=True)) == runs[2]
    assert pick(runs, Policy(least=0.5)) is None
