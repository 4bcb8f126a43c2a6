"""Curves of several runs as a picture, one panel a metric, in PNG.

Knows matplotlib, which is an extra: `chimera-stream[plot]`. `tests/cli/test_train.py` draws one.
"""

# pyright: reportUnknownMemberType=false
# (matplotlib's functions are typed in part)

from collections.abc import Sequence
from math import ceil
from pathlib import Path

from matplotlib.figure import Figure

from chimera.workers.training.comparison import LOSS, Run

COLUMNS = 3
PANEL_IN, DPI = (4.0, 3.0), 120


def draw(runs: Sequence[Run], path: Path) -> None:
    """Each metric that one of them has, over updates."""
    names = list(dict.fromkeys(name for run in runs for name in run.curves))
    columns = max(1, min(COLUMNS, len(names)))
    rows = max(1, ceil(len(names) / columns))
    size = (PANEL_IN[0] * columns, PANEL_IN[1] * rows)
    figure = Figure(size, DPI, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, name in zip(panels, names, strict=False):
        for run in runs:
            updates = [update for update, _ in run.curves.get(name, ())]
            values = [value for _, value in run.curves.get(name, ())]
            panel.plot(updates, values, marker="" if name == LOSS else ".", label=run.run_id)
        panel.set_title(name)
        panel.set_xlabel("update")
        panel.legend()
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    figure.savefig(path)
