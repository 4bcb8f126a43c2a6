"""What the demo says at its end."""

from chimera.cli.demoing import report


def test_percentiles_of_few_values_are_among_them() -> None:
    assert report.percentiles([]) == {}
    assert report.percentiles([3.0]) == {"p50": 3.0, "p95": 3.0, "p99": 3.0}
    found = report.percentiles([float(value) for value in range(1, 101)])
    assert found == {"p50": 50.0, "p95": 95.0, "p99": 99.0}
