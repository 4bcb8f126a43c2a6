"""Differences by field, and curves from lines that may be cut."""

from chimera.workers.training.comparison import Difference, curves, differences, thinned

LINES = [
    b'{"kind": "step", "update": 1, "loss": 3.0}',
    b'{"kind": "step", "update": 2}',
    b'{"kind": "step", "update": 3, "loss": 1.0}',
    b'{"kind": "epoch", "update": 3, "metrics": {"val_loss": 2.0, "r2": NaN}}',
    b'{"kind": "finished", "update": 3, "metrics": {"r2": 0.5}}',
    b'{"kind": "st',
]


def test_differences_are_named_by_their_fields() -> None:
    first = {"seed": 1, "optimizer": {"arguments": {"lr": 0.1}}, "loss": {"name": "mse"}}
    second = {"seed": 1, "optimizer": {"arguments": {"betas": [0.9]}}, "loss": {"name": "mae"}}
    assert list(differences(first, second)) == [
        Difference("optimizer.arguments.lr", 0.1, None),
        Difference("optimizer.arguments.betas", None, [0.9]),
        Difference("loss.name", "mse", "mae"),
    ]
    assert list(differences(first, first)) == []


def test_curves_hold_numbers_alone() -> None:
    assert curves(LINES) == {"loss": [(1, 3.0), (3, 1.0)], "val_loss": [(3, 2.0)]}


def test_curve_is_thinned_to_means() -> None:
    points = [(at, float(at)) for at in range(10)]
    assert thinned(points, 5) == [0.5, 2.5, 4.5, 6.5, 8.5]
    assert thinned(points, 20) == [float(at) for at in range(10)]
