"""What the demo says at its end: of good ones, and of those where something went wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from chimera.cli.demoing import evidence, figures, report, table
from chimera.cli.demoing.answers import Answer
from chimera.cli.demoing.keeping import Kept
from chimera.cli.demoing.lessons import Lesson
from chimera.cli.demoing.promotion import ENOUGH, Promotion
from chimera.cli.demoing.report import Report, Training
from chimera.cli.demoing.requests import Plan
from chimera.cli.demoing.served import Served
from chimera.cli.demoing.verdict import Verdict
from chimera.cli.demoing.versions import GOOD, WORSE
from chimera.schemas import compile_report
from chimera.schemas.model_commands import WatchPolicy
from chimera.schemas.model_events import ModelRolledBack, Observed, WatchJudged
from chimera.schemas.training_events import DriftFound, Event, RunFinished, VersionRegistered
from chimera.schemas.training_manifest import Drift
from chimera.workers.training.history import build_leaderboard
from tests.cli.demoing.records import DIGESTS, published, result
from tests.cli.demoing.test_evidence import export
from tests.schemas.test_training_events import WHO
from tests.workers.training.test_history import MANIFEST

REPORTS = Path(__file__).parents[3] / "docs" / "results"


def promoted(plan: Plan, *, is_automatic: bool = True) -> Promotion:
    """Asked at 10 s: the second version answers at 11 s, is judged at 13 s, the first answers at 14 s."""
    good = [one for one in published(plan).items() if one[1].code is None]
    versions = [WORSE] * 3 + [GOOD] * ENOUGH
    answers = [result(*one, version=name) for one, name in zip(good, versions, strict=False)]
    served = Served(DIGESTS).read(answers, [11.0] * 3 + [14.0] * ENOUGH)
    common: dict[str, Any] = {
        "tenant": "default",
        "model": "digits",
        "at_ms": 0,
        "source": "controller",
    }
    judged = WatchJudged(
        event_id="a",
        version=WORSE,
        verdict="breached",
        reason="disagreement 9 of 9",
        policy=WatchPolicy(),
        candidate=Observed(requests=9, errors=0, p99_us=1),
        **common,
    )
    back = ModelRolledBack(
        event_id="b",
        withdrawn=(WORSE,),
        restored=(GOOD,),
        is_automatic=is_automatic,
        reason=judged.reason,
        revision=3,
        **common,
    )
    return Promotion(served, {}, 10.0, judged, 13.0, back, 13.0)


def lesson(version: str, *, has_drifted: bool) -> Lesson:
    """A run that is registered."""
    manifest = replace(MANIFEST, run_id=version, metrics={"accuracy": 0.97})
    common: dict[str, Any] = {**WHO, "run_id": version, "model": "digits"}
    told: list[Event] = [
        RunFinished(manifest=manifest, **common),
        VersionRegistered(version=version, manifest_sha256=DIGESTS[version], **common),
    ]
    if has_drifted:
        columns = (Drift("pixel_20", "ks", 0.0, 6.1, 2.0, 1.0, True),)
        told.append(DriftFound(previous_run_id=GOOD, columns=columns, **common))
    return Lesson(version).read(told)


def trained(*, has_drifted: bool = True) -> Training:
    lessons = lesson(GOOD, has_drifted=False), lesson(WORSE, has_drifted=has_drifted)
    manifests = [one.manifest for one in lessons if one.manifest is not None]
    return Training(*lessons, build_leaderboard(manifests, "accuracy", "max"))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    folder = tmp_path_factory.mktemp("kept")
    examined = evidence.examine(export(folder / "log", "gw", "w1"), folder / "copy")
    return Kept((Answer("How many?", ("requests",), (("2",),)),), examined)


Make = Callable[..., Report]


@pytest.fixture
def reported(kept: Kept) -> Make:
    """Of a promotion, and two verdicts; by keyword, of what was learned and what was kept."""
    path = REPORTS / "tiers-digits.json"
    compiled = compile_report.decode(path.read_bytes(), str(path))
    both = {GOOD: compiled, WORSE: compiled}

    def make(promotion: Promotion, verdict: Verdict, during: Verdict, **parts: Any) -> Report:
        parts = {"training": trained(), "kept": kept, **parts}
        return Report(verdict, 1.0, 1, {}, 0, {}, both, promotion, during, **parts)

    return make


def perfect() -> Verdict:
    found = Verdict(requests=100, valid=100, results=100)
    found.right[GOOD] = found.answered[GOOD] = 100
    return found


def test_report_is_good_only_if_the_watch_took_the_version_back(plan: Plan, reported: Make) -> None:
    assert reported(promoted(plan), perfect(), perfect()).is_good
    by_hand = promoted(plan, is_automatic=False)
    assert not reported(by_hand, perfect(), perfect()).is_good
    assert not reported(Promotion(Served(DIGESTS)), perfect(), perfect()).is_good


@pytest.mark.parametrize("fault", ["lost", "duplicated", "mismatched"])
def test_faults_are_those_of_all_requests(plan: Plan, fault: str, reported: Make) -> None:
    traffic, during = perfect(), perfect()
    setattr(traffic, fault, 2)
    setattr(during, fault, 3)
    found = reported(promoted(plan), traffic, during)
    assert json.loads(figures.as_json(found))[fault] == 5
    for one, other in ((perfect(), during), (traffic, perfect())):
        assert not reported(promoted(plan), one, other).is_good


def test_report_is_good_only_if_drift_was_told_and_what_was_altered_named(
    plan: Plan, reported: Make, tmp_path: Path
) -> None:
    quiet = reported(promoted(plan), perfect(), perfect(), training=trained(has_drifted=False))
    assert not quiet.is_good
    unseen = evidence.examine(export(tmp_path / "log", "gw"), tmp_path / "copy")
    kept = Kept((), unseen)
    assert not reported(promoted(plan), perfect(), perfect(), kept=kept).is_good


def test_json_tells_when_what_happened(plan: Plan, reported: Make) -> None:
    told = json.loads(figures.as_json(reported(promoted(plan), perfect(), perfect())))
    assert told["promotion"]["visible_after_s"] == 1.0
    assert told["rollback"] == {
        "is_automatic": True,
        "reason": "disagreement 9 of 9",
        "judged_after_s": 3.0,
        "visible_after_s": 4.0,
        "restored": [GOOD],
    }
    assert len(told["tiers"][GOOD]) >= 9
    assert [one["run_id"] for one in told["training"]["runs"]] == [GOOD, WORSE]
    assert [one["drift"] for one in told["training"]["runs"]] == [[], ["pixel_20"]]
    assert len(told["training"]["leaderboard"]) == 2
    audit = told["audit"]
    assert (audit["ok"], audit["leaves"], audit["witnessed"], audit["altered"]) == (True, 2, 2, 1)
    assert audit["faults"][0].startswith("leaf 1: changed")


def test_tables_show_what_went_wrong(
    plan: Plan, reported: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    during = perfect()
    during.complain("promotion-7: a second result")
    table.show(reported(promoted(plan), perfect(), during), {"logs": "there"})
    told = capsys.readouterr().out
    assert "3.0 s" in told
    assert "breached: disagreement 9 of 9" in told
    assert "promotion-7: a second result" in told
    assert "pixel_20: its mean moved by +2.0 sigma" in told
    assert "How many?" in told
    assert "audit verify: ok, 2 leaves" in told
    assert "audit verify: NOT OK" in told
    assert "leaf 1: changed" in told
    table.show(reported(Promotion(Served(DIGESTS)), perfect(), perfect()), {})
    assert "not taken back by its watch" in capsys.readouterr().out


def test_percentiles_of_few_values_are_among_them() -> None:
    assert report.percentiles([]) == {}
    assert report.percentiles([3.0]) == {"p50": 3.0, "p95": 3.0, "p99": 3.0}
    found = report.percentiles([float(value) for value in range(1, 101)])
    assert found == {"p50": 50.0, "p95": 95.0, "p99": 99.0}
