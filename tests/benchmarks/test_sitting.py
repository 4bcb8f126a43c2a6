"""Turns are fair, medians are medians, and the best of one or two processes is the best."""

import pytest

from benchmarks import latency, throughput
from benchmarks.contenders import Contender, ours, rivals
from benchmarks.sitting import best, summary, turns


def contender(name: str) -> Contender:
    return Contender(name, "none", lambda _place: [])


def test_turns_let_everybody_run_once_a_round_and_first_in_turn() -> None:
    three = [contender(name) for name in "abc"]
    order = [(number, one.name) for number, one in turns(three, 3)]
    assert [name for number, name in order if number == 1] == ["b", "c", "a"]
    assert [name for _, name in order[::3]] == ["a", "b", "c"]


def test_summary_of_an_even_count() -> None:
    found = summary([1.0, 2.0, 3.0, 10.0])
    assert found == {"median": 2.5, "min": 1.0, "max": 10.0, "spread_pct": 360.0}


def test_best_knows_rates_from_latencies() -> None:
    medians = {"x1": 3.0, "x2": 5.0}
    assert best(medians, ["x1", "x2", "absent"]) == "x2"
    assert best(medians, ["x1", "x2"], least=True) == "x1"
    assert best(medians, ["absent"]) is None


def test_names_of_contenders_are_distinct_and_ours_lead() -> None:
    everybody = [*ours(), *rivals()]
    assert len({one.name for one in everybody}) == len(everybody)
    assert [one.name for one in everybody[:2]] == list(throughput.OURS) == list(latency.OURS)
    assert set(throughput.LOOPS) <= {one.name for one in everybody}


def one_rate(rps: float) -> dict[str, object]:
    return {
        "rps": rps,
        "wanted": 10,
        "lost": 0,
        "repeated": 0,
        "contender_cpu_us": 1.0,
        "broker_cpu_us": 1.0,
        "reader_cpu_share": 0.0,
        "stories": {},
    }


def test_throughput_report_compares_with_the_best_loop() -> None:
    rates = {"exactly_once": [100.0, 120.0], "loop_aiokafka x1": [80.0, 90.0]}
    rates["loop_aiokafka x2"] = [50.0, 200.0]
    raw = {name: [one_rate(value) for value in values] for name, values in rates.items()}
    everybody = [contender(name) for name in rates]
    found = throughput.report(everybody, raw, {})
    assert (found["exactly_once_rps"], found["at_least_once_rps"]) == (110.0, None)
    assert (found["loop"], found["loop_rps"]) == ("loop_aiokafka x2", 125.0)
    ratio = found["ratios"]["exactly_once / loop_aiokafka"]
    assert ratio["of_medians"] == pytest.approx(0.88)
    assert ratio["rounds"] == [0.6, 2.0]


def test_throughput_report_without_ours_names_the_reason() -> None:
    found = throughput.report([], {"exactly_once": []}, {"exactly_once": "not run: no node"})
    assert found["exactly_once_rps"] is None
    assert found["not_run"] == {"exactly_once": "not run: no node"}
